"""Reads times as other products write them: epochs of any unit, names of zones, blanks for a T, access logs."""

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"(\d{9,20})(?:\.(\d{1,9}))?")
# By the digits of the whole part: from 1973 to 2286 a unit is never taken for another.
_UNITS_US = ((11, 1_000_000.0), (14, 1000.0), (17, 1.0), (20, 0.001))
_ZONE = re.compile(r"\s*(?:UTC|GMT|Z)$", re.IGNORECASE)
_OFFSET = re.compile(r"\s*([+-]\d\d):?(\d\d)?$")
_LOG = "%d/%b/%Y:%H:%M:%S %z"


def read_time(text: str) -> datetime:
    """Read a time; without a zone it is UTC.

    `1793527200`, also with a fraction or in milli-, micro- or nanoseconds; `2026-11-01 10:00:00 UTC`;
    `2026-11-01T10:00:00.5+01:00`; `01/Nov/2026:10:00:00 +0000`. Raises ValueError with a sentence.
    """
    text = text.strip()
    if (match := _NUMBER.fullmatch(text)) is not None:
        return _read_epoch(match[1], match[2] or "")
    try:
        if "/" in text[:7]:
            return datetime.strptime(text, _LOG)  # noqa: DTZ007 - it has %z
        plain = _ZONE.sub("+00:00", text)
        if ":" in plain:  # the day of a date is no offset
            plain = _OFFSET.sub(lambda match: f"{match[1]}:{match[2] or '00'}", plain)
        moment = datetime.fromisoformat(plain)
    except (ValueError, OverflowError):
        raise ValueError(
            "must be a time, such as 2026-11-01T10:00:00Z, 2026-11-01 10:00:00 UTC, or seconds, milliseconds or "
            "microseconds since 1970"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _read_epoch(whole: str, fraction: str) -> datetime:
    unit_us = next(unit for digits, unit in _UNITS_US if len(whole) <= digits)
    micros = int(int(whole) * unit_us)
    if fraction:
        micros += int(float(f"0.{fraction}") * unit_us)
    return _EPOCH + timedelta(microseconds=micros)
