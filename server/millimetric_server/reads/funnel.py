"""Funnel: how many visitors went through steps in order, and how long that took."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import UNSET

from millimetric_server.api.call import Call, Deps
from millimetric_server.api.messages import FunnelResponse, FunnelRow, FunnelStep
from millimetric_server.api.pending import Pending
from millimetric_server.reads.check_reads import GROUP_COLUMNS
from millimetric_server.reads.check_visitors import FunnelPlan
from millimetric_server.reads.filters import Conditions, add_filters
from millimetric_server.store.statements import read_statement

_MICROSECONDS = 1_000_000


async def funnel(call: Call, deps: Deps) -> FunnelResponse:
    """Answer a row a step, and a group where they are asked for."""
    plan: FunnelPlan = call.request
    statement, parameters = _build(plan)
    rows = await Pending(
        deps.store.reads.run(statement, parameters | {"project": call.project.project_id}, call.cancellation)
    )
    if not rows and not plan.group_by:
        rows = [("", *[0] * (2 * len(plan.steps) - 1))]
    return FunnelResponse([row for figures in rows for row in _read_group(figures, plan)])


def _build(plan: FunnelPlan) -> tuple[str, dict[str, Any]]:
    conditions = Conditions()
    conditions.require_range("timestamp", plan.from_us, plan.to_us)
    conditions.require("event", "IN", sorted({step.event for step in plan.steps}), "Array(String)")
    if not plan.include_bots:
        conditions.clauses.append("NOT is_bot")
    column = GROUP_COLUMNS.get(plan.group_by, "")
    group = f"argMinIf({column}, (timestamp, event_id), bitTest(mask, 0))" if column else "''"
    numbers = range(2, len(plan.steps) + 1)
    statement = (
        read_statement("funnel.visitors")
        .replace("%GROUP%", group)
        .replace("%COLUMNS%", f"event_id, {column}," if column else "")
        .replace("%CHAINS%", ",\n    ".join(_chain_steps(len(plan.steps))))
        .replace("%FIGURES%", ", ".join(("count() AS visitors_1", *(_measure_step(number) for number in numbers))))
        .replace("%MASK%", " + ".join(_match_steps(plan.steps, conditions.parameters)))
        .replace("%CONDITIONS%", conditions.sql)
    )
    limits = {"limit": plan.limit, "window": plan.window_seconds * _MICROSECONDS}
    return statement, conditions.parameters | limits


def _match_steps(steps: Sequence[FunnelStep], parameters: dict[str, Any]) -> Iterator[str]:
    """SQL for the bit of each step, set where an event meets it."""
    for number, step in enumerate(steps):
        conditions = Conditions(parameters=parameters)
        conditions.require("event", "=", step.event)
        add_filters(conditions, step.filter)
        yield f"bitShiftLeft(toUInt64({conditions.sql}), {number})"


def _chain_steps(count: int) -> Iterator[str]:
    """SQL for the chains: what began before an event is what is filled on from the event before it."""
    yield "arrayMap((event, time) -> if(bitTest(event, 0), time, 0), step_events, times) AS starts_1"
    for number in range(2, count + 1):
        before = f"arrayPushFront(arrayPopBack(arrayFill(start -> start != 0, starts_{number - 1})), toUInt64(0))"
        reaches = f"bitTest(event, {number - 1}) AND start != 0 AND time - start <= {{window:UInt64}}"
        yield (
            f"arrayMap((event, time, start) -> if({reaches}, start, 0), step_events, times, {before}) "
            f"AS starts_{number}"
        )
        yield f"arrayFirstIndex(start -> start != 0, starts_{number}) AS reached_{number}"
        until = f"toUInt32(greatest(reached_{number}, 1) - 1)"
        yield (
            f"times[reached_{number}] - arrayLast((time, start) -> start != 0, arrayResize(times, {until}), "
            f"arrayResize(starts_{number - 1}, {until})) AS hop_{number}"
        )


def _measure_step(number: int) -> str:
    return (
        f"countIf(reached_{number} != 0) AS visitors_{number}, "
        f"quantileExactInclusiveIf(0.5)(hop_{number}, reached_{number} != 0) AS median_{number}"
    )


def _read_group(figures: Sequence[Any], plan: FunnelPlan) -> Iterator[FunnelRow]:
    group, first, *others = figures
    visitors = [first, *others[::2]]
    medians = [0.0, *others[1::2]]
    for number, step in enumerate(plan.steps):
        yield FunnelRow(
            group=group if plan.group_by else UNSET,
            step=number + 1,
            event=step.event,
            visitors=visitors[number],
            rate_from_previous=_divide(visitors[number], visitors[number - 1]) if number else 1.0,
            rate_from_first=_divide(visitors[number], first) if number else 1.0,
            median_seconds=0.0 if math.isnan(medians[number]) else medians[number] / _MICROSECONDS,
        )


def _divide(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
