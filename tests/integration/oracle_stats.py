"""What Stats must answer, in plain Python over all rows of a project."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from integration.oracle import count_visitors, is_between
from integration.oracle_calendar import default_from, find_bucket, read_local, to_us, write_bucket
from integration.oracle_filters import find_value, is_number, meets_all, read_path, write_value
from integration.oracle_visits import Visit, list_visits, rank
from millimetric_server.api.messages import Compare, Interval, Measure, MeasureKind, Metric, StatsRequest
from millimetric_server.enrich.event_row import EventRow

Key = tuple[datetime | None, tuple[str, ...]]
Figures = Mapping[str, float]
Row = tuple[str | None, tuple[str, ...], Figures, Figures | None]
_HALF_HOUR_US = 1_800_000_000
_QUANTILES = {MeasureKind.P50: 0.5, MeasureKind.P90: 0.9, MeasureKind.P99: 0.99}
_ZERO_WITHOUT_EVENTS = (
    *(MeasureKind.COUNT, MeasureKind.UNIQUES, MeasureKind.USERS, MeasureKind.SESSIONS),
    MeasureKind.SUM,
)


def answer_stats(rows: Sequence[EventRow], request: StatsRequest, now_us: int) -> tuple[list[Row], bool]:
    """(bucket, groups, figures, earlier figures) for each row, and whether there were more."""
    return _Stats(rows, request, now_us).answer()


class _Stats:
    def __init__(self, rows: Sequence[EventRow], request: StatsRequest, now_us: int) -> None:
        self.rows = rows
        self.request = request
        self.timezone = request.timezone or "UTC"
        self.start = default_from(request.to, now_us) if request.from_ is None else request.from_
        self.end = request.to
        self.last = now_us if request.to is None else request.to  # an end that buckets and comparisons have
        self.measures = request.metrics or [Measure(MeasureKind(request.metric.value or Metric.COUNT.value))]

    def answer(self) -> tuple[list[Row], bool]:
        figures = self.measure(self.start, self.end)
        buckets = self.list_buckets(self.start, self.last)
        if self.request.fill:
            nothing = {name: 0.0 for one in self.measures if (name := _name(one)) and _is_zero(one)}
            groups = {groups for _, groups in figures} if self.request.group_by else {()}
            figures = {(bucket, one): nothing for bucket in buckets for one in groups} | figures
        keys = sorted(figures, key=lambda key: self.rank(key, figures[key]))
        earlier = self.compare(buckets)
        answer = [
            (
                None if bucket is None else write_bucket(bucket, self.timezone),
                groups,
                figures[bucket, groups],
                None if earlier is None else earlier(bucket, groups),
            )
            for bucket, groups in keys
        ]
        limit = self.request.limit or 100
        return answer[:limit], len(answer) > limit

    def measure(self, start: int, end: int | None) -> dict[Key, Figures]:
        """The figures of each bucket and group of a range."""
        members: dict[Key, list[EventRow]] = defaultdict(list)
        interval = self.request.interval
        if not self.request.group_by and interval is Interval.UNSPECIFIED:
            members[None, ()] = []  # one figure is asked for: without events it is 0
        for row in self.rows:
            if self.is_meant(row, start, end):
                has_bucket = interval is not Interval.UNSPECIFIED
                bucket = find_bucket(row.timestamp, interval, self.timezone) if has_bucket else None
                members[bucket, tuple(self.read_group(row, name) for name in self.request.group_by)].append(row)
        return {key: self.describe(group, start, end) for key, group in members.items()}

    def is_meant(self, row: EventRow, start: int, end: int | None) -> bool:
        request = self.request
        return (
            self.is_counted(row, start, end)
            and (not request.event or row.event == request.event)
            and meets_all(row, request.filter, request.where)
        )

    def is_counted(self, row: EventRow, start: int, end: int | None) -> bool:
        return is_between(row.timestamp, start, end) and (self.request.include_bots or not row.is_bot)

    def read_group(self, row: EventRow, name: str) -> str:
        if name.startswith("properties."):
            value = find_value(msgspec.json.decode(row.properties), read_path(name.removeprefix("properties.")))
            return write_value(value) if isinstance(value, str | float | int | dict | list) else ""
        if name in _OF_URLS:
            return _OF_URLS[name](row)
        if name in _OF_VISITS:
            return _OF_VISITS[name](self.visit_of[row.session_id, row.is_bot])
        if name.startswith("first_"):
            entry = self.visit_of[row.session_id, row.is_bot].entry
            first = self.first_of[entry.anonymous_id, entry.is_bot]
            return str(getattr(first.entry, name.removeprefix("first_")))
        return str(getattr(row, "event" if name == "event_name" else name))

    @cached_property
    def visits(self) -> list[Visit]:
        return list_visits(self.rows)

    @cached_property
    def visit_of(self) -> Mapping[tuple[str, bool], Visit]:
        return {(row.session_id, row.is_bot): visit for visit in self.visits for row in visit.events}

    @cached_property
    def first_of(self) -> Mapping[tuple[str, bool], Visit]:
        latest_first = sorted(self.visits, key=lambda visit: rank(visit.entry), reverse=True)
        return {(visit.entry.anonymous_id, visit.entry.is_bot): visit for visit in latest_first}

    def describe(self, group: Sequence[EventRow], start: int, end: int | None) -> Figures:
        figures = {_name(one): self.figure(one, group, start, end) for one in self.measures}
        return {name: round(figure, 6) for name, figure in figures.items() if figure is not None}

    def figure(self, one: Measure, group: Sequence[EventRow], start: int, end: int | None) -> float | None:
        if one.kind in _OF_EVENTS:
            return _OF_EVENTS[one.kind](group)
        if one.kind in _OF_ALL_VISITS:
            found = [self.visit_of[row.session_id, row.is_bot] for row in group]
            return _OF_ALL_VISITS[one.kind](list({id(visit): visit for visit in found}.values()))
        if one.kind is MeasureKind.CONVERSION_RATE:
            did = {row.anonymous_id for row in self.rows if self.is_counted(row, start, end) and row.event == one.event}
            return _mean([visitor in did for visitor in {row.anonymous_id for row in group}])
        path = read_path(one.property.removeprefix("properties."))
        values = [find_value(msgspec.json.decode(row.properties), path) for row in group]
        return _reduce(one.kind, sorted(float(value) for value in values if is_number(value)))

    def compare(
        self, buckets: Sequence[datetime | None]
    ) -> Callable[[datetime | None, tuple[str, ...]], Figures] | None:
        request = self.request
        length = self.last - self.start
        if request.compare_from is not None:
            start, end = request.compare_from, request.compare_to or request.compare_from + length
        elif request.compare is Compare.PREVIOUS_PERIOD:
            start, end = self.start - length, self.start
        elif request.compare is Compare.PREVIOUS_YEAR:
            start, end = self.find_last_year(self.start), self.find_last_year(self.last)
        else:
            return None
        figures, others = self.measure(start, end), self.list_buckets(start, end)
        nothing = {_name(one): 0.0 for one in self.measures if _is_zero(one)}

        def find(bucket: datetime | None, groups: tuple[str, ...]) -> Figures:
            if bucket not in buckets:
                return nothing  # after now, where the range has no end
            place = buckets.index(bucket)
            return figures.get((others[place], groups), nothing) if place < len(others) else nothing

        return find

    def find_last_year(self, time_us: int) -> int:
        local = read_local(time_us, self.timezone)
        day = 28 if (local.month, local.day) == (2, 29) else local.day
        return to_us(local.replace(year=local.year - 1, day=day).astimezone(UTC))

    def list_buckets(self, start: int, end: int) -> list[datetime | None]:
        if self.request.interval is Interval.UNSPECIFIED:
            return [None]
        moments = (
            [start, *range(start - start % _HALF_HOUR_US + _HALF_HOUR_US, end, _HALF_HOUR_US)] if start < end else []
        )
        return list(dict.fromkeys(find_bucket(one, self.request.interval, self.timezone) for one in moments))

    def rank(self, key: Key, figures: Figures) -> tuple[Any, ...]:
        bucket, groups = key
        first = figures.get(_name(self.measures[0]))
        time = 0 if bucket is None else bucket.timestamp()
        return time, first is None, -(first or 0), [group.encode() for group in groups]


def _read_tag(url: str, name: str) -> str:
    return parse_qs(urlsplit(url).query, keep_blank_values=True).get(name, [""])[0]


def _find_exit(visit: Visit) -> str:
    paths = [(row.timestamp, row.event_id.encode(), row.path) for row in visit.events if row.path]
    return max(paths)[2] if paths else ""


_OF_URLS: Mapping[str, Callable[[EventRow], str]] = {
    "hostname": lambda row: urlsplit(row.url).hostname or "",
    "referrer_host": lambda row: urlsplit(row.referrer).hostname or "",
    "utm_content": lambda row: _read_tag(row.url, "utm_content"),
    "utm_term": lambda row: _read_tag(row.url, "utm_term"),
}
_OF_VISITS: Mapping[str, Callable[[Visit], str]] = {
    "session_source": lambda visit: visit.entry.source,
    "session_medium": lambda visit: visit.entry.medium,
    "session_campaign": lambda visit: visit.entry.campaign,
    "landing_path": lambda visit: visit.entry.path,
    "exit_path": _find_exit,
}


def _measure_length(visit: Visit) -> int:
    times = [row.timestamp for row in visit.events]
    return max(times) - min(times)


_OF_EVENTS: Mapping[MeasureKind, Callable[[Sequence[EventRow]], float]] = {
    MeasureKind.COUNT: len,
    MeasureKind.UNIQUES: count_visitors,
    MeasureKind.USERS: lambda group: len({row.user_id for row in group} - {""}),
}
_OF_ALL_VISITS: Mapping[MeasureKind, Callable[[Sequence[Visit]], float | None]] = {
    MeasureKind.SESSIONS: len,
    MeasureKind.BOUNCE_RATE: lambda visits: _mean([len(visit.events) == 1 for visit in visits]),
    MeasureKind.SESSION_SECONDS: lambda visits: _mean([_measure_length(visit) / 1e6 for visit in visits]),
    MeasureKind.EVENTS_PER_SESSION: lambda visits: _mean([len(visit.events) for visit in visits]),
}


def _name(one: Measure) -> str:
    kind = one.kind.value or MeasureKind.COUNT.value
    what = one.property or one.event
    return f"{kind}({what})" if what else kind


def _is_zero(one: Measure) -> bool:
    return (one.kind or MeasureKind.COUNT) in _ZERO_WITHOUT_EVENTS


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _reduce(kind: MeasureKind, numbers: Sequence[float]) -> float | None:
    if kind is MeasureKind.SUM:
        return math.fsum(numbers)
    if not numbers:
        return None
    if kind is MeasureKind.AVG:
        return _mean(numbers)
    if kind in (MeasureKind.MIN, MeasureKind.MAX):
        return numbers[0] if kind is MeasureKind.MIN else numbers[-1]
    place = _QUANTILES[kind] * (len(numbers) - 1)
    below, above = numbers[math.floor(place)], numbers[math.ceil(place)]
    return below + (above - below) * (place - math.floor(place))
