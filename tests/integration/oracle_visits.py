"""Visits for the oracle, in plain Python: which sessions are one, their channel, and the visitor's first."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from millimetric_server.enrich.event_row import EventRow

_PAUSE_US = 30 * 60 * 1_000_000


@dataclass(frozen=True)
class Visit:
    """The events of one visit, by time; its entry is the first of them."""

    events: list[EventRow] = field(default_factory=list)

    @property
    def entry(self) -> EventRow:
        """The event that gives the visit its channel, and tells when it began."""
        return self.events[0]


def list_visits(rows: Iterable[EventRow]) -> list[Visit]:
    """All visits of the rows, those of bots apart. A session is of the visitor of its entry."""
    sessions: dict[tuple[str, bool], list[EventRow]] = defaultdict(list)
    for row in rows:
        sessions[row.session_id, row.is_bot].append(row)
    by_visitor: dict[tuple[str, bool], list[list[EventRow]]] = defaultdict(list)
    for session in sessions.values():
        session.sort(key=rank)
        by_visitor[session[0].anonymous_id, session[0].is_bot].append(session)
    return [visit for of_visitor in by_visitor.values() for visit in _join(of_visitor)]


def _join(sessions: Sequence[list[EventRow]]) -> list[Visit]:
    """Join one visitor's sessions: one that begins internal within half an hour of earlier events goes on."""
    visits: list[Visit] = []
    last_us = 0
    for session in sorted(sessions, key=lambda one: rank(one[0])):
        entry = session[0]
        goes_on = visits and entry.source == "internal" and entry.timestamp - last_us <= _PAUSE_US
        if not goes_on:
            visits.append(Visit())
        visits[-1].events.extend(session)
        last_us = max(last_us, session[-1].timestamp)
    return visits


def rank(row: EventRow) -> tuple[int, bool, bytes]:
    """By time; of several at once first those that do not come from the site itself, then by id."""
    return row.timestamp, row.source == "internal", row.event_id.encode()
