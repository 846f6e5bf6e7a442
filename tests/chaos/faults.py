"""All the faults: each breaks one thing for a while and mends it again."""

from collections.abc import Mapping

from tests.chaos.failovers import Failovers
from tests.chaos.harness import Break, ChaosHarness
from tests.chaos.peer_faults import PeerFaults
from tests.chaos.store_faults import StoreFaults
from tests.chaos.worker_faults import WorkerFaults
from tests.support.redis_servers import RedisServer


def all_faults(
    harness: ChaosHarness, longest_cut: float, pauses: tuple[float, ...]
) -> Mapping[str, Break]:
    """Return the faults by name. See `StoreFaults` for what the arguments mean."""
    redis = harness.redis
    if isinstance(redis, RedisServer):
        of_store = StoreFaults(harness, redis, longest_cut, pauses).by_name
    else:
        of_store = Failovers(harness, redis).by_name
    return {
        **WorkerFaults(harness).by_name,
        **of_store,
        **PeerFaults(harness).by_name,
    }
