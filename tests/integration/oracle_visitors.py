"""What Funnel and Retention must answer, in plain Python over all rows of a project."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median
from typing import Any

from integration.oracle import Answer, is_between
from integration.oracle_calendar import default_from, find_beginning, read_day, read_monday, to_us
from integration.oracle_filters import meets_all
from millimetric_server.api.messages import FunnelRequest, FunnelStep, Period, RetentionRequest
from millimetric_server.enrich.event_row import EventRow

_DAY_S = 86_400


@dataclass
class _Journey:
    """One visitor's way: the times of its steps, which are those that were reached."""

    group: str
    times: tuple[int, ...]


def answer_funnel(rows: Sequence[EventRow], request: FunnelRequest, now_us: int) -> Answer:
    """(group or None, step, event, visitors, rate from previous, rate from first, median seconds) for each row."""
    start = default_from(request.to, now_us) if request.from_ is None else request.from_
    by_visitor: dict[str, list[EventRow]] = defaultdict(list)
    for row in rows:
        if is_between(row.timestamp, start, request.to) and (request.include_bots or not row.is_bot):
            by_visitor[row.anonymous_id].append(row)
    journeys = [_travel(visits, request) for visits in by_visitor.values()]
    journeys = [journey for journey in journeys if journey.times]
    if not request.group_by:
        return _summarise(None, journeys, request.steps)
    sizes = Counter(journey.group for journey in journeys)
    groups = sorted(sizes, key=lambda group: (-sizes[group], group.encode()))
    return [
        row
        for group in groups[: request.limit or 10]
        for row in _summarise(group, [one for one in journeys if one.group == group], request.steps)
    ]


def _travel(rows: Iterable[EventRow], request: FunnelRequest) -> _Journey:
    """Find the way to the furthest step that can be reached.

    A way takes a different event for each step, none earlier than the one before, the last within the window of the
    first: events of one time may be taken in any order. Of all ways to that step it is the one that arrives first, and
    that before then took each step, from the last one back, as late as it could.
    """
    window_us = (request.window_seconds or _DAY_S) * 1_000_000
    hits = [(row, mask) for row in rows if (mask := _find_steps(row, request.steps))]
    ways: list[_Way] = [((), frozenset())]
    best: tuple[int, ...] = ()
    for step in range(len(request.steps)):
        ways = list(
            dict.fromkeys(
                _go_on(times, used, row.timestamp, number)
                for times, used in ways
                for number, (row, mask) in enumerate(hits)
                if mask & 1 << step
                and number not in used
                and (not times or times[-1] <= row.timestamp <= times[0] + window_us)
            )
        )
        if not ways:
            break
        best = max((times for times, _ in ways), key=lambda times: (-times[-1], times[-2::-1]))
    return _Journey(_find_group(hits, request.group_by), best)


# The times of the steps so far, and the events among those of the last time that stand for one of them.
_Way = tuple[tuple[int, ...], frozenset[int]]


def _go_on(times: tuple[int, ...], used: frozenset[int], time: int, number: int) -> _Way:
    return (*times, time), (used | {number} if times and times[-1] == time else frozenset({number}))


def _find_steps(row: EventRow, steps: Sequence[FunnelStep]) -> int:
    """The steps that a row meets as a mask: bit 0 is step 1."""
    return sum(
        1 << number
        for number, step in enumerate(steps)
        if row.event == step.event and meets_all(row, step.filter, step.where)
    )


def _find_group(hits: Iterable[tuple[EventRow, int]], group_by: str | None) -> str:
    firsts = [row for row, mask in hits if mask & 1]
    if not firsts or not group_by:
        return ""
    first = min(firsts, key=lambda row: (row.timestamp, row.event_id.encode()))
    return str(getattr(first, "event" if group_by == "event_name" else group_by))


def _summarise(group: str | None, journeys: Sequence[_Journey], steps: Sequence[FunnelStep]) -> Answer:
    answer: Answer = []
    first = previous = 0
    for number, step in enumerate(steps, 1):
        reached = [journey.times for journey in journeys if len(journey.times) >= number]
        hops = [times[number - 1] - times[number - 2] if number > 1 else 0 for times in reached]
        if number == 1:
            first = len(hops)
        from_previous = 1.0 if number == 1 else _divide(len(hops), previous)
        from_first = 1.0 if number == 1 and not first else _divide(len(hops), first)
        seconds = median(hops) / 1e6 if hops else 0.0
        answer.append((group, number, step.event, len(hops), from_previous, from_first, round(seconds, 6)))
        previous = len(hops)
    return answer


def _divide(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def answer_retention(rows: Sequence[EventRow], request: RetentionRequest, now_us: int) -> Answer:
    """(cohort, visitors, returned) for each cohort. `from` is always given."""
    end = now_us if request.to is None else request.to
    timezone = request.timezone or "UTC"
    is_week = request.period is Period.WEEK
    read_period = read_monday if is_week else read_day
    firsts: dict[str, date] = {}
    returns: dict[str, set[date]] = defaultdict(set)
    for row in sorted(rows, key=lambda row: row.timestamp):
        if not is_between(row.timestamp, request.from_, end) or (row.is_bot and not request.include_bots):
            continue
        period = read_period(row.timestamp, timezone)
        if not request.first_event or row.event == request.first_event:
            firsts.setdefault(row.anonymous_id, period)
        if not request.return_event or row.event == request.return_event:
            returns[row.anonymous_id].add(period)
    answer: Answer = []
    for cohort in sorted(set(firsts.values())):
        members = [visitor for visitor, period in firsts.items() if period == cohort]
        later = [cohort + timedelta(days=number * (7 if is_week else 1)) for number in range(1, _periods(request) + 1)]
        begun = [period for period in later if to_us(find_beginning(period, timezone)) < end]
        returned = [sum(period in returns[visitor] for visitor in members) for period in begun]
        answer.append((cohort.isoformat(), len(members), returned))
    return answer


def _periods(request: Any) -> int:
    return request.periods or 7
