"""Retention: how many visitors first came in a period, and how many of them came back later."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from millimetric.v1 import query_service_pb2
from millimetric_server.api.call import Call
from millimetric_server.api.errors import invalid_params
from millimetric_server.api.limits import list_limits
from millimetric_server.api.messages import EPOCH, Period, RetentionRequest, RetentionResponse, RetentionRow
from millimetric_server.api.pending import Pending
from millimetric_server.reads.bounds import check_number, check_range, check_text, check_timezone
from millimetric_server.reads.conditions import Conditions, clamp_time
from millimetric_server.reads.deps import ReadDeps
from millimetric_server.reads.time_zones import find_zone
from millimetric_server.store.statements import read_statement

_LIMITS = list_limits(query_service_pb2.RetentionRequest)
COHORTS_MAX = 400
_FIRST_DAYS = {
    Period.DAY: "toDate(timestamp, {timezone:String})",
    Period.WEEK: "toMonday(timestamp, {timezone:String})",
}


class RetentionPlan(msgspec.Struct, frozen=True):
    """A checked Retention. Times are microseconds UTC, empty names mean any event."""

    from_us: int
    to_us: int
    first_event: str
    return_event: str
    period: Period
    periods: int
    timezone: str
    include_bots: bool

    @property
    def period_days(self) -> int:
        """The days of a period."""
        return 7 if self.period is Period.WEEK else 1

    @property
    def last_day(self) -> date:
        """The first day of the last period that begins within the range."""
        return _find_period(self.to_us - 1, self.period, self.timezone)


def validate_retention(request: RetentionRequest, call: Call) -> RetentionPlan:
    """Check a Retention. Raises AppError invalid_params."""
    first_event = check_text("first_event", request.first_event, _LIMITS["first_event"].chars_max)
    return_event = check_text("return_event", request.return_event, _LIMITS["return_event"].chars_max)
    check_range(request.from_, request.to)
    timezone = check_timezone(request.timezone)
    periods = check_number("periods", request.periods, _LIMITS)
    period = request.period if request.period is not Period.UNSPECIFIED else Period.DAY
    to_us = call.received_at if request.to is None else request.to
    from_us = _begin_range(to_us, period, periods, timezone) if request.from_ is None else request.from_
    plan = RetentionPlan(from_us, to_us, first_event, return_event, period, periods, timezone, request.include_bots)
    if (plan.last_day - _find_period(from_us, period, timezone)).days // plan.period_days >= COHORTS_MAX:
        raise invalid_params("from", f"gives more than {COHORTS_MAX} cohorts: use a shorter range, or weeks")
    return plan


async def retention(call: Call, plan: RetentionPlan, deps: ReadDeps) -> RetentionResponse:
    """Answer a row a cohort, with a figure for each later period that has begun."""
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
    return RetentionResponse([_make_row(row, plan) for row in rows])


def _begin_range(to_us: int, period: Period, periods: int, timezone: str) -> int:
    """So many periods before the last that begins within the range."""
    days = periods * (7 if period is Period.WEEK else 1)
    first = _find_period(to_us - 1, period, timezone) - timedelta(days=days)
    return (datetime.combine(first, datetime.min.time(), find_zone(timezone)) - EPOCH) // timedelta(microseconds=1)


def _find_period(time_us: int, period: Period, timezone: str) -> date:
    """The first day of the period that a time lies in."""
    day = datetime.fromtimestamp(clamp_time(time_us) / 1e6, find_zone(timezone)).date()
    return day - timedelta(days=day.weekday()) if period is Period.WEEK else day


def _match(conditions: Conditions, event: str) -> str:
    return f"event = {conditions.bind(event, 'String')}" if event else "true"


def _make_row(row: Sequence[Any], plan: RetentionPlan) -> RetentionRow:
    cohort, visitors, returned = row
    day = EPOCH.date() + timedelta(days=cohort)
    return RetentionRow(day.isoformat(), visitors, list(returned[: _count_begun(day, plan)]))


def _count_begun(cohort: date, plan: RetentionPlan) -> int:
    """How many periods after the cohort's begin before the end of the range."""
    return min(plan.periods, (plan.last_day - cohort).days // plan.period_days)
