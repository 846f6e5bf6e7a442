"""Every rule catches the server that breaks it, and no other rule does."""

import re
from pathlib import Path

import pytest

from gateway.conformance.known_failures import KnownFailure
from gateway.conformance.report import RuleResult, Verdict
from gateway.conformance.runner import ALL_RULES, ConformanceRun
from gateway.services.channels import ServiceChannels, TlsFiles
from gateway.services.contracts.sources import load_contracts
from gateway.services.routing.route_table import (
    RouteTable,
    build_route_table,
    combine_contracts,
)
from tests.support.services.conforming import WRONG_SERVERS, Conforming
from tests.support.services.delivery_routes import DeliveryRoutes, delivery_routes
from tests.support.services.foreign import (
    ForeignService,
    compile_descriptor_set,
    serving_foreign,
)
from tests.support.services.health import SERVING, Health
from tests.support.services.samples import TABLE
from tests.support.services.serving import serving
from tests.support.services.tls import CA, server_credentials

OF_PROFILE = {"answers", "keeps_sessions"}
"""The rules whose wrong servers break an rpc of PROFILE."""

STREAM_SECONDS = 5.0
"""As long as a server without a free place lets its clients wait."""


async def examine(
    target: str,
    *services: str,
    table: RouteTable = TABLE,
    known_failures: frozenset[KnownFailure] = frozenset(),
    tls: TlsFiles | None = None,
) -> list[RuleResult]:
    """Run all rules against services at one target."""
    run = ConformanceRun(
        table=table,
        channels=ServiceChannels(dict.fromkeys(services, target), tls),
        known_failures=known_failures,
        seconds=60,
        stream_seconds=STREAM_SECONDS,
    )
    return [result async for result in run.iter_results()]


def failing(results: list[RuleResult]) -> set[str]:
    """Return the names of the rules that failed."""
    return {it.rule for it in results if it.verdict is Verdict.FAILED}


async def test_a_service_that_keeps_all_rules_passes_them_all() -> None:
    async with serving(Conforming(), Health({"": SERVING})) as port:
        results = await examine(f"127.0.0.1:{port}", *TABLE.service_names)
    assert {it.verdict for it in results} == {Verdict.PASSED}
    assert {it.rule for it in results} == {rule.name for rule in ALL_RULES}


@pytest.mark.parametrize("rule", WRONG_SERVERS)
async def test_a_wrong_server_is_caught_by_its_rule_alone(rule: str) -> None:
    service = "PROFILE" if rule in OF_PROFILE else "CONVERSATION"
    async with serving(WRONG_SERVERS[rule]()) as port:
        results = await examine(f"127.0.0.1:{port}", service)
    assert failing(results) == {rule}


async def test_health_is_examined_apart_from_the_rpcs() -> None:
    """The gateway would call no rpc of this server, and the rules do."""
    health = Health({"botgateway.profile.v1.ProfileService": SERVING})
    async with serving(Conforming(), health) as port:
        results = await examine(f"127.0.0.1:{port}", "PROFILE")
    assert failing(results) == {"reports_health"}
    [problem] = next(it.problems for it in results if it.rule == "reports_health")
    assert "only under its own name" in problem


def test_every_rule_has_a_wrong_server() -> None:
    assert {*WRONG_SERVERS, "reports_health"} == {rule.name for rule in ALL_RULES}


async def test_the_rules_are_about_the_contracts_of_any_team(tmp_path: Path) -> None:
    """This one echoes nothing; its contract is known from a descriptor set only."""
    path = compile_descriptor_set(tmp_path)
    table = combine_contracts(load_contracts([str(path)]))
    async with serving_foreign(ForeignService(path)) as target:
        results = await examine(target, "BILLING", table=table)
    assert failing(results) == set()
    assert {it.subject for it in results} == {
        "BILLING",
        *(f"{it.method.rpartition('.')[2]} {it.name}" for it in table.routes),
    }


async def test_services_are_examined_over_tls() -> None:
    async with serving(Conforming(), credentials=server_credentials()) as port:
        target = f"127.0.0.1:{port}"
        secure = await examine(target, "PROFILE", tls=TlsFiles(ca_file=CA))
        plain = await examine(target, "PROFILE")
    assert failing(secure) == set()
    assert failing(plain) == {"reports_health", "answers"}
    assert {it.verdict for it in plain} == {Verdict.FAILED, Verdict.SKIPPED}


async def test_known_failures_are_run_anyway() -> None:
    known = frozenset(
        {
            KnownFailure("answers", "GetProfile /profile"),
            KnownFailure("answers", "Start /start"),
        }
    )
    async with serving(WRONG_SERVERS["answers"]()) as port:
        results = await examine(f"127.0.0.1:{port}", "PROFILE", known_failures=known)
    assert failing(results) == set()
    verdicts = {it.subject: it.verdict for it in results if it.rule == "answers"}
    assert verdicts == {
        "GetProfile /profile": Verdict.KNOWN,
        "Start /start": Verdict.FIXED,
        "ResolveUser session": Verdict.PASSED,
    }


async def test_no_answer_of_a_service_is_in_a_result() -> None:
    async with serving(WRONG_SERVERS["routes_buttons"]()) as port:
        results = await examine(f"127.0.0.1:{port}", "CONVERSATION")
    assert not re.search("NOWHERE|You said", repr(results))


def test_every_rule_is_documented() -> None:
    page = Path(__file__).parents[3] / "docs" / "how-to" / "conformance.md"
    documented = re.findall(r"^\| `(\w+)` \|", page.read_text(), re.MULTILINE)
    assert documented == [rule.name for rule in ALL_RULES]


async def test_rpcs_for_deliveries_are_not_called() -> None:
    """The rules are about updates; the health of the service is examined anyway."""
    service = DeliveryRoutes()
    table = build_route_table([delivery_routes()])
    async with serving(service, Health({"": SERVING})) as port:
        results = await examine(f"127.0.0.1:{port}", *table.service_names, table=table)
    assert {it.verdict for it in results} == {Verdict.PASSED}
    assert service.asked == []
