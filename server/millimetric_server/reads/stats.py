"""Stats: figures of events and visits, by time and group, beside those of an earlier range."""

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import product
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from millimetric.v1 import query_service_pb2
from millimetric_server.api.call import Call
from millimetric_server.api.errors import invalid_params
from millimetric_server.api.limits import list_limits
from millimetric_server.api.messages import Compare, Interval, StatsRequest, StatsResponse, StatsRow
from millimetric_server.api.pending import Pending
from millimetric_server.reads.bounds import begin_range, check_number, check_range, check_text, check_timezone
from millimetric_server.reads.buckets import (
    Bucket,
    build_bucket,
    build_day_bucket,
    check_buckets,
    list_buckets,
    shift_range,
    write_bucket,
)
from millimetric_server.reads.conditions import LATEST_US, Conditions, clamp_time, write_day
from millimetric_server.reads.deps import ReadDeps
from millimetric_server.reads.filters import add_filters, list_filtered
from millimetric_server.reads.groups import Group, check_groups
from millimetric_server.reads.measures import (
    COUNTS,
    CheckedMeasure,
    check_measures,
    write_measure,
    write_rollup_measure,
    write_visit_measure,
)
from millimetric_server.reads.time_zones import DAY_US, HOUR_US, find_zone, has_whole_hours
from millimetric_server.reads.visits import (
    CHANNEL,
    CHANNEL_PARTS,
    begin_near,
    bound_visits,
    build_visits,
    choose_bots,
    join_visits,
)
from millimetric_server.store.clickhouse import Rows
from millimetric_server.store.rollups import BY_SOURCE, DAILY, HOURLY
from millimetric_server.store.statements import read_statement

_LIMITS = list_limits(query_service_pb2.StatsRequest)
_ROWS_MAX = 100_000  # that are looked at where buckets are filled, and of the range that is compared with
_CHANNEL = {f"session_{name}": part for name, part in CHANNEL_PARTS.items()}  # groups that sessions alone have


class _Table(NamedTuple):
    """A roll-up: its column of time, the beginning of each of its steps, and what it can be filtered and grouped by."""

    name: str
    time: str
    columns: frozenset[str]


_SOURCES, _DAYS, _HOURS = (
    _Table(rollup.table, rollup.time, frozenset(rollup.dimensions)) for rollup in (BY_SOURCE, DAILY, HOURLY)
)


class _Range(NamedTuple):
    """A range of time in microseconds; `is_open` is without end, and `to_us` then now."""

    from_us: int
    to_us: int
    is_open: bool = False


class _Question(msgspec.Struct, frozen=True):
    """A statement and its parameters, but for the project and the limit."""

    statement: str
    parameters: Mapping[str, object]


class StatsPlan(msgspec.Struct, frozen=True):
    """A checked Stats: what to ask, and how the answer is made of the rows."""

    question: _Question
    groups: tuple[Group, ...]
    measures: tuple[CheckedMeasure, ...]
    is_measures: bool  # `metrics` was asked for, not `metric`
    interval: Interval
    timezone: str
    limit: int
    compared: _Question | None
    buckets: tuple[Bucket, ...]  # of the range, if they are filled or compared
    compared_buckets: tuple[Bucket, ...]
    is_filled: bool


def validate_stats(request: StatsRequest, call: Call) -> StatsPlan:
    """Check a Stats. Raises AppError invalid_params, invalid_group_by."""
    groups, measures = check_groups(request.group_by), check_measures(request.metrics, request.metric)
    check_range(request.from_, request.to)
    from_us = begin_range(request.from_, request.to, call.received_at)
    asked = _Range(from_us, call.received_at if request.to is None else request.to, request.to is None)
    check_buckets(asked.from_us, asked.to_us, request.interval)
    timezone = check_timezone(request.timezone)
    earlier = _find_earlier(request, asked, timezone)
    has_interval = request.interval is not Interval.UNSPECIFIED
    if request.fill and not has_interval:
        raise invalid_params("fill", "needs an interval")
    is_listed = has_interval and (request.fill or earlier is not None)
    builder = _Builder(request, groups, measures, timezone, call.received_at)
    return StatsPlan(
        question=builder.build(asked, is_compared=False),
        groups=groups,
        measures=measures,
        is_measures=bool(request.metrics),
        interval=request.interval,
        timezone=timezone,
        limit=check_number("limit", request.limit, _LIMITS),
        compared=None if earlier is None else builder.build(earlier, is_compared=True),
        buckets=tuple(list_buckets(*asked[:2], request.interval, timezone)) if is_listed else (),
        compared_buckets=tuple(list_buckets(*earlier[:2], request.interval, timezone))
        if is_listed and earlier is not None
        else (),
        is_filled=request.fill,
    )


