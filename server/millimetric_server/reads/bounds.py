"""Checks that several reads share, of ranges, numbers, texts and time zones. What fits is said by the protos."""

from collections.abc import Mapping

from millimetric.v1.options_pb2 import FieldLimits
from millimetric_server.api.errors import invalid_params
from millimetric_server.reads.time_zones import DAY_US, find_zone

Limits = Mapping[str, FieldLimits]  # of a request's fields, by name
_DEFAULT_DAYS = 30


def check_range(start: int | None, end: int | None) -> None:
    """Raises AppError invalid_params where a range ends before it begins."""
    if start is not None and end is not None and start > end:
        raise invalid_params("from", "must not be after `to`")


def begin_range(start: int | None, end: int | None, now_us: int) -> int:
    """Fill in where a range begins: at midnight UTC, so that a roll-up can answer, 30 days before its end or now."""
    if start is not None:
        return start
    last = now_us if end is None else end
    return last // DAY_US * DAY_US - _DEFAULT_DAYS * DAY_US


def check_number(field: str, number: int | None, limits: Limits) -> int:
    """Check a number, and fill it in where it is absent. Raises AppError invalid_params."""
    bounds = limits[field]
    if number is None:
        return bounds.value_absent
    if not bounds.value_min <= number <= bounds.value_max:
        raise invalid_params(field, f"must be {bounds.value_min} to {bounds.value_max}")
    return number


def check_timezone(name: str | None) -> str:
    """Find a zone by its IANA name; UTC when there is none. Raises AppError invalid_params."""
    if not name:
        return "UTC"
    try:
        return find_zone(name).key
    except KeyError:
        raise invalid_params("timezone", "must be an IANA name, such as Europe/Berlin") from None


def check_text(field: str, text: str | None, chars_max: int) -> str:
    """Check a text; an absent one is empty. Raises AppError invalid_params if it is too long or holds a NUL."""
    text = text or ""
    if len(text) > chars_max or "\0" in text:
        raise invalid_params(field, f"must have at most {chars_max} characters and no NUL")
    return text
