"""What Funnel and Retention must look like."""

from datetime import date, datetime, timedelta

import msgspec

from millimetric_server.api.call import Call
from millimetric_server.api.errors import invalid_params
from millimetric_server.api.limits import CHARS_MAX
from millimetric_server.api.messages import EPOCH, FunnelRequest, FunnelStep, Period, RetentionRequest
from millimetric_server.reads.check_reads import (
    check_filters,
    check_group_columns,
    check_range,
    check_text,
    default_from,
    read_limit,
    read_timezone,
)
from millimetric_server.reads.filters import Conditions, clamp_time
from millimetric_server.reads.time_zones import find_zone

FUNNEL_LIMIT, PERIODS = (10, 100), (7, 90)
STEPS = (2, 10)  # fewest, most
WINDOW_SECONDS = (86_400, 366 * 86_400)
COHORTS_MAX = 400


class FunnelPlan(msgspec.Struct, frozen=True):
    """A checked Funnel; times as in StatsPlan, `group_by` empty for none."""

    from_us: int
    to_us: int | None
    steps: tuple[FunnelStep, ...]
    window_seconds: int
    group_by: str
    limit: int
    include_bots: bool


class RetentionPlan(msgspec.Struct, frozen=True):
    """A checked Retention; times as in StatsPlan, empty names for any event."""

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


def validate_funnel(request: FunnelRequest, call: Call) -> FunnelPlan:
    """Check a Funnel. Raises AppError invalid_params, invalid_group_by."""
    if request.group_by:
        check_group_columns((request.group_by,))
    fewest, most = STEPS
    if not fewest <= len(request.steps) <= most:
        raise invalid_params("steps", f"must be {fewest} to {most}")
    for number, step in enumerate(request.steps):
        _check_event(f"steps[{number}].event", step.event, needed=True)
        check_filters(Conditions(), step.filter, f"steps[{number}].filter")
    check_range(request.from_, request.to)
    return FunnelPlan(
        default_from(request.from_, request.to, call),
        request.to,
        tuple(request.steps),
        read_limit(request.window_seconds, WINDOW_SECONDS, "window_seconds"),
        request.group_by or "",
        read_limit(request.limit, FUNNEL_LIMIT),
        request.include_bots,
    )


def validate_retention(request: RetentionRequest, call: Call) -> RetentionPlan:
    """Check a Retention. Raises AppError invalid_params."""
    for field in ("first_event", "return_event"):
        _check_event(field, getattr(request, field) or "")
    check_range(request.from_, request.to)
    timezone = read_timezone(request.timezone)
    periods = read_limit(request.periods, PERIODS, "periods")
    period = request.period if request.period is not Period.UNSPECIFIED else Period.DAY
    to_us = call.received_at if request.to is None else request.to
    from_us = _begin_retention(to_us, period, periods, timezone) if request.from_ is None else request.from_
    plan = RetentionPlan(
        from_us,
        to_us,
        request.first_event or "",
        request.return_event or "",
        period,
        periods,
        timezone,
        request.include_bots,
    )
    if (plan.last_day - _find_period(from_us, period, timezone)).days // plan.period_days >= COHORTS_MAX:
        raise invalid_params("from", f"makes more than {COHORTS_MAX} cohorts: ask for a shorter range or for weeks")
    return plan


def _begin_retention(to_us: int, period: Period, periods: int, timezone: str) -> int:
    """So many periods before the last that begins within the range."""
    days = periods * (7 if period is Period.WEEK else 1)
    first = _find_period(to_us - 1, period, timezone) - timedelta(days=days)
    return (datetime.combine(first, datetime.min.time(), find_zone(timezone)) - EPOCH) // timedelta(microseconds=1)


def _find_period(time_us: int, period: Period, timezone: str) -> date:
    """The first day of the period that a time lies in."""
    day = datetime.fromtimestamp(clamp_time(time_us) / 1e6, find_zone(timezone)).date()
    return day - timedelta(days=day.weekday()) if period is Period.WEEK else day


def _check_event(field: str, name: str, *, needed: bool = False) -> None:
    if needed and not name:
        raise invalid_params(field, "is required")
    check_text(field, name, CHARS_MAX["event"])
