"""The command line, as a process."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.sandbox.server import Simulator
from gateway.services.routing.route_table import build_route_table
from tests.support.gateway_harness import SECRET, TOKEN
from tests.support.process import ROOT, program, run
from tests.support.services.samples import INSTALLED, list_repository_services
from tests.support.waiting import LIMIT

URL = "https://bot.example.com/webhook/telegram"


@pytest.fixture
def simulator() -> Simulator:
    """Return a Bot API without faults."""
    return Simulator(TOKEN)


@pytest.fixture
async def settings(simulator: Simulator) -> AsyncIterator[dict[str, str]]:
    """Serve the Bot API, and give the settings that lead there."""
    async with simulator.serve() as url:
        yield {
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_WEBHOOK_SECRET": SECRET,
            "TELEGRAM_API_URL": url,
            "WEBHOOK_URL": URL,
        }


async def test_bad_settings_are_all_reported_and_end_with_2() -> None:
    code, output, errors = await run("serve", settings={"PORT": "no"})
    assert (code, output) == (2, "")
    lines = errors.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == [
        "TELEGRAM_BOT_TOKEN",
        "TELEGRAM_WEBHOOK_SECRET",
        "PORT",
        *(f"{name}_TARGET" for name in INSTALLED.service_names),
    ]


async def test_more_workers_need_a_shared_store(settings: dict[str, str]) -> None:
    """Without it they would not know of each other's users."""
    code, _, errors = await run("serve", "--workers", "2", settings=settings)
    assert code == 2
    assert "WORKERS" in errors


async def test_routes_are_printed_and_locked() -> None:
    """The table is for people, the lock for the comparison in `make lint`."""
    code, output, _ = await run("routes")
    assert code == 0
    assert "/profile" in output
    assert "botgateway.profile.v1.ProfileService.GetProfile" in output
    _, lock, _ = await run("routes", "--lock")
    table = build_route_table(list_repository_services())
    assert Path(ROOT / "routes.lock").read_text() == table.format_lock_file()
    assert lock == INSTALLED.format_lock_file()


async def test_the_webhook_is_set_shown_and_deleted(
    simulator: Simulator, settings: dict[str, str]
) -> None:
    """With the address and the secret of the settings; nothing is dropped."""
    assert (await run("webhook", "set", settings=settings))[0] == 0
    assert simulator.webhook["url"] == URL
    assert simulator.secret_token == SECRET
    code, output, _ = await run("webhook", "info", settings=settings)
    assert code == 0
    assert URL in output
    assert (await run("webhook", "delete", settings=settings))[0] == 0
    assert simulator.webhook["url"] == ""
    assert not any(
        call.parameters.get("drop_pending_updates") for call in simulator.sent
    )


async def test_another_addresses_webhook_is_replaced_by_force_only(
    simulator: Simulator, settings: dict[str, str]
) -> None:
    """A test run must not steal production's webhook."""
    elsewhere = settings | {"WEBHOOK_URL": "https://prod.example.com/webhook/telegram"}
    assert (await run("webhook", "set", settings=elsewhere))[0] == 0
    code, _, errors = await run("webhook", "set", settings=settings)
    assert code == 2
    assert "--force" in errors
    assert simulator.webhook["url"] == elsewhere["WEBHOOK_URL"]
    code, _, _ = await run("webhook", "set", "--force", settings=settings)
    assert code == 0
    assert simulator.webhook["url"] == URL


async def test_pending_updates_are_dropped_when_that_is_asked_for(
    simulator: Simulator, settings: dict[str, str]
) -> None:
    await run("webhook", "set", "--drop-pending-updates", settings=settings)
    assert simulator.sent[-1].parameters["drop_pending_updates"] is True


async def test_a_wrong_token_is_one_clear_line(settings: dict[str, str]) -> None:
    """Without a traceback and without the token."""
    wrong = settings | {"TELEGRAM_BOT_TOKEN": "7400000001:xyzzy"}
    code, _, errors = await run("webhook", "info", settings=wrong)
    assert code == 1
    assert len(errors.splitlines()) == 1
    assert "xyzzy" not in errors


async def test_an_unknown_command_is_one_clear_message() -> None:
    code, _, errors = await run("nonsense")
    assert code == 2
    assert "No such command" in errors


@pytest.mark.parametrize("command", ["serve", "dev", "sandbox"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)]
)
async def test_a_signal_while_a_command_is_loaded_ends_it_cleanly(
    command: str, number: signal.Signals, code: int
) -> None:
    verbose = {"PYTHONVERBOSE": "1"}  # each module is a line when its import begins
    async with program(command, settings=verbose) as process:
        assert process.stderr is not None
        async with asyncio.timeout(LIMIT):
            while f"cli/{command}.py".encode() not in await process.stderr.readline():
                assert not process.stderr.at_eof()
        process.send_signal(number)
        _, errors = await asyncio.wait_for(process.communicate(), LIMIT)
    assert process.returncode == code
    assert b"Traceback" not in errors


@pytest.mark.parametrize("command", [("routes",), ("--help",), ("routes", "--lock")])
async def test_an_output_that_cannot_be_written_is_one_clear_line(
    command: tuple[str, ...],
) -> None:
    with Path("/dev/full").open("wb") as full:
        async with program(*command, output=full.fileno()) as process:
            _, errors = await asyncio.wait_for(process.communicate(), LIMIT)
    assert process.returncode == 1
    assert errors == b"telegram-gateway: cannot write: No space left on device\n"


async def test_only_scenarios_and_the_file_of_bots_load_yaml(tmp_path: Path) -> None:
    """All else runs without it, and does not wait for its import."""
    missing = "raise ModuleNotFoundError(\"No module named 'yaml'\", name='yaml')\n"
    (tmp_path / "yaml.py").write_text(missing)
    paths = os.pathsep.join([str(tmp_path), str(ROOT), str(ROOT / "generated")])
    without = {"PYTHONPATH": paths}
    code, output, _ = await run("routes", settings=without)
    assert (code, "conversation" in output.lower()) == (0, True)
    for command in ("sandbox", "serve", "dead-letters"):
        code, _, _ = await run(command, "--help", settings=without)
        assert code == 0


async def test_invalid_secrets_of_a_sandbox_are_named_by_their_options() -> None:
    code, output, errors = await run("sandbox", "--token", "hush", "--secret", "hush")
    assert (code, output) == (2, "")
    assert [line.split(" ")[1] for line in errors.splitlines()] == [
        "--token:",
        "--secret:",
    ]
    assert "hush" not in errors


async def test_a_path_where_the_gateway_does_not_listen_is_a_warning(
    settings: dict[str, str],
) -> None:
    """A proxy in between may change it."""
    assert "warning" not in (await run("webhook", "set", settings=settings))[2]
    elsewhere = settings | {"WEBHOOK_URL": "https://bot.example.com/telegram"}
    code, _, errors = await run("webhook", "set", "--force", settings=elsewhere)
    assert code == 0
    assert "WEBHOOK_URL does not end with /webhook/telegram" in errors
