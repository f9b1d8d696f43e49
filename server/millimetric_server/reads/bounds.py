"""What the parameters that several reads share may be: ranges, numbers, texts, time zones."""

from millimetric_server.api.errors import invalid_params
from millimetric_server.api.limits import CHARS_MAX
from millimetric_server.reads.time_zones import DAY_US, find_zone

VALUE_CHARS_MAX = 2048
_DEFAULT_DAYS = 30


def check_range(start: int | None, end: int | None) -> None:
    """Raises AppError invalid_params where a range ends before it begins."""
    if start is not None and end is not None and start > end:
        raise invalid_params("from", "must not lie after `to`")


def begin_range(start: int | None, end: int | None, now_us: int) -> int:
    """Fill in where a range begins: at midnight UTC, so that a roll-up can answer, 30 days before its end or now."""
    if start is not None:
        return start
    last = now_us if end is None else end
    return last // DAY_US * DAY_US - _DEFAULT_DAYS * DAY_US


def check_number(number: int | None, bounds: tuple[int, int], field: str = "limit") -> int:
    """Fill in the default of a number. Raises AppError invalid_params where it is not 1 to the largest.

    `bounds` are the default and the largest.
    """
    default, largest = bounds
    if number is None:
        return default
    if not 1 <= number <= largest:
        raise invalid_params(field, f"must be 1 to {largest}")
    return number


def check_timezone(name: str | None) -> str:
    """Find a zone by its IANA name; UTC when there is none. Raises AppError invalid_params."""
    if not name:
        return "UTC"
    try:
        return find_zone(name).key
    except KeyError:
        raise invalid_params("timezone", "must be an IANA name, such as Europe/Berlin") from None


def check_text(field: str, text: str, chars_max: int) -> None:
    """Raises AppError invalid_params for a text that is too long or holds a NUL."""
    if len(text) > chars_max or "\0" in text:
        raise invalid_params(field, f"must have at most {chars_max} characters and no NUL")


def check_event_name(field: str, name: str | None) -> str:
    """Check the name of an event; an absent one is empty. Raises AppError invalid_params."""
    check_text(field, name or "", CHARS_MAX["event"])
    return name or ""
