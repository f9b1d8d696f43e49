"""Buckets of time: how SQL makes them, what they are called, all of a range, and the range before."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from millimetric_server.api.errors import invalid_params
from millimetric_server.api.messages import Compare, Interval
from millimetric_server.reads.conditions import clamp_time
from millimetric_server.reads.time_zones import DAY_US, HOUR_US, find_zone

BUCKETS_MAX = 10_000
Bucket = int | date  # as SQL answers it: an hour as seconds since 1970 UTC, others as their first day
_HOUR_S, _HALF_HOUR_S = 3600, 1800
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEAST_US = {
    Interval.HOUR: HOUR_US,
    Interval.DAY: DAY_US,
    Interval.WEEK: 7 * DAY_US,
    Interval.MONTH: 28 * DAY_US,
}
# The beginning of a bucket, of a table's time. toStartOfHour would begin hours at half past, from a change of the clock
# by half an hour to the day's end.
_OF_TIME = {
    Interval.HOUR: (
        "toUnixTimestamp({time}) - positiveModulo("
        "toUnixTimestamp({time}) + timeZoneOffset(toTimeZone({time}, {{timezone:String}})), 3600)"
    ),
    Interval.DAY: "toDate({time}, {{timezone:String}})",
    Interval.WEEK: "toMonday({time}, {{timezone:String}})",
    Interval.MONTH: "toStartOfMonth({time}, {{timezone:String}})",
}
_OF_DAY = {Interval.DAY: "{time}", Interval.WEEK: "toMonday({time})", Interval.MONTH: "toStartOfMonth({time})"}


def build_bucket(interval: Interval, time: str) -> str:
    """SQL for the bucket of a column of time; `day` is the only one of type Date."""
    return (_OF_DAY if time == "day" else _OF_TIME)[interval].format(time=time)


def build_day_bucket(interval: Interval, day: str) -> str:
    """SQL for the bucket of a day UTC; without an interval, the same for all."""
    return "toDate(0)" if interval is Interval.UNSPECIFIED else _OF_DAY[interval].format(time=day)


def check_buckets(from_us: int, to_us: int, interval: Interval) -> None:
    """Raises AppError invalid_params where a range has too many."""
    if interval is Interval.UNSPECIFIED:
        return
    count = (clamp_time(to_us) - clamp_time(from_us)) // _LEAST_US[interval]
    if count > BUCKETS_MAX:
        message = f"divides this range into {count:,} buckets, more than {BUCKETS_MAX:,}: choose a longer one"
        raise invalid_params("interval", message)


def write_bucket(bucket: Bucket, zone: ZoneInfo) -> str:
    """RFC 3339 with the zone's offset at that moment."""
    begin = datetime.fromtimestamp(bucket, zone) if isinstance(bucket, int) else _begin_day(bucket, zone)
    return begin.isoformat().replace("+00:00", "Z") if zone.key == "UTC" else begin.isoformat()


def list_buckets(from_us: int, to_us: int, interval: Interval, timezone: str) -> list[Bucket]:
    """All buckets that have a moment in a range, in order."""
    zone = find_zone(timezone)
    start, end = clamp_time(from_us), clamp_time(to_us)
    if start >= end:
        return []
    if interval is Interval.HOUR:
        return list(_list_hours(start // 1_000_000, -(-end // 1_000_000), zone))
    return list(_list_days(_read_local(start, zone).date(), _read_local(end - 1, zone).date(), interval, zone))


def shift_range(from_us: int, to_us: int, compare: Compare, timezone: str) -> tuple[int, int]:
    """The range that another is compared with."""
    if compare is Compare.PREVIOUS_YEAR:
        zone = find_zone(timezone)
        return _shift_year(from_us, zone), _shift_year(to_us, zone)
    return from_us - (to_us - from_us), from_us


def _begin_day(day: date, zone: ZoneInfo) -> datetime:
    midnight = datetime.combine(day, datetime.min.time(), zone)
    return midnight.astimezone(UTC).astimezone(zone)  # 01:00 where clocks go forward at midnight


def _read_local(time_us: int, zone: ZoneInfo) -> datetime:
    return (_EPOCH + timedelta(microseconds=time_us)).astimezone(zone)


def _list_hours(start_s: int, end_s: int, zone: ZoneInfo) -> Iterator[int]:
    """Hours begin at whole hours of the offset, which may change by half an hour."""
    last = None
    moment = start_s
    while moment < end_s:
        offset = datetime.fromtimestamp(moment, zone).utcoffset() or timedelta(0)
        begin = moment - (moment + int(offset.total_seconds())) % _HOUR_S
        if begin != last:
            yield begin
            last = begin
        moment = moment - moment % _HALF_HOUR_S + _HALF_HOUR_S


def _list_days(first: date, last: date, interval: Interval, zone: ZoneInfo) -> Iterator[date]:
    """Every day, Monday or first of a month, but no day that a zone left out."""
    day = first
    if interval is Interval.WEEK:
        day -= timedelta(days=day.weekday())
    elif interval is Interval.MONTH:
        day = day.replace(day=1)
    while day <= last:
        if interval is not Interval.DAY or _begin_day(day, zone).date() == day:
            yield day
        if interval is Interval.MONTH:
            day = (day + timedelta(days=31)).replace(day=1)
        else:
            day += timedelta(days=7 if interval is Interval.WEEK else 1)


def _shift_year(time_us: int, zone: ZoneInfo) -> int:
    local = _read_local(clamp_time(time_us), zone)
    year = max(local.year - 1, 1970)
    is_leap_day = (local.month, local.day) == (2, 29)
    shifted = local.replace(year=year, day=28) if is_leap_day else local.replace(year=year)
    return (shifted.astimezone(UTC) - _EPOCH) // _MICROSECOND
