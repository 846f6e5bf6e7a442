"""Scenarios, played as a person plays them: by the command line."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from gateway.sandbox import scenarios
from tests.support.backend import Backend, serving
from tests.support.process import ROOT, SOURCES

EXAMPLES = sorted(Path(scenarios.__path__[0]).glob("*.yaml"))

FAILING = """
users: [ada]
timeout: 4s
steps:
  - ada says: match
  - ada sees: You said*
  - ada presses: Connect
"""


async def start(*arguments: str | Path) -> Process:
    """Start the program."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        "sandbox",
        *map(str, arguments),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": SOURCES},
        stdout=PIPE,
        stderr=PIPE,
    )


async def run(*arguments: str | Path) -> tuple[int | None, str, str]:
    """Run the program; give its exit code, its output and its errors."""
    process = await start(*arguments)
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def test_the_examples_are_true() -> None:
    """All five of them, against the sample services."""
    assert len(EXAMPLES) == 5
    code, output, errors = await run("run", *EXAMPLES)
    assert code == 0, output + errors
    assert "FAILED" not in output
    assert output.splitlines()[-1].startswith("5 scenarios, all ok, ")


BOTS = """
users: [ada]
bots: [shop, support]
steps:
  - ada says: match
    bot: shop
  - ada says: hello
    bot: support
  - ada sees: "You said: hello"
    bot: support
  - ada sees: Grace might be *
    bot: shop
  - ada presses: Connect
    bot: shop
  - ada sees edit: You asked Grace.
    bot: shop
  - ada sees nothing: 100ms
    bot: support
"""


async def test_a_scenario_has_several_bots(tmp_path: Path) -> None:
    """One gateway serves them; a scenario without bots uses the first."""
    several, single = tmp_path / "several.yaml", tmp_path / "single.yaml"
    several.write_text(BOTS)
    single.write_text("users: [ada]\nsteps:\n- ada says: hi\n- ada sees: '*hi'\n")
    code, output, errors = await run("run", several, single)
    assert code == 0, output + errors
    assert "ada sees edit: You asked Grace. (@shop)" in output


async def test_a_scenario_that_fails_says_why(tmp_path: Path) -> None:
    """Exit code 1; what comes after the failure is skipped, the next file is not."""
    bad, good = tmp_path / "bad.yaml", tmp_path / "good.yaml"
    bad.write_text(FAILING)
    good.write_text("users: [ada]\nsteps:\n- ada says: hi\n- ada sees: '*hi'\n")
    shown, xml = tmp_path / "report.json", tmp_path / "report.xml"
    code, output, _ = await run("run", bad, good, "--json", shown, "--junit", xml)
    assert code == 1
    lines = [line.strip() for line in output.splitlines()]
    assert lines[0] == f"bad  ({bad})"
    assert lines[2].endswith("ada sees: You said*  (line 6)")
    assert lines[2].startswith("FAILED")
    assert lines[3:9] == [
        "there was no such message within 4 s",
        "the chat of ada:",
        "ada: match",
        "bot: Grace might be someone for you. [Connect] [Skip]",
        "bot: Linus asks for your contact. [Accept] [Reject]",
        "not looked at by any step:",
    ]
    assert "the last update: accepted, done" in lines
    assert lines[-1].startswith("2 scenarios, 1 failed, ")
    report = json.loads(shown.read_text())
    assert [each["ok"] for each in report["scenarios"]] == [False, True]
    assert ET.parse(xml).findall(".//testcase/failure")


async def test_a_bad_file_is_reported_before_anything_starts(tmp_path: Path) -> None:
    """Exit code 2; all faults of all files and options at once."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("users: [ada]\nsteps:\n- ada shouts: hi\n- wait: long\n")
    missing = tmp_path / "no" / "report.xml"
    own = ("--service", "x=y", "--run", "x=y")
    code, output, errors = await run("run", bad, "--junit", missing, *own)
    assert code == 2
    assert output == ""
    shouts, waits, service, command, junit = errors.splitlines()
    assert shouts.startswith(f"telegram-gateway: {bad}:3: there is no step")
    assert waits.startswith(f"telegram-gateway: {bad}:4: needs a time")
    assert "--service x=y" in service
    assert "--run x=y" in command
    assert junit.endswith("there is no such directory")


async def test_a_report_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    """Exit code 1: CI must not take it for a success."""
    good = tmp_path / "good.yaml"
    good.write_text("users: [ada]\nsteps: [wait: 0s]")
    code, output, errors = await run("run", good, "--json", tmp_path)
    assert code == 1
    assert "1 scenario, all ok" in output
    assert errors.splitlines()[-1] == f"{tmp_path}: Is a directory"


async def test_a_teams_own_service_is_tested(tmp_path: Path) -> None:
    """It takes the place of a sample."""
    own = tmp_path / "own.yaml"
    own.write_text("users: [ada]\nsteps:\n- ada says: hi\n- ada sees: 'echo: hi'\n")
    backend = Backend()
    async with serving(backend) as target:
        code, output, errors = await run(
            "run", own, "--service", f"conversation={target}"
        )
    assert code == 0, output + errors
    assert [name for name, _ in backend.calls] == ["SendMessage"]


async def test_a_service_that_does_not_start_ends_it(tmp_path: Path) -> None:
    """Exit code 1, before a scenario could fail for another reason."""
    any_file = tmp_path / "any.yaml"
    any_file.write_text("users: [ada]\nsteps: [wait: 10m]")
    code, output, errors = await run("run", any_file, "--run", "conversation=false")
    assert code == 1
    assert output == ""
    assert "the service conversation ended by itself with code 1" in errors


async def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    """Exit code 130, and all parts end."""
    slow = tmp_path / "slow.yaml"
    slow.write_text("users: [ada]\nsteps: [wait: 10m]")
    process = await start("run", slow)
    assert process.stderr
    assert b"sample services" in await process.stderr.readline()
    process.send_signal(signal.SIGINT)
    output, errors = await process.communicate()  # both parts hold the other ends
    assert process.returncode == 130
    assert output == b""
    assert errors.endswith(b"stopped by a signal\n")


@pytest.mark.parametrize("option", ["--port", "--service"])
async def test_options_before_run_are_not_lost(option: str) -> None:
    """They are refused instead: those of `run` stand after it."""
    code, _, errors = await run(option, "1", "run", EXAMPLES[0])
    assert code == 2
    assert f"{option} precedes run" in errors
