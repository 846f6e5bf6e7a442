"""Reports of a run: as text, as JSON, and as JUnit's XML for CI."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from xml.etree import ElementTree as ET

import msgspec
from msgspec import Struct


class Verdict(StrEnum):
    """The result of a rule."""

    PASSED = "passed"
    FAILED = "failed"
    KNOWN = "known"
    """It failed, as the file of known failures says."""
    FIXED = "fixed"
    """It passed, although the file of known failures has it."""
    SKIPPED = "skipped"
    """The rpc does not answer at all, which is the failure of another rule."""


class RuleResult(Struct, frozen=True):
    """What a rule found.

    Attributes:
        service: the service's name in settings.
        subject: the rpc and its trigger, or the service for a rule about it.
        rule: the name of the rule.
        verdict: the result.
        problems: what is wrong.
        seconds: how long it took.
    """

    service: str
    subject: str
    rule: str
    verdict: Verdict
    problems: Sequence[str] = ()
    seconds: float = 0.0


def has_failed(results: Sequence[RuleResult]) -> bool:
    """Return whether a rule failed that is not known to fail."""
    return any(result.verdict is Verdict.FAILED for result in results)


def format_lines(results: Sequence[RuleResult]) -> Iterator[str]:
    """Yield the lines of a report for people: all but what passed, and the sum."""
    for result in results:
        if result.verdict is Verdict.FIXED:
            why = "passes: remove it from the known failures"
        else:
            why = "; ".join(result.problems)
        if result.verdict not in {Verdict.PASSED, Verdict.SKIPPED}:
            yield f"{result.verdict:7}  {result.rule} {result.subject}: {why}"
    counts = [(it, sum(r.verdict is it for r in results)) for it in Verdict]
    yield ", ".join(f"{count} {verdict}" for verdict, count in counts if count)


def format_json(results: Sequence[RuleResult]) -> bytes:
    """Format the results as JSON."""
    shown = {"ok": not has_failed(results), "results": results}
    return msgspec.json.format(msgspec.json.encode(shown)) + b"\n"


def format_junit(results: Sequence[RuleResult]) -> bytes:
    """Format the results as JUnit's XML: each rule and route is a test case."""
    failed = [it for it in results if it.verdict is Verdict.FAILED]
    skipped = [it for it in results if it.verdict in {Verdict.SKIPPED, Verdict.KNOWN}]
    suite = ET.Element(
        "testsuite",
        name="telegram-gateway conformance",
        tests=str(len(results)),
        failures=str(len(failed)),
        errors="0",
        skipped=str(len(skipped)),
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    for result in results:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=f"{result.service}.{result.subject}",
            name=result.rule,
            time=f"{result.seconds:.3f}",
        )
        text = "; ".join(result.problems)
        if result.verdict is Verdict.FAILED:
            ET.SubElement(case, "failure", message=text)
        elif result.verdict in {Verdict.SKIPPED, Verdict.KNOWN}:
            ET.SubElement(case, "skipped", message=text or result.verdict)
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    written: bytes = ET.tostring(suites, "utf-8", xml_declaration=True)
    return written + b"\n"
