"""What a check of `millimetric doctor` finds."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """`warn`: the server works, but not as it should; `fail`: the server can't work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table; `advice` is what to do, empty if the check passes."""

    check: str
    verdict: Verdict
    told: str
    advice: str = ""


def ok(check: str, told: str) -> Finding:
    """The check passes."""
    return Finding(check, Verdict.OK, told)


def warn(check: str, told: str, advice: str) -> Finding:
    """The server works, but not as it should."""
    return Finding(check, Verdict.WARN, told, advice)


def fail(check: str, told: str, advice: str) -> Finding:
    """The server can't work."""
    return Finding(check, Verdict.FAIL, told, advice)
