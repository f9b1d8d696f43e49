"""Funnel: how many visitors went through steps in order, and how long that took."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from millimetric.v1 import query_service_pb2
from millimetric_server.api.call import Call
from millimetric_server.api.errors import invalid_params
from millimetric_server.api.limits import list_limits
from millimetric_server.api.messages import FunnelRequest, FunnelResponse, FunnelRow, FunnelStep
from millimetric_server.api.pending import Pending
from millimetric_server.reads.bounds import begin_range, check_number, check_range, check_text
from millimetric_server.reads.columns import GROUP_COLUMNS, check_group_columns
from millimetric_server.reads.conditions import Conditions
from millimetric_server.reads.deps import ReadDeps
from millimetric_server.reads.filters import add_filters
from millimetric_server.store.statements import read_statement

_LIMITS = list_limits(query_service_pb2.FunnelRequest)
_STEPS, _STEP = _LIMITS["steps"], list_limits(query_service_pb2.FunnelStep)
_MICROSECONDS = 1_000_000


class FunnelPlan(msgspec.Struct, frozen=True):
    """A checked Funnel; `group_by` is empty for none."""

    conditions: Conditions  # for events of any step; their parameters are also those of `matches`
    events: tuple[str, ...]  # one a step,
    matches: tuple[str, ...]  # and SQL for whether an event meets the step
    window_seconds: int
    group_by: str
    limit: int


def validate_funnel(request: FunnelRequest, call: Call) -> FunnelPlan:
    """Check a Funnel. Raises AppError invalid_params, invalid_group_by."""
    group_by = check_group_columns((request.group_by,))[0] if request.group_by else ""
    if not _STEPS.items_min <= len(request.steps) <= _STEPS.items_max:
        raise invalid_params("steps", f"must be {_STEPS.items_min} to {_STEPS.items_max}")
    conditions = Conditions()
    matches = tuple(
        _match_step(step, conditions.begin_others(), f"steps[{number}]") for number, step in enumerate(request.steps)
    )
    events = tuple(step.event for step in request.steps)
    check_range(request.from_, request.to)
    conditions.require_range("timestamp", begin_range(request.from_, request.to, call.received_at), request.to)
    conditions.require("event", "IN", sorted(set(events)), "Array(String)")
    if not request.include_bots:
        conditions.clauses.append("NOT is_bot")
    return FunnelPlan(
        conditions,
        events,
        matches,
        check_number("window_seconds", request.window_seconds, _LIMITS),
        group_by,
        check_number("limit", request.limit, _LIMITS),
    )


async def funnel(call: Call, plan: FunnelPlan, deps: ReadDeps) -> FunnelResponse:
    """Answer a row a step, and a group where they are asked for."""
    limits = {"limit": plan.limit, "window": plan.window_seconds * _MICROSECONDS}
    parameters = {"project": call.project.project_id, **limits, **plan.conditions.parameters}
    rows = await Pending(deps.store.reads.run(_build_statement(plan), parameters, call.cancellation))
    if not rows and not plan.group_by:
        rows = [("", *[0] * (2 * len(plan.events) - 1))]
    return FunnelResponse([row for figures in rows for row in _make_group(figures, plan)])


def _match_step(step: FunnelStep, conditions: Conditions, field: str) -> str:
    """Write the condition for an event to meet the step."""
    if not check_text(f"{field}.event", step.event, _STEP["event"].chars_max):
        raise invalid_params(f"{field}.event", "is required")
    conditions.require("event", "=", step.event)
    add_filters(conditions, step.filter, step.where, f"{field}.")
    return conditions.sql


def _build_statement(plan: FunnelPlan) -> str:
    column = GROUP_COLUMNS.get(plan.group_by, "")
    group = f"argMinIf({column}, (timestamp, event_id), bitTest(mask, 0))" if column else "''"
    mask = (f"bitShiftLeft(toUInt64({match}), {number})" for number, match in enumerate(plan.matches))
    count = len(plan.events)
    spans = _list_spans(count)
    return (
        read_statement("funnel.visitors")
        .replace("%GROUP%", group)
        .replace("%COLUMNS%", f"event_id, {column}," if column else "")
        .replace("%SPANS%", ", ".join(str((1 << reached) - (1 << left)) for left, reached in spans))
        .replace("%STEPS%", ", ".join(str(1 << (reached - 1)) for _, reached in spans))
        .replace("%CHAINS%", ",\n        ".join(_chain_steps(count)))
        .replace("%PLACES%", ",\n        ".join(_walk_back(count)))
        .replace("%FIGURES%", ", ".join(("count() AS visitors_1", *map(_measure_step, range(2, count + 1)))))
        .replace("%MASK%", " + ".join(mask))
        .replace("%CONDITIONS%", plan.conditions.sql)
    )


def _list_spans(count: int) -> list[tuple[int, int]]:
    """Every step that can be left and every later one that can be reached: from the last one left, to the next one."""
    return [(left, reached) for left in reversed(range(count)) for reached in range(left + 1, count + 1)]


def _chain_steps(count: int) -> Iterator[str]:
    """SQL for the chains. The chain that an event can continue is the newest that began before it."""
    yield "arrayMap((event, time) -> if(bitTest(event, 0), time, 0), step_events, times) AS starts_1"
    for number in range(2, count + 1):
        before = f"arrayPushFront(arrayPopBack(arrayFill(start -> start != 0, starts_{number - 1})), toUInt64(0))"
        reaches = f"bitTest(event, {number - 1}) AND start != 0 AND time - start <= {{window:UInt64}}"
        yield (
            f"arrayMap((event, time, start) -> if({reaches}, start, 0), step_events, times, {before}) "
            f"AS starts_{number}"
        )
    yield from (
        f"arrayFirstIndex(start -> start != 0, starts_{number}) AS reached_{number}" for number in range(1, count + 1)
    )


def _walk_back(count: int) -> Iterator[str]:
    """SQL for where each step of the way was taken, from the furthest one back; 0 for those beyond it."""
    for number in range(count, 0, -1):
        # It ends at the first arrival, of all ways at that time the one that began last.
        until = f"if(has_ties, arrayLastIndex(time -> time = times[reached_{number}], times), reached_{number})"
        if number < count:
            until = f"if(reached_{number + 1} != 0, toUInt32(place_{number + 1} - 1), {until})"
        yield f"arrayLastIndex(start -> start != 0, arrayResize(starts_{number}, {until})) AS place_{number}"


def _measure_step(number: int) -> str:
    hop = f"times[place_{number}] - times[place_{number - 1}]"
    return (
        f"countIf(place_{number} != 0) AS visitors_{number}, "
        f"quantileExactInclusiveIf(0.5)({hop}, place_{number} != 0) AS median_{number}"
    )


def _make_group(figures: Sequence[Any], plan: FunnelPlan) -> Iterator[FunnelRow]:
    group, first, *others = figures
    visitors = [first, *others[::2]]
    medians = [0.0, *others[1::2]]
    for number, event in enumerate(plan.events):
        yield FunnelRow(
            group=group if plan.group_by else UNSET,
            step=number + 1,
            event=event,
            visitors=visitors[number],
            rate_from_previous=_divide(visitors[number], visitors[number - 1]) if number else 1.0,
            rate_from_first=_divide(visitors[number], first) if number else 1.0,
            median_seconds=0.0 if math.isnan(medians[number]) else medians[number] / _MICROSECONDS,
        )


def _divide(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
