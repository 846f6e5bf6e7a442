"""The findings of `telegram-gateway doctor`, and their output as text and as JSON."""

import json
from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct


class Verdict(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"
    """The gateway works, but not as well as it could."""
    FAILED = "failed"


class Finding(Struct, frozen=True):
    """What was found about one thing that was examined.

    Attributes:
        subject: what was examined, such as "service PROFILE".
        verdict: how serious the finding is.
        text: what was found; for a problem, also what to do.
    """

    subject: str
    verdict: Verdict
    text: str


def format_text(findings: Sequence[Finding]) -> str:
    """Return findings as text: a line for each, and one with the number of failures.

    Args:
        findings: at least one.
    """
    width = max(len(finding.subject) for finding in findings)
    lines = [
        f"{finding.verdict:7}  {finding.subject:{width}}  {finding.text}"
        for finding in findings
    ]
    failed = sum(finding.verdict is Verdict.FAILED for finding in findings)
    return "\n".join([*lines, f"{failed} failed" if failed else "Everything works."])


def format_json(findings: Sequence[Finding]) -> str:
    """Return findings as JSON: `ok`, which is true if none failed, and `findings`."""
    report = {
        "ok": not has_failed(findings),
        "findings": [
            {"subject": it.subject, "verdict": it.verdict, "text": it.text}
            for it in findings
        ],
    }
    return json.dumps(report, indent=2)


def has_failed(findings: Sequence[Finding]) -> bool:
    """Return whether a finding says that something does not work."""
    return any(finding.verdict is Verdict.FAILED for finding in findings)
