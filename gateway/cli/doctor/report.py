"""What the doctor found, as text and as JSON."""

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
    """One thing that was examined.

    Attributes:
        subject: what was examined, such as "service PROFILE".
        verdict: how serious it is.
        text: what was found; for a problem, also what to do.
    """

    subject: str
    verdict: Verdict
    text: str


def format_text(findings: Sequence[Finding]) -> str:
    """Format findings for a person: one line each, and the sum."""
    width = max(len(finding.subject) for finding in findings)
    lines = [
        f"{finding.verdict:7}  {finding.subject:{width}}  {finding.text}"
        for finding in findings
    ]
    failed = sum(finding.verdict is Verdict.FAILED for finding in findings)
    return "\n".join([*lines, f"{failed} failed" if failed else "Everything works."])


def format_json(findings: Sequence[Finding]) -> str:
    """Format findings for a program."""
    report = {
        "ok": not has_failed(findings),
        "findings": [
            {"subject": it.subject, "verdict": it.verdict, "text": it.text}
            for it in findings
        ],
    }
    return json.dumps(report, indent=2)


def has_failed(findings: Sequence[Finding]) -> bool:
    """Return whether something does not work."""
    return any(finding.verdict is Verdict.FAILED for finding in findings)
