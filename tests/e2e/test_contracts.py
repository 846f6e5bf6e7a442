"""Contracts of another repository in a gateway that was not built with them."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.factories import build_button_press_json
from tests.support.gateway_harness import SECRET, TOKEN
from tests.support.process import Process, run, serving_process
from tests.support.services.foreign import (
    ForeignService,
    compile_descriptor_set,
    make_older,
    serving_foreign,
)
from tests.support.waiting import wait_until

ENOUGH = {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_WEBHOOK_SECRET": SECRET}


async def say(gateway: Process, update_id: int, text: str) -> dict[str, Any]:
    """Say something as user 7; gives the message that answers it."""
    before = len(gateway.simulator.messages(7))
    await gateway.say(update_id, user=7, text=text)
    await wait_until(lambda: len(gateway.simulator.messages(7)) > before)
    return gateway.simulator.messages(7)[-1]


@pytest.mark.parametrize("version", ["current", "older"])
async def test_a_foreign_service_is_served_from_its_descriptor_set(
    tmp_path: Path, version: str
) -> None:
    """A command, a button and a streamed answer, beside the gateway's own services."""
    path = compile_descriptor_set(tmp_path)
    if version == "older":
        make_older(path)
    service = ForeignService(path)
    async with serving_foreign(service) as target:
        settings = {"CONTRACTS": f"builtin,{path}", "BILLING_TARGET": target}
        async with serving_process(settings) as gateway:
            message = await say(gateway, 1, "/invoice 42")
            assert message["text"] == "invoice 42 of 7, asked as /invoice 42"
            [[button]] = message["reply_markup"]["inline_keyboard"]
            press = build_button_press_json(
                button["callback_data"], message_id=message["message_id"]
            )
            await gateway.update({"update_id": 2, "callback_query": press})
            await wait_until(lambda: len(gateway.simulator.answers) == 1)
            assert gateway.simulator.answers[0]["text"] == "7 paid 42 by 1"
            message = await say(gateway, 3, "/explain")
            assert message["text"] == "An invoice is a bill."
            message = await say(gateway, 4, "/help")
            assert "/invoice - Show an invoice" in message["text"]
            message = await say(gateway, 5, "hi")
            assert message["text"] == "echo: hi"
    names = [name for name, _ in service.asked]
    assert names == ["GetInvoice", "Pay", "Explain"]
    # Nobody has set the argument of "/invoice": the service sees that it is unset.
    assert service.asked[0][1].HasField("number")


async def test_without_the_builtin_contracts_their_targets_are_not_asked_for(
    tmp_path: Path,
) -> None:
    """Nor are their commands served."""
    path = compile_descriptor_set(tmp_path)
    compressed = tmp_path / "sets" / "billing.binpb.gz"
    compressed.parent.mkdir()
    compressed.write_bytes(gzip.compress(path.read_bytes()))
    only = {"CONTRACTS": str(compressed.parent)}
    code, _, errors = await run("serve", settings=ENOUGH | only)
    assert code == 2
    assert errors == "telegram-gateway: BILLING_TARGET: is not set\n"
    code, output, _ = await run("routes", settings=only)
    assert code == 0
    triggers = [line.split("  ")[0] for line in output.splitlines()]
    assert triggers == [
        "/explain",
        "/help",
        "/invoice {number}",
        "PAY:{number}:{method}",
    ]
    service = ForeignService(path)
    async with serving_foreign(service) as target:
        settings = only | {"BILLING_TARGET": target}
        async with serving_process(settings) as gateway:
            message = await say(gateway, 1, "/start")
            assert "I don't know that one" in message["text"]
            message = await say(gateway, 2, "/invoice")
            assert message["text"] == "invoice 0 of 7, asked as /invoice"
            assert not service.asked[0][1].HasField("number")
            assert gateway.backend.calls == []


async def test_contracts_of_several_teams_are_checked_together(tmp_path: Path) -> None:
    """All problems at once, with those of the settings."""
    (tmp_path / "broken.binpb").write_bytes(b"no descriptor set")
    missing = compile_descriptor_set(tmp_path, imports=False)
    settings = {"CONTRACTS": f"{tmp_path},{tmp_path}/nothing.binpb", "PORT": "no"}
    code, _, errors = await run("serve", settings=settings)
    assert code == 2
    lines = [line.removeprefix("telegram-gateway: ") for line in errors.splitlines()]
    assert [line.partition(":")[0] for line in lines] == [
        *([str(missing)] * 4),
        str(tmp_path / "broken.binpb"),
        str(tmp_path / "nothing.binpb"),
        "TELEGRAM_BOT_TOKEN",
        "TELEGRAM_WEBHOOK_SECRET",
        "PORT",
    ]
    assert "which is not in the set: build it with imports" in lines[0]
    assert "is not a descriptor set" in lines[4]


async def test_contracts_are_checked_without_a_gateway(tmp_path: Path) -> None:
    """As in the CI of a team: routes, warnings, and exit codes for each."""
    path = compile_descriptor_set(tmp_path)
    code, output, errors = await run("contracts", "check", str(path))
    assert (code, errors) == (0, "")
    assert "/invoice {number}" in output
    silent = tmp_path / "silent.proto"
    silent.write_text(
        'syntax = "proto3";\nmessage A {}\nservice S { rpc X(A) returns (A); }'
    )
    other = compile_descriptor_set(tmp_path, silent.name, root=tmp_path)
    command = (
        "contracts",
        "check",
        str(other),
        "--with",
        "builtin",
        "--with",
        str(path),
    )
    code, output, errors = await run(*command)
    assert code == 0
    assert "/start {payload}" in output
    assert f"telegram-gateway: warning: {other}: S has no route" in errors
    assert (await run(*command, "--strict"))[0] == 1
    code, output, errors = await run("contracts", "check", str(silent))
    assert (code, output) == (2, "")
    assert "is not a descriptor set" in errors


async def test_two_sets_are_compared(tmp_path: Path) -> None:
    path = compile_descriptor_set(tmp_path)
    code, output, _ = await run("contracts", "diff", str(path), str(path))
    assert (code, output) == (0, "the routes are the same\n")
    code, output, _ = await run("contracts", "diff", str(path), "builtin")
    assert code == 1
    assert "removed     /invoice {number} -> acme.billing.v1" in output
    assert "added       /start {payload} -> botgateway.profile.v1" in output


async def test_a_contract_can_be_compiled_against_exported_protos(
    tmp_path: Path,
) -> None:
    code, output, _ = await run("contracts", "export", str(tmp_path / "protos"))
    assert code == 0
    assert str(tmp_path / "protos" / "botgateway/route/v1/route.proto") in output
    assert "conversation" not in output
    path = compile_descriptor_set(tmp_path, protos=tmp_path / "protos")
    assert (await run("contracts", "check", str(path)))[0] == 0


async def test_a_misspelled_setting_is_named_with_the_missing_one() -> None:
    path = {"CONTRACTS": "builtin", "PROFIL_TARGET": "localhost:50051"}
    _, _, errors = await run("serve", settings=ENOUGH | path)
    assert "PROFILE_TARGET: is not set" in errors
    assert "PROFIL_TARGET: is no setting; did you mean PROFILE_TARGET?" in errors
