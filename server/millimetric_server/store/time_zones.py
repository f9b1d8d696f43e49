"""What the roll-ups must know of time zones."""

import functools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from millimetric_server.store.filters import clamp_time

HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000


def has_whole_hours(timezone: str, from_us: int, to_us: int) -> bool:
    """Tell whether the zone's offset from UTC is of whole hours throughout a range of time."""
    if timezone == "UTC":
        return True
    return _has_whole_hours(timezone, clamp_time(from_us) // DAY_US, clamp_time(to_us) // DAY_US + 1)


@functools.lru_cache(1024)
def _has_whole_hours(timezone: str, first_day: int, last_day: int) -> bool:
    """Look at every day: no zone leaves its offset for less than one."""
    zone = ZoneInfo(timezone)
    start = datetime.fromtimestamp(first_day * 86_400, UTC)
    offsets = {(start + timedelta(days=days)).astimezone(zone).utcoffset() for days in range(last_day - first_day + 1)}
    return all(offset is not None and offset % timedelta(hours=1) == timedelta(0) for offset in offsets)
