"""A new service behind the whole gateway, with no change of the gateway."""

from pathlib import Path

from tests.factories import build_button_press_json
from tests.support.process import run, serving_process
from tests.support.services import sixth
from tests.support.waiting import wait_until


async def test_a_new_command_and_a_new_button_work(tmp_path: Path) -> None:
    """Stubs on the path and a target in the settings are all it takes."""
    environment = sixth.compile_contract(tmp_path)
    with sixth.running(environment) as target:
        settings = {"PYTHONPATH": environment["PYTHONPATH"], "BILLING_TARGET": target}
        async with serving_process(settings) as gateway:
            await gateway.say(1, user=7, text="/invoice 42")
            await wait_until(lambda: len(gateway.simulator.messages(7)) == 1)
            (message,) = gateway.simulator.messages(7)
            assert message["text"].startswith("invoice 42 of u-7")
            press = build_button_press_json(
                "PAY:42:card", message_id=message["message_id"]
            )
            await gateway.update({"update_id": 2, "callback_query": press})
            await wait_until(lambda: len(gateway.simulator.answers) == 1)
            await gateway.say(3, user=7, text="/help")
            await wait_until(
                lambda: "/invoice" in gateway.simulator.messages(7)[-1]["text"]
            )


async def test_a_routed_service_without_a_target_stops_the_start(
    tmp_path: Path,
) -> None:
    environment = sixth.compile_contract(tmp_path)
    settings = {"PYTHONPATH": environment["PYTHONPATH"]}
    code, _, errors = await run("serve", settings=settings)
    assert code == 2
    assert "BILLING_TARGET: is not set" in errors
