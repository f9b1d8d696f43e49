"""Stats: counts or uniques, by time and group."""

import functools
from datetime import UTC, date, datetime
from itertools import repeat
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec import UNSET

from millimetric_server.api.call import Call, Deps
from millimetric_server.api.messages import Interval, Metric, StatsResponse, StatsRow
from millimetric_server.api.pending import Pending
from millimetric_server.reads.check_reads import GROUP_COLUMNS, StatsPlan
from millimetric_server.reads.filters import Conditions, add_filters, read_day
from millimetric_server.reads.time_zones import DAY_US, HOUR_US, find_zone, has_whole_hours
from millimetric_server.store.clickhouse import Rows
from millimetric_server.store.statements import read_statement


class _Source(NamedTuple):
    """A table that can answer, what it keeps, and how it counts."""

    statement: str
    table: str
    time: str  # its column of time; of a roll-up, the beginning of each of its steps
    columns: frozenset[str] | None  # that it can be filtered and grouped by; None: all
    event_count: str = "sum(events)"
    visitor_count: str = "uniqCombined64Merge(14)(visitors)"


_BY_SOURCE = frozenset({"source", "medium", "is_bot"})
_ROLLED_UP = _BY_SOURCE | {"event", "campaign", "country", "device_type", "browser", "os"}
_SOURCES = _Source("stats.rollup", "source_rollup", "day", _BY_SOURCE)
_DAYS = _Source("stats.rollup", "daily_rollup", "day", _ROLLED_UP)
_HOURS = _Source("stats.rollup", "hourly_rollup", "hour", _ROLLED_UP)
_EVENTS = _Source("stats.events", "events", "timestamp", None, "count()", "uniqCombined64(14)(visitor)")

# The beginning of a bucket, of a table's time. toStartOfHour would begin hours at half past, from a change of the clock
# by half an hour to the day's end.
_BUCKETS = {
    Interval.HOUR: (
        "toUnixTimestamp({time}) - positiveModulo("
        "toUnixTimestamp({time}) + timeZoneOffset(toTimeZone({time}, {{timezone:String}})), 3600)"
    ),
    Interval.DAY: "toDate({time}, {{timezone:String}})",
    Interval.WEEK: "toMonday({time}, {{timezone:String}})",
    Interval.MONTH: "toStartOfMonth({time}, {{timezone:String}})",
}
_DAY_BUCKETS = {Interval.DAY: "{time}", Interval.WEEK: "toMonday({time})", Interval.MONTH: "toStartOfMonth({time})"}


async def stats(call: Call, deps: Deps) -> StatsResponse:
    """Answer the figures, from a roll-up where the question allows and from the events otherwise."""
    plan: StatsPlan = call.request
    statement, conditions = _build(plan, choose_source(plan, call.received_at))
    parameters = {"project": call.project.project_id, "timezone": plan.timezone, "limit": plan.limit + 1}
    rows = await Pending(deps.store.reads.run(statement, parameters | conditions.parameters, call.cancellation))
    response = StatsResponse(_read_rows(rows[: plan.limit], plan))
    if len(rows) > plan.limit:
        response.truncated = True
    return response


def choose_source(plan: StatsPlan, now_us: int) -> _Source:
    """Find the smallest table that keeps what is asked, by its steps of time and its columns."""
    columns = {GROUP_COLUMNS[name] for name in plan.group_by} | {one.column for one in plan.filters}
    bounds = (plan.from_us, 0 if plan.to_us is None else plan.to_us)
    candidates: tuple[_Source, ...] = ()
    if plan.timezone == "UTC" and plan.interval is not Interval.HOUR and all(bound % DAY_US == 0 for bound in bounds):
        candidates = (_SOURCES, _DAYS)
    elif all(bound % HOUR_US == 0 for bound in bounds) and has_whole_hours(
        plan.timezone, plan.from_us, now_us + DAY_US if plan.to_us is None else plan.to_us
    ):
        candidates = (_HOURS,)
    return next((one for one in candidates if one.columns is not None and columns <= one.columns), _EVENTS)


def _build(plan: StatsPlan, source: _Source) -> tuple[str, Conditions]:
    conditions = Conditions()
    if source.time == "day":
        conditions.require("day", ">=", read_day(plan.from_us), "Date")
        if plan.to_us is not None:
            conditions.require("day", "<", read_day(plan.to_us), "Date")
    else:
        conditions.require_range(source.time, plan.from_us, plan.to_us)
    add_filters(conditions, plan.filters)
    groups = [GROUP_COLUMNS[name] for name in plan.group_by]
    order = ["value DESC", *groups]
    selected = list(groups)
    if plan.interval is not Interval.UNSPECIFIED:
        bucket = (_DAY_BUCKETS if source.time == "day" else _BUCKETS)[plan.interval].format(time=source.time)
        groups.insert(0, "bucket")
        selected.insert(0, f"{bucket} AS bucket")
        order.insert(0, "bucket")
    statement = (
        read_statement(source.statement)
        .replace("%TABLE%", source.table)
        .replace("%GROUPS%", "".join(f"{group}, " for group in selected))
        .replace("%VALUE%", source.visitor_count if plan.metric is Metric.UNIQUES else source.event_count)
        .replace("%CONDITIONS%", conditions.sql)
        .replace("%GROUP_BY%", f"GROUP BY {', '.join(groups)}" if groups else "")
        .replace("%ORDER%", ", ".join(order))
    )
    return statement, conditions


def _read_rows(rows: Rows, plan: StatsPlan) -> list[StatsRow]:
    """Make the rows column by column, in half the time of one by one."""
    if not rows:
        return []
    has_bucket = plan.interval is not Interval.UNSPECIFIED
    columns = dict(zip(["bucket"] * has_bucket + [*plan.group_by, "value"], zip(*rows, strict=True), strict=True))
    if has_bucket:
        zone = find_zone(plan.timezone)
        write_bucket = functools.cache(lambda bucket: _write_bucket(bucket, zone))  # many rows share one
        columns["bucket"] = tuple(map(write_bucket, columns["bucket"]))
    return list(map(StatsRow, *(columns.get(name, repeat(UNSET)) for name in StatsRow.__struct_fields__)))


def _write_bucket(bucket: int | date, zone: ZoneInfo) -> str:
    """RFC 3339 with the zone's offset at that moment."""
    if isinstance(bucket, int):
        begin = datetime.fromtimestamp(bucket, zone)
    else:
        midnight = datetime.combine(bucket, datetime.min.time(), zone)
        begin = midnight.astimezone(UTC).astimezone(zone)  # 01:00 where clocks go forward at midnight
    return begin.isoformat().replace("+00:00", "Z") if zone.key == "UTC" else begin.isoformat()
