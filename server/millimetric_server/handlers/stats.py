"""Stats: counts or uniques, by time and group."""

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from millimetric_server.call import Call, Deps, Steps
from millimetric_server.messages import Interval, Metric, StatsResponse, StatsRow
from millimetric_server.store.filters import ROLLED_UP, Conditions, add_filters, clamp_time
from millimetric_server.store.statements import read_statement
from millimetric_server.validate.reads import DAY_US, GROUP_COLUMNS, StatsPlan

_BUCKETS = {
    Interval.HOUR: "toUnixTimestamp(toStartOfHour(timestamp, {timezone:String}))",
    Interval.DAY: "toString(toDate(timestamp, {timezone:String}))",
    Interval.WEEK: "toString(toMonday(timestamp, {timezone:String}))",
    Interval.MONTH: "toString(toStartOfMonth(timestamp, {timezone:String}))",
}
_DAY_BUCKETS = {
    Interval.DAY: "toString(day)",
    Interval.WEEK: "toString(toMonday(day))",
    Interval.MONTH: "toString(toStartOfMonth(day))",
}


def stats(call: Call, deps: Deps) -> Steps:
    """Answer the figures, from the roll-up where the question allows and from the events otherwise."""
    plan: StatsPlan = call.request
    statement, conditions = _build(plan)
    parameters = {"project": call.project.project_id, "timezone": plan.timezone, "limit": plan.limit}
    rows = yield deps.store.read(statement, parameters | conditions.parameters)
    return StatsResponse([_read_row(row, plan) for row in rows])


def _build(plan: StatsPlan) -> tuple[str, Conditions]:
    is_rolled_up = _can_use_rollup(plan)
    conditions = Conditions()
    if is_rolled_up:
        conditions.require("day", ">=", _read_day(plan.from_us), "Date")
        if plan.to_us is not None:
            conditions.require("day", "<", _read_day(plan.to_us), "Date")
    else:
        conditions.require_time("timestamp", ">=", plan.from_us)
        if plan.to_us is not None:
            conditions.require_time("timestamp", "<", plan.to_us)
    add_filters(conditions, plan.filters)
    groups = [GROUP_COLUMNS[name] for name in plan.group_by]
    if plan.interval is not Interval.UNSPECIFIED:
        groups.insert(0, f"{(_DAY_BUCKETS if is_rolled_up else _BUCKETS)[plan.interval]} AS bucket")
    keys = [group.rpartition(" AS ")[2] for group in groups]
    order = ["bucket", "value DESC"] if plan.interval is not Interval.UNSPECIFIED else ["value DESC"]
    statement = (
        read_statement("stats.daily_rollup" if is_rolled_up else "stats.events")
        .replace("%GROUPS%", "".join(f"{group}, " for group in groups))
        .replace("%VALUE%", _read_value(plan.metric, is_rolled_up=is_rolled_up))
        .replace("%CONDITIONS%", conditions.sql)
        .replace("%GROUP_BY%", f"GROUP BY {', '.join(keys)}" if keys else "")
        .replace("%ORDER%", ", ".join(order + [key for key in keys if key != "bucket"]))
    )
    return statement, conditions


def _read_value(metric: Metric, *, is_rolled_up: bool) -> str:
    if metric is Metric.UNIQUES:
        return "uniqCombined64Merge(14)(visitors)" if is_rolled_up else "uniqCombined64(14)(anonymous_id)"
    return "sum(events)" if is_rolled_up else "count()"


def _can_use_rollup(plan: StatsPlan) -> bool:
    """Whole UTC days, and nothing asked that the roll-up does not keep."""
    bounds = (plan.from_us, 0 if plan.to_us is None else plan.to_us)
    return (
        all(bound % DAY_US == 0 for bound in bounds)
        and plan.timezone == "UTC"
        and plan.interval is not Interval.HOUR
        and "path" not in plan.group_by
        and all(one.column in ROLLED_UP for one in plan.filters)
    )


def _read_day(time_us: int) -> str:
    return datetime.fromtimestamp(clamp_time(time_us) / 1e6, UTC).date().isoformat()


def _read_row(row: Any, plan: StatsPlan) -> StatsRow:
    values = list(row)
    answer = StatsRow(value=values.pop())
    if plan.interval is not Interval.UNSPECIFIED:
        answer.bucket = _write_bucket(values.pop(0), plan.timezone)
    for name, value in zip(plan.group_by, values, strict=True):
        setattr(answer, name, value)
    return answer


def _write_bucket(bucket: int | str, timezone: str) -> str:
    zone = ZoneInfo(timezone)
    if isinstance(bucket, int):
        begin = datetime.fromtimestamp(bucket, zone)
    else:
        begin = datetime.combine(date.fromisoformat(bucket), datetime.min.time(), zone)
    return begin.isoformat().replace("+00:00", "Z") if timezone == "UTC" else begin.isoformat()
