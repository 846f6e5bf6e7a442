"""Operators see which service is down and why; strangers do not."""

import json

from gateway.services.diagnosis.problems import ServiceProblem
from tests.support.gateway_harness import GatewayHarness, running_gateway
from tests.support.services.every_kind import every_kind
from tests.support.services.health import NOT_SERVING, SERVING, Health
from tests.support.waiting import wait_until, wait_until_found


def events(gateway: GatewayHarness, name: str) -> list[dict[str, object]]:
    """Return what was logged about PROFILE by an event."""
    return [
        line
        for line in gateway.log()
        if line["message"] == name and line["service"] == "PROFILE"
    ]


async def test_a_service_that_is_down_is_named_to_operators_only() -> None:
    """It is told without any update, and all heals alone."""
    health = Health({"": NOT_SERVING})
    explanation = f"PROFILE: {ServiceProblem.NOT_SERVING.explanation}"
    async with running_gateway(further={every_kind(): health}) as gateway:

        async def get_health() -> dict[str, object]:
            answer: dict[str, object] = json.loads(
                (await gateway.get("/health", ops=True))[1]
            )
            return answer

        async def has_status(status: str) -> bool:
            return (await get_health())["status"] == status

        await wait_until(lambda: events(gateway, "service_down"))
        shown = await get_health()
        assert shown["status"] == "degraded"
        assert isinstance(shown["problems"], list)
        assert explanation in shown["problems"]
        assert await gateway.get("/health") == (200, '{"status":"degraded"}')
        assert (await gateway.get("/ready", ops=True))[0] == 200
        _, metrics = await gateway.get("/metrics", ops=True)
        assert 'gateway_service_up{service="PROFILE"} 0.0' in metrics
        for _ in range(3):
            await gateway.say("/profile")
        await gateway.ended(3)
        assert {it["error"] for it in gateway.turns()} == {
            "/profile: UNAVAILABLE (not_serving)"
        }
        health.report(SERVING)
        await wait_until_found(lambda: has_status("ok"))
        _, metrics = await gateway.get("/metrics", ops=True)
        assert 'gateway_service_up{service="PROFILE"} 1.0' in metrics
        (down,) = events(gateway, "service_down")
        assert down["level"] == "warning"
        assert down["problem"] == "not_serving"
        assert len(events(gateway, "service_recovered")) == 1
