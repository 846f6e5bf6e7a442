"""What is shown of scenarios that were played."""

import json
from xml.etree import ElementTree as ET

from gateway.sandbox.scenarios.player import Report, StepResult
from gateway.sandbox.scenarios.report import as_json, as_junit, as_lines, summary

GOOD = Report(
    path="good.yaml",
    name="All is well",
    seconds=0.5,
    steps=[StepResult(line=3, words="ada says: hi", result="ok", seconds=0.5)],
)
BAD = Report(
    path="bad.yaml",
    name="Greetings <& more>",
    seconds=5.25,
    steps=[
        StepResult(line=3, words="ada says: hi", result="ok", seconds=0.25),
        StepResult(
            line=4,
            words="ada sees: <b>\x00",
            result="failed",
            seconds=5.0,
            why=["there was no such message within 5 s", "  bot: \x01 ]]> \ud800"],
        ),
        StepResult(line=5, words="wait: 1s"),
    ],
)


def test_a_person_sees_each_step_and_what_was_seen_instead() -> None:
    """With the time it took, and the line of the one that failed."""
    assert list(as_lines(GOOD)) == [
        "All is well  (good.yaml)",
        "  ok        0.50 s  ada says: hi",
    ]
    assert list(as_lines(BAD))[2:] == [
        "  FAILED    5.00 s  ada sees: <b>\x00  (line 4)",
        "                    there was no such message within 5 s",
        "                      bot: \x01 ]]> \ud800",
        "  skipped           wait: 1s",
    ]


def test_a_line_says_how_it_went() -> None:
    assert summary([GOOD], 1) == "1 scenario, all ok, 1.0 s"
    assert summary([GOOD, BAD], 6.04) == "2 scenarios, 1 failed, 6.0 s"


def test_a_program_gets_json() -> None:
    shown = json.loads(as_json([GOOD], 1.23456))
    assert shown["ok"] is True
    assert shown["seconds"] == 1.235
    (scenario,) = shown["scenarios"]
    assert scenario["file"] == "good.yaml"
    step = {"line": 3, "words": "ada says: hi", "result": "ok", "seconds": 0.5}
    assert scenario["steps"] == [step | {"why": []}]


def test_ci_gets_xml_that_can_be_read_whatever_the_bot_said() -> None:
    """A scenario is a test case; signs that XML cannot have are replaced."""
    suite = ET.fromstring(as_junit([GOOD, BAD], 6))[0]
    assert suite.attrib["tests"] == "2"
    assert suite.attrib["failures"] == "1"
    good, bad = suite
    assert good.attrib["name"] == "All is well"
    assert list(good) == []
    assert bad.attrib == {
        "classname": "bad.yaml",
        "name": "Greetings <& more>",
        "time": "5.250",
    }
    (failure,) = bad
    assert failure.attrib["message"] == "line 4: ada sees: <b>\N{REPLACEMENT CHARACTER}"
    assert failure.text
    assert "]]>" in failure.text
