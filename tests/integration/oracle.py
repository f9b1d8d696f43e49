"""What Query, Stats and Sources must answer, in plain Python over all rows of a project."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from integration.oracle_calendar import default_from, find_bucket, write_bucket
from integration.oracle_filters import meets_all
from integration.oracle_visits import Visit, list_visits
from millimetric_server.api.messages import (
    Breakdown,
    Interval,
    Metric,
    QueryRequest,
    SourcesRequest,
    StatsRequest,
    StoredEvent,
)
from millimetric_server.enrich.event_row import EventRow

Answer = list[tuple[Any, ...]]
_NAMES = StoredEvent.__struct_fields__
_EQUALS = ("event", "source", "medium", "user_id", "anonymous_id")


def answer_query(rows: Sequence[EventRow], request: QueryRequest) -> Answer:
    """All rows of the question, newest first: what its pages are together."""
    found = [
        row
        for row in rows
        if is_between(row.timestamp, request.from_, request.to)
        and all(getattr(request, name) in (None, "", getattr(row, name)) for name in _EQUALS)
        and meets_all(row, request.filter, request.where)
    ]
    found.sort(key=lambda row: (row.timestamp, row.event_id.encode()), reverse=True)
    return [tuple(getattr(row, name) for name in _NAMES) for row in found]


def answer_stats(rows: Sequence[EventRow], request: StatsRequest, now_us: int) -> tuple[Answer, bool]:
    """(bucket or None, group values …, figure) for each row, and whether there were more."""
    start = default_from(request.to, now_us) if request.from_ is None else request.from_
    timezone = request.timezone or "UTC"
    members: dict[tuple[Any, ...], list[EventRow]] = defaultdict(list)
    if not request.group_by and request.interval is Interval.UNSPECIFIED:
        members[(None,)] = []  # one figure is asked for: without events it is 0
    for row in rows:
        is_meant = (
            is_between(row.timestamp, start, request.to)
            and (request.include_bots or not row.is_bot)
            and (not request.event or row.event == request.event)
            and meets_all(row, request.filter, request.where)
        )
        if is_meant:
            has_bucket = request.interval is not Interval.UNSPECIFIED
            bucket = find_bucket(row.timestamp, request.interval, timezone) if has_bucket else None
            members[bucket, *_read_groups(row, request.group_by)].append(row)
    figures = [(key, _measure(group, request.metric)) for key, group in members.items()]
    figures.sort(key=lambda figure: _rank_figure(*figure))
    answer = [
        (None if bucket is None else write_bucket(bucket, timezone), *groups, value)
        for (bucket, *groups), value in figures
    ]
    limit = request.limit or 100
    return answer[:limit], len(answer) > limit


def _read_groups(row: EventRow, names: Iterable[str]) -> list[str]:
    return [getattr(row, "event" if name == "event_name" else name) for name in names]


def _measure(group: Sequence[EventRow], metric: Metric) -> int:
    return count_visitors(group) if metric is Metric.UNIQUES else len(group)


def _rank_figure(key: tuple[Any, ...], value: int) -> tuple[Any, ...]:
    bucket, *groups = key
    return (
        0 if bucket is None else bucket.timestamp(),
        -value,
        [group.encode() for group in groups],
    )


def answer_sources(rows: Sequence[EventRow], request: SourcesRequest, now_us: int) -> Answer:
    """(source, medium or None, events, uniques, paid share) for each source of visits."""
    start = default_from(request.to, now_us) if request.from_ is None else request.from_
    members: dict[tuple[str, str | None], list[Visit]] = defaultdict(list)
    for visit in list_visits(row for row in rows if request.include_bots or not row.is_bot):
        if is_between(visit.entry.timestamp, start, request.to):
            medium = None if request.breakdown is Breakdown.SOURCE else visit.entry.medium
            members[visit.entry.source, medium].append(visit)
    answer = [(source, medium, *_describe_visits(visits)) for (source, medium), visits in members.items()]
    answer.sort(key=lambda one: (-one[2], one[0].encode(), (one[1] or "").encode()))
    return answer[: request.limit or 50]


def _describe_visits(visits: Sequence[Visit]) -> tuple[int, int, float]:
    """Events, visitors, and the share of the events whose visits began as paid."""
    events = [row for visit in visits for row in visit.events]
    paid = sum(len(visit.events) for visit in visits if visit.entry.medium == "paid")
    return len(events), count_visitors(events), paid / len(events)


def is_between(time_us: int, start_us: int | None, end_us: int | None) -> bool:
    """From inclusive, to exclusive; None is without bound."""
    return (start_us is None or time_us >= start_us) and (end_us is None or time_us < end_us)


def count_visitors(rows: Iterable[EventRow]) -> int:
    """Count distinct anonymous_ids."""
    return len({row.anonymous_id for row in rows})
