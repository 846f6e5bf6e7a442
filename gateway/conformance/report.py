"""The results of rules, and reports of them: as text, as JSON, and as XML for JUnit."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from xml.etree import ElementTree as ET

import msgspec
from msgspec import Struct


class Verdict(StrEnum):
    """How a rule ended for a route or a service."""

    PASSED = "passed"
    FAILED = "failed"
    KNOWN = "known"
    """The rule failed, and the file of known failures lists it."""
    FIXED = "fixed"
    """The rule passed, but the file of known failures still lists it."""
    SKIPPED = "skipped"
    """The rule was not tried, because the rpc has failed the rule "answers"."""


class RuleResult(Struct, frozen=True):
    """The result of one rule for one route, or for one service.

    Attributes:
        service: the service's name in settings, such as "BILLING".
        subject: the rpc and the trigger of the route, such as "GetProfile /profile"; or
            the service's name, for a rule about services.
        rule: the name of the rule.
        verdict: whether the rule was passed.
        problems: a line for each problem; empty if the rule was passed or skipped.
        seconds: how long the rule took.
    """

    service: str
    subject: str
    rule: str
    verdict: Verdict
    problems: Sequence[str] = ()
    seconds: float = 0.0


def has_failed(results: Sequence[RuleResult]) -> bool:
    """Return whether a rule failed that the file of known failures does not list."""
    return any(result.verdict is Verdict.FAILED for result in results)


def format_lines(results: Sequence[RuleResult]) -> Iterator[str]:
    """Yield the lines of a report for people.

    There is a line for each rule that failed or is fixed, and one with the number of
    results of each verdict.
    """
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
    """Return the results as JSON: `ok`, which is true if none failed, and `results`."""
    shown = {"ok": not has_failed(results), "results": results}
    return msgspec.json.format(msgspec.json.encode(shown)) + b"\n"


def format_junit(results: Sequence[RuleResult]) -> bytes:
    """Return the results as XML for JUnit: each rule of each route is a test case."""
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
