"""Formats the results of scenarios: as text, as JSON, and as JUnit's XML for CI."""

import re
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as ET

import msgspec

from gateway.sandbox.scenarios.player import Report

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_lines(report: Report) -> Iterable[str]:
    """Yield the lines of a text report of one scenario, each step with its result."""
    yield f"{report.name}  ({report.path})"
    for step in report.steps:
        result = step.result.upper() if step.result == "failed" else step.result
        taken = "" if step.result == "skipped" else f"{step.seconds:.2f} s"
        where = f"  (line {step.line})" if step.result == "failed" else ""
        yield f"  {result:8}{taken:>8}  {step.words}{where}"
        for line in step.why:
            yield f"{'':20}{line}"


def summary(reports: Sequence[Report], seconds: float) -> str:
    """Return one line that says how many scenarios failed.

    Args:
        reports: the results of all scenarios.
        seconds: how long all of them took.
    """
    failed = sum(1 for report in reports if report.failed)
    noun = "scenario" if len(reports) == 1 else "scenarios"
    went = f"{failed} failed" if failed else "all ok"
    return f"{len(reports)} {noun}, {went}, {seconds:.1f} s"


def as_json(reports: Sequence[Report], seconds: float) -> bytes:
    """Return the results of all scenarios as JSON.

    Args:
        reports: the results of all scenarios.
        seconds: how long all of them took.
    """
    scenarios = [
        {
            "file": report.path,
            "name": report.name,
            "ok": not report.failed,
            "seconds": round(report.seconds, 3),
            "steps": [
                msgspec.structs.asdict(step) | {"seconds": round(step.seconds, 3)}
                for step in report.steps
            ],
        }
        for report in reports
    ]
    ok = not any(report.failed for report in reports)
    shown = {"ok": ok, "seconds": round(seconds, 3), "scenarios": scenarios}
    return msgspec.json.format(msgspec.json.encode(shown)) + b"\n"


def as_junit(reports: Sequence[Report], seconds: float) -> bytes:
    """Return a JUnit report in XML, with each scenario as a test case of one suite.

    Args:
        reports: the results of all scenarios.
        seconds: how long all of them took.
    """
    suite = ET.Element(
        "testsuite",
        name="telegram-gateway sandbox run",
        tests=str(len(reports)),
        failures=str(sum(1 for report in reports if report.failed)),
        errors="0",
        skipped="0",
        time=f"{seconds:.3f}",
    )
    for report in reports:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=_legal(report.path),
            name=_legal(report.name),
            time=f"{report.seconds:.3f}",
        )
        if step := report.failed:
            message = f"line {step.line}: {step.words}"
            failure = ET.SubElement(case, "failure", message=_legal(message))
            failure.text = _legal("\n".join(step.why))
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    written: bytes = ET.tostring(suites, "utf-8", xml_declaration=True)
    return written + b"\n"


def _legal(text: str) -> str:
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)
