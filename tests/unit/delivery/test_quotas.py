from gateway.config.delivery_callers import Quota
from gateway.delivery.quotas import CallerQuotas
from tests.support.fakes import FakeClock


def test_a_burst_is_granted_and_then_the_rate() -> None:
    clock = FakeClock()
    quotas = CallerQuotas(1, clock.uptime)
    quota = Quota(per_second=2, burst=3)
    assert [quotas.take("a", quota) for _ in range(4)] == [0, 0, 0, 0.5]
    clock.move(0.5)
    assert [quotas.take("a", quota) for _ in range(2)] == [0, 0.5]
    clock.move(60)
    assert [quotas.take("a", quota) for _ in range(4)] == [0, 0, 0, 0.5]


def test_callers_do_not_share_a_quota() -> None:
    quotas = CallerQuotas(1, FakeClock().uptime)
    quota = Quota(per_second=1, burst=1)
    assert [quotas.take(name, quota) for name in "aab"] == [0, 1, 0]


def test_workers_grant_equal_parts() -> None:
    clock = FakeClock()
    quotas = CallerQuotas(4, clock.uptime)
    quota = Quota(per_second=8, burst=8)
    assert [quotas.take("a", quota) for _ in range(3)] == [0, 0, 0.5]


def test_a_changed_quota_holds_at_once() -> None:
    quotas = CallerQuotas(1, FakeClock().uptime)
    assert quotas.take("a", Quota(1, 1)) == 0
    assert quotas.take("a", Quota(1, 1)) == 1
    assert quotas.take("a", Quota(10, 2)) == 0
