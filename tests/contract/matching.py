"""Compares an answer with what a case wants of it."""

from typing import Any

from contract.case_files import Wanted
from contract.doors import Answer

_WHOLE = ".properties"


def find_differences(answer: Answer, want: Wanted, door: str) -> list[str]:
    """Tell in what an answer is not as wanted."""
    checks: list[tuple[str, Any, Any]] = [
        ("reason", answer.reason, want.reason),
        ("fields", sorted(answer.fields), sorted(want.fields)),
        ("has_retry_after", answer.retry_after_s is not None, want.has_retry_after),
    ]
    if door == "rest":
        checks.append(("http_status", answer.http_status, want.http_status))
    else:
        checks.append(("code", answer.code, want.code))
    differences = [f"{name}: {got!r}, wanted {wanted!r}" for name, got, wanted in checks if got != wanted]
    differences += compare(answer.details, want.details, "details")
    if want.response:
        differences += compare(answer.response, want.response, "response")
    return differences


def compare(got: Any, wanted: Any, where: str) -> list[str]:
    """Compare by the rules of contract_case.proto: objects in part, lists and properties whole, `*` and null."""
    if isinstance(wanted, dict) and isinstance(got, dict) and not where.endswith(_WHOLE):
        return [text for name, item in wanted.items() for text in compare(got.get(name), item, f"{where}.{name}")]
    if isinstance(wanted, list) and isinstance(got, list) and len(got) == len(wanted):
        pairs = enumerate(zip(got, wanted, strict=True))
        return [text for index, (one, two) in pairs for text in compare(one, two, f"{where}[{index}]")]
    if wanted is None:
        is_as_wanted = not got
    elif wanted == "*":
        is_as_wanted = bool(got)
    else:
        is_as_wanted = is_same_json(got, wanted)
    return [] if is_as_wanted else [f"{where}: {got!r}, wanted {wanted!r}"]


def is_same_json(one: Any, two: Any) -> bool:
    """Equal as JSON: true is not 1, but 1.0 is, and null is not an absent member."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(is_same_json(one[name], two[name]) for name in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(is_same_json, one, two))
    return isinstance(one, bool) == isinstance(two, bool) and bool(one == two)