async def stats(call: Call, plan: StatsPlan, deps: ReadDeps) -> StatsResponse:
    """Answer the figures, from a roll-up where the question allows and from the events otherwise."""
    shared = {"project": call.project.project_id, "timezone": plan.timezone}
    question = plan.question
    rows_max = _ROWS_MAX if plan.is_filled else plan.limit  # to fill buckets, all groups must be known
    parameters = {**shared, "limit": rows_max + 1, **question.parameters}
    rows = list(await Pending(deps.store.reads.run(question.statement, parameters, call.cancellation)))
    is_cut = len(rows) > rows_max
    answer = _Answer(plan, rows[:rows_max])
    if plan.compared is not None:
        parameters = {**shared, "limit": _ROWS_MAX, "keys": answer.list_keys(), **plan.compared.parameters}
        answer.compare(await Pending(deps.store.reads.run(plan.compared.statement, parameters, call.cancellation)))
    response = StatsResponse(answer.make_rows())
    if is_cut or answer.is_cut:
        response.truncated = True
    return response


def _find_earlier(request: StatsRequest, asked: _Range, timezone: str) -> _Range | None:
    """The range to compare with. Raises AppError invalid_params."""
    if request.compare_from is not None:
        if request.compare is not Compare.UNSPECIFIED:
            raise invalid_params("compare", "must be left out where `compare_from` is given")
        length = asked.to_us - asked.from_us
        end = request.compare_from + length if request.compare_to is None else request.compare_to
        if end < request.compare_from:
            raise invalid_params("compare_from", "must not be after `compare_to`")
        check_buckets(request.compare_from, end, request.interval)
        return _Range(request.compare_from, end)
    if request.compare_to is not None:
        raise invalid_params("compare_to", "needs `compare_from`")
    if request.compare is Compare.UNSPECIFIED:
        return None
    return _Range(*shift_range(asked.from_us, asked.to_us, request.compare, timezone))


