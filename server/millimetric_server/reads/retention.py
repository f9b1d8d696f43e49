"""Retention: who came first in a period, and who of them came back in those after."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from millimetric_server.api.call import Call, Deps
from millimetric_server.api.messages import EPOCH, Period, RetentionResponse, RetentionRow
from millimetric_server.api.pending import Pending
from millimetric_server.reads.check_visitors import RetentionPlan
from millimetric_server.reads.filters import Conditions
from millimetric_server.store.statements import read_statement

_FIRST_DAYS = {
    Period.DAY: "toDate(timestamp, {timezone:String})",
    Period.WEEK: "toMonday(timestamp, {timezone:String})",
}


async def retention(call: Call, deps: Deps) -> RetentionResponse:
    """Answer a row a cohort, with a figure for each later period that has begun."""
    plan: RetentionPlan = call.request
    conditions = Conditions()
    conditions.require_range("timestamp", plan.from_us, plan.to_us)
    if plan.first_event and plan.return_event:
        conditions.require("event", "IN", sorted({plan.first_event, plan.return_event}), "Array(String)")
    if not plan.include_bots:
        conditions.clauses.append("NOT is_bot")
    statement = (
        read_statement("retention.cohorts")
        .replace("%PERIOD%", _FIRST_DAYS[plan.period])
        .replace("%FIRST%", _match(conditions, plan.first_event))
        .replace("%RETURN%", _match(conditions, plan.return_event))
        .replace("%CONDITIONS%", conditions.sql)
    )
    parameters = {
        "project": call.project.project_id,
        "timezone": plan.timezone,
        "periods": plan.periods,
        "period_days": plan.period_days,
        **conditions.parameters,
    }
    rows = await Pending(deps.store.reads.run(statement, parameters, call.cancellation))
    return RetentionResponse([_read_row(row, plan) for row in rows])


def _match(conditions: Conditions, event: str) -> str:
    return f"event = {conditions.bind(event, 'String')}" if event else "true"


def _read_row(row: Sequence[Any], plan: RetentionPlan) -> RetentionRow:
    cohort, visitors, returned = row
    day = EPOCH.date() + timedelta(days=cohort)
    return RetentionRow(day.isoformat(), visitors, list(returned[: _count_begun(day, plan)]))


def _count_begun(cohort: date, plan: RetentionPlan) -> int:
    """How many periods after the cohort's begin before the end of the range."""
    return min(plan.periods, (plan.last_day - cohort).days // plan.period_days)
