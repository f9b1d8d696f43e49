"""What Query and Sources must answer, in plain Python over all rows of a project; see also oracle_stats."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from integration.oracle_calendar import default_from
from integration.oracle_filters import meets_all
from integration.oracle_visits import Visit, list_visits
from millimetric_server.api.messages import (
    Breakdown,
    QueryRequest,
    SourcesRequest,
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