class _Builder:
    """Builds the statements of one request."""

    def __init__(
        self,
        request: StatsRequest,
        groups: Sequence[Group],
        measures: Sequence[CheckedMeasure],
        timezone: str,
        now_us: int,
    ) -> None:
        self._request = request
        self._groups = groups
        self._measures = measures
        self._timezone = timezone
        self._now_us = now_us
        self._event = check_text("event", request.event, _LIMITS["event"].chars_max)

    def build(self, asked: _Range, *, is_compared: bool) -> _Question:
        """Build the statement about a range: of a roll-up where one can answer, else of the events."""
        if self._is_of_visits(asked):
            return self._ask_visits(asked, is_compared=is_compared)
        table = self._choose_table(asked)
        conditions = self._select(Conditions(), asked, "timestamp" if table is None else table.time)
        add_filters(conditions, self._request.filter, self._request.where)
        if self._event:
            conditions.require("event", "=", self._event)
        if table is None:
            statement, bounds = self._ask_events(asked, conditions)
        else:
            statement, bounds = self._ask_rollup(table, conditions)
        statement = statement.replace("%HAVING%", self._choose_groups("HAVING ") if is_compared else "")
        return _Question(statement, {**bounds, **conditions.parameters})

    def _choose_groups(self, word: str) -> str:
        """The condition for the groups of the answer that is compared."""
        names = ", ".join(f"toString(group_{number})" for number in range(len(self._groups)))
        return f"{word}arrayStringConcat([{names}], '\\0') IN {{keys:Array(String)}}" if names else ""

    def _is_of_visits(self, asked: _Range) -> bool:
        """Whether the sessions alone can answer: figures of all visits by their channels, in whole days of UTC."""
        request = self._request
        return (
            all(one.needs_visits for one in self._measures)
            and all(group.name in _CHANNEL for group in self._groups)
            and not (self._event or request.filter or request.where)
            and self._timezone == "UTC"
            and request.interval is not Interval.HOUR
            and asked.from_us % DAY_US == 0
            and (asked.is_open or asked.to_us % DAY_US == 0)
        )

    def _ask_visits(self, asked: _Range, *, is_compared: bool) -> _Question:
        """Build the statement about the sessions."""
        interval, include_bots = self._request.interval, self._request.include_bots
        visits = build_visits(read_statement("visits.internal"), ("hours",), include_bots=include_bots)
        groups = [_CHANNEL[group.name] for group in self._groups]
        values = [write_visit_measure(one) for one in self._measures]
        chosen = self._choose_groups(" AND ") if is_compared else ""
        is_one = not groups and interval is Interval.UNSPECIFIED  # which is there without visits, too
        statement = (
            self._fill_in(read_statement("stats.visits"), "visit_bucket", groups, values)
            .replace("%HAVING%", "" if is_one else f"HAVING sum(visits) > 0{chosen}")
            .replace("%VISITS%", visits)
            .replace("%BUCKET_OF_DAY%", build_day_bucket(interval, "session_day"))
            .replace("%BUCKET%", build_day_bucket(interval, "day"))
            .replace("%CHANNEL%", CHANNEL)
            .replace("%BOTS%", choose_bots(include_bots=include_bots))
        )
        to_us = LATEST_US if asked.is_open else clamp_time(asked.to_us)
        first_us = max(asked.from_us, DAY_US)  # day 0 has the sessions whose ids tell no day
        days = {"first_day": write_day(first_us), "last_day": write_day(to_us - DAY_US)}
        bounds = bound_visits(asked.from_us, to_us)
        return _Question(statement, {**bounds, **days, "from_us": begin_near(asked.from_us)})

    def _choose_table(self, asked: _Range) -> _Table | None:
        """Find the smallest roll-up that can answer, by its resolution in time and its columns."""
        if not all(one.is_rolled_up for one in self._measures) or not all(group.sql for group in self._groups):
            return None
        bounds = (asked.from_us, 0 if asked.is_open else asked.to_us)
        candidates: tuple[_Table, ...] = ()
        has_days = self._timezone == "UTC" and self._request.interval is not Interval.HOUR
        if has_days and all(bound % DAY_US == 0 for bound in bounds):
            candidates = (_SOURCES, _DAYS)
        elif all(bound % HOUR_US == 0 for bound in bounds) and has_whole_hours(
            self._timezone, asked.from_us, self._now_us + DAY_US if asked.is_open else asked.to_us
        ):
            candidates = (_HOURS,)
        columns = self._list_columns()
        return next((one for one in candidates if columns <= one.columns), None)

    def _list_columns(self) -> AbstractSet[str]:
        """The columns that a roll-up must keep."""
        columns = {group.sql for group in self._groups} | list_filtered(self._request.filter, self._request.where)
        if self._event:
            columns.add("event")
        if not self._request.include_bots:
            columns.add("is_bot")
        return columns

    def _select(self, conditions: Conditions, asked: _Range, time: str) -> Conditions:
        """Add the conditions of a range, and for people or all."""
        to_us = None if asked.is_open else asked.to_us
        if time == "day":
            conditions.require("day", ">=", write_day(asked.from_us), "Date")
            if to_us is not None:
                conditions.require("day", "<", write_day(to_us), "Date")
        else:
            conditions.require_range(time, asked.from_us, to_us)
        if not self._request.include_bots:
            conditions.clauses.append("NOT is_bot")
        return conditions

    def _ask_rollup(self, table: _Table, conditions: Conditions) -> tuple[str, Mapping[str, object]]:
        values = [write_rollup_measure(one) for one in self._measures]
        statement = self._ask(read_statement("stats.rollup"), conditions, table.time, values)
        return statement.replace("%TABLE%", table.name), {}

    def _ask_events(self, asked: _Range, conditions: Conditions) -> tuple[str, Mapping[str, object]]:
        events = conditions.sql
        converted = self._select(conditions.begin_others(), asked, "timestamp")
        values = [write_measure(one, conditions, converted) for one in self._measures]
        statement = self._ask(read_statement("stats.events"), conditions, "timestamp", values)
        if not (any(one.needs_visits for one in self._groups) or any(one.needs_visits for one in self._measures)):
            return statement.replace("%VISITS%", ""), {}
        request = self._request
        joins = join_visits(
            events,
            include_bots=request.include_bots,
            is_everyone=not (self._event or request.filter or request.where),
            has_first=any(group.needs_first for group in self._groups),
            is_whole=any(one.needs_whole_visits for one in self._groups)
            or any(one.needs_whole_visits for one in self._measures),
        )
        bounds = bound_visits(asked.from_us, LATEST_US if asked.is_open else asked.to_us)
        return statement.replace("%VISITS%", joins), bounds

    def _ask(self, statement: str, conditions: Conditions, time: str, values: Sequence[str]) -> str:
        """Fill in a statement about a table with such a column of time."""
        interval = self._request.interval
        bucket = "" if interval is Interval.UNSPECIFIED else build_bucket(interval, time)
        groups = [group.write(conditions) for group in self._groups]
        return self._fill_in(statement, bucket, groups, values).replace("%CONDITIONS%", conditions.sql)

    def _fill_in(self, statement: str, bucket: str, groups: Sequence[str], values: Sequence[str]) -> str:
        """Fill in what is selected, and its groups and order."""
        names = [f"group_{number}" for number in range(len(groups))]
        selected = [f"{group} AS {name}" for group, name in zip(groups, names, strict=True)]
        order = ["figure_0 DESC NULLS LAST", *names]
        if self._request.interval is not Interval.UNSPECIFIED:
            names.insert(0, "bucket")
            selected.insert(0, f"{bucket} AS bucket")
            order.insert(0, "bucket")
        return (
            statement.replace("%GROUPS%", "".join(f"{one}, " for one in selected))
            .replace("%VALUES%", ", ".join(f"{value} AS figure_{number}" for number, value in enumerate(values)))
            .replace("%GROUP_BY%", f"GROUP BY {', '.join(names)}" if names else "")
            .replace("%ORDER%", ", ".join(order))
        )


