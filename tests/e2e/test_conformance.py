"""`telegram-gateway conformance` as a process."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

from gateway.conformance.runner import ALL_RULES
from tests.support.process import run
from tests.support.services.conforming import WRONG_SERVERS, Conforming
from tests.support.services.serving import serving


async def test_a_service_that_keeps_the_rules_ends_with_0(tmp_path: Path) -> None:
    json_file, junit_file = tmp_path / "report.json", tmp_path / "report.xml"
    async with serving(Conforming()) as port:
        code, output, errors = await run(
            "conformance",
            *("--service", f"profile=127.0.0.1:{port}"),
            *("--json", str(json_file), "--junit", str(junit_file)),
            *("--timeout", "60"),
        )
    assert (code, errors) == (0, "")
    report = json.loads(json_file.read_text())
    assert report["ok"] is True
    assert output == f"{len(report['results'])} passed\n"
    suite = ET.parse(junit_file).getroot().find("testsuite")
    assert suite is not None
    assert suite.get("failures") == "0"
    assert suite.get("tests") == str(len(report["results"]))


async def test_a_failure_ends_with_1_unless_it_is_known(tmp_path: Path) -> None:
    known, junit_file = tmp_path / "known.txt", tmp_path / "report.xml"
    async with serving(WRONG_SERVERS["answers"]()) as port:
        arguments = (
            "conformance",
            *("--service", f"profile=127.0.0.1:{port}", "--timeout", "60"),
            *("--junit", str(junit_file)),
        )
        code, output, _ = await run(*arguments)
        assert code == 1
        assert "failed   answers GetProfile /profile: the status is UNIMPLEM" in output
        suite = ET.parse(junit_file).getroot().find("testsuite")
        assert suite is not None
        assert suite.get("failures") == "1"
        known.write_text("# later\nanswers GetProfile /profile  # not yet\n")
        code, output, _ = await run(*arguments, "--known-failures", str(known))
        assert code == 0
        assert "known    answers GetProfile /profile" in output
        known.write_text("answers Start /start\nanswers GetProfile /profile")
        code, output, _ = await run(*arguments, "--known-failures", str(known))
        assert code == 0
        assert "fixed    answers Start /start: passes: remove it" in output


async def test_mistakes_on_the_command_line_are_reported(tmp_path: Path) -> None:
    known = tmp_path / "known.txt"
    known.write_text("answer all\nanswers\n")
    target = ("--service", "profile=127.0.0.1:1")
    for arguments, words in (
        ((), "Name a service"),
        (("--run", "shop=true"), "the services are"),
        (("--service", "shop=127.0.0.1:1"), "the services are"),
        ((*target, "--value", "x"), "FIELD=VALUE"),
        ((*target, "--value", "nothing=1"), "no route reads"),
        ((*target, "--known-failures", str(known)), "there is no rule 'answer'"),
        ((*target, "--known-failures", str(known)), "line 2: a route or a service"),
        ((*target, "--known-failures", "/nowhere/known"), "No such file"),
        ((*target, "--json", "/nowhere/report.json"), "no such directory"),
        ((*target, "--contracts", "/nowhere/set.binpb"), "cannot be read"),
    ):
        code, _, errors = await run("conformance", *arguments)
        assert code == 2, arguments
        assert words in errors


async def test_a_service_that_does_not_start_ends_with_1() -> None:
    code, output, errors = await run("conformance", "--run", "profile=false")
    assert (code, output) == (1, "")
    assert "the service profile ended by itself with code 1" in errors


async def test_the_rules_are_listed() -> None:
    code, output, _ = await run("conformance", "--list")
    assert code == 0
    assert [line.split()[0] for line in output.splitlines()] == [
        rule.name for rule in ALL_RULES
    ]
