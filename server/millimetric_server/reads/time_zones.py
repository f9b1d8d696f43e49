"""Time zones, all read at startup, since a handler must not wait for a file, and whether hourly roll-ups fit them."""

import functools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from millimetric_server.reads.conditions import clamp_time

HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000


@functools.cache
def read_zones() -> Mapping[str, ZoneInfo]:
    """Read every zone of the IANA database; takes some tenths of a second, once."""
    return {name: ZoneInfo(name) for name in available_timezones()}


def find_zone(name: str) -> ZoneInfo:
    """Find a zone by its IANA name. Raises KeyError."""
    return read_zones()[name]


def has_whole_hours(timezone: str, from_us: int, to_us: int) -> bool:
    """Tell whether the zone's offset from UTC is of whole hours throughout a range of time."""
    if timezone == "UTC":
        return True
    return _has_whole_hours(timezone, clamp_time(from_us) // DAY_US, clamp_time(to_us) // DAY_US + 1)


@functools.lru_cache(1024)
def _has_whole_hours(timezone: str, first_day: int, last_day: int) -> bool:
    """Look at every day: no zone leaves its offset for less than one."""
    zone = find_zone(timezone)
    start = datetime.fromtimestamp(first_day * 86_400, UTC)
    offsets = {(start + timedelta(days=days)).astimezone(zone).utcoffset() for days in range(last_day - first_day + 1)}
    return all(offset is not None and offset % timedelta(hours=1) == timedelta(0) for offset in offsets)