class _Answer:
    """Makes an answer of rows: bucket if there is one, groups, figures."""

    def __init__(self, plan: StatsPlan, rows: Rows) -> None:
        self._plan = plan
        self._has_bucket = plan.interval is not Interval.UNSPECIFIED
        self._rows = [self._split(row) for row in rows]
        self._earlier: Mapping[tuple[int, tuple[str, ...]], Sequence[float | None]] | None = None
        self._places = {bucket: place for place, bucket in enumerate(plan.buckets)}
        self.is_cut = False
        if plan.is_filled:
            self._fill()

    def list_keys(self) -> list[str]:
        """The groups of the rows, as a statement about another range chooses them."""
        return sorted({"\0".join(groups) for _, groups, _ in self._rows})

    def compare(self, rows: Rows) -> None:
        """Take in the rows of the earlier range."""
        places = {bucket: place for place, bucket in enumerate(self._plan.compared_buckets)}
        split = map(self._split, rows)
        self._earlier = {
            (0 if bucket is None else places.get(bucket, -1), groups): figures for bucket, groups, figures in split
        }

    def make_rows(self) -> list[StatsRow]:
        """Make the rows of the response."""
        zone = find_zone(self._plan.timezone)
        buckets = {bucket: write_bucket(bucket, zone) for bucket, _, _ in self._rows if bucket is not None}
        return [
            self._make_row(groups, figures, bucket, UNSET if bucket is None else buckets[bucket])
            for bucket, groups, figures in self._rows
        ]

    def _split(self, row: Sequence[Any]) -> tuple[Bucket | None, tuple[str, ...], tuple[float | None, ...]]:
        has_bucket, width = self._has_bucket, len(self._plan.groups)
        bucket = row[0] if has_bucket else None
        figures = tuple(None if one is None or math.isnan(one) else one for one in row[has_bucket + width :])
        return bucket, tuple(row[has_bucket : has_bucket + width]), figures

    def _fill(self) -> None:
        """Give each bucket a row for each group that there is."""
        plan = self._plan
        groups = list(dict.fromkeys(groups for _, groups, _ in self._rows)) if plan.groups else [()]
        known = {(bucket, groups) for bucket, groups, _ in self._rows}
        nothing = tuple(one.empty for one in plan.measures)
        self._rows += [(*key, nothing) for key in product(plan.buckets, groups) if key not in known]
        self._rows.sort(key=_rank)
        self.is_cut = len(self._rows) > plan.limit
        del self._rows[plan.limit :]

    def _make_row(
        self, groups: Sequence[str], figures: Sequence[float | None], bucket: Bucket | None, written: Any
    ) -> StatsRow:
        plan = self._plan
        row = StatsRow(bucket=written)
        properties = {}
        for group, value in zip(plan.groups, groups, strict=True):
            if group.path:
                properties[group.name] = value
            else:
                setattr(row, group.name, value)
        if properties:
            row.properties = properties
        if len(plan.measures) == 1 and plan.measures[0].kind in COUNTS:
            row.value = int(figures[0] or 0)
        if plan.is_measures:
            row.measures = self._name(figures)
        if self._earlier is not None:
            place = 0 if bucket is None else self._places.get(bucket, -1)
            nothing = [one.empty for one in plan.measures]
            row.previous = self._name(self._earlier.get((place, tuple(groups)), nothing))
        return row

    def _name(self, figures: Sequence[float | None]) -> dict[str, float]:
        pairs = zip(self._plan.measures, figures, strict=True)
        return {one.name: float(figure) for one, figure in pairs if figure is not None}


def _rank(row: tuple[Any, tuple[str, ...], Sequence[float | None]]) -> tuple[Any, ...]:
    bucket, groups, figures = row
    first = figures[0]
    return bucket, first is None, -(first or 0.0), [one.encode() for one in groups]
