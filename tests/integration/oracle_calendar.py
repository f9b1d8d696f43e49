"""Hours, days, weeks and months of a time zone, by the standard library alone."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from millimetric_server.api.messages import Interval

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY_US = 86_400_000_000


def read_local(time_us: int, timezone: str) -> datetime:
    """What clocks in the zone show."""
    return (_EPOCH + timedelta(microseconds=time_us)).astimezone(ZoneInfo(timezone))


def read_day(time_us: int, timezone: str) -> date:
    """The calendar day of the zone."""
    return read_local(time_us, timezone).date()


def read_monday(time_us: int, timezone: str) -> date:
    """The first day of the week."""
    day = read_day(time_us, timezone)
    return day - timedelta(days=day.weekday())


def find_beginning(day: date, timezone: str) -> datetime:
    """The first moment of a day: 01:00 where clocks go forward at midnight, and of two midnights the first."""
    zone = ZoneInfo(timezone)
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return midnight.astimezone(UTC).astimezone(zone)


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 UTC."""
    return (moment.astimezone(UTC) - _EPOCH) // _MICROSECOND


def find_bucket(time_us: int, interval: Interval, timezone: str) -> datetime:
    """The beginning in UTC of the bucket that holds this time, so that the same local hour twice is two buckets.

    An hour begins at a whole hour of the offset that its events have. (Where clocks change by half an hour, the half
    hour that is left over begins, so told, half an hour before its first moment.)
    """
    local = read_local(time_us, timezone)
    if interval is Interval.HOUR:
        past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return local.astimezone(UTC) - past
    day = local.date()
    if interval is Interval.WEEK:
        day -= timedelta(days=day.weekday())
    if interval is Interval.MONTH:
        day = day.replace(day=1)
    return find_beginning(day, timezone).astimezone(UTC)


def write_bucket(beginning: datetime, timezone: str) -> str:
    """RFC 3339 with the zone's offset at that moment; `Z` for UTC."""
    text = beginning.astimezone(ZoneInfo(timezone)).isoformat()
    return text.removesuffix("+00:00") + "Z" if timezone == "UTC" else text


def default_from(end_us: int | None, now_us: int) -> int:
    """Midnight UTC, 30 days before the end or now."""
    return (now_us if end_us is None else end_us) // _DAY_US * _DAY_US - 30 * _DAY_US
