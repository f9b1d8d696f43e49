"""What a check of `millimetric doctor` finds."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is: `warn` works but not as one would want, `fail` keeps the server from its work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table; `advice` is what to do, empty where all is well."""

    check: str
    verdict: Verdict
    told: str
    advice: str = ""


def ok(check: str, told: str) -> Finding:
    """All is well."""
    return Finding(check, Verdict.OK, told)


def warn(check: str, told: str, advice: str) -> Finding:
    """It works, but not as one would want."""
    return Finding(check, Verdict.WARN, told, advice)


def fail(check: str, told: str, advice: str) -> Finding:
    """The server can't do its work."""
    return Finding(check, Verdict.FAIL, told, advice)
