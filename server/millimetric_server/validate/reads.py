"""What the reads must look like."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from millimetric_server.call import Call
from millimetric_server.errors import AppError, Reason, invalid_params
from millimetric_server.messages import (
    EPOCH,
    Breakdown,
    ExportFormat,
    ExportRequest,
    Filter,
    FunnelRequest,
    FunnelStep,
    Interval,
    Metric,
    Period,
    QueryRequest,
    RetentionRequest,
    SourcesRequest,
    StatsRequest,
)
from millimetric_server.store.filters import Conditions, FilterError, add_filters, clamp_time
from millimetric_server.store.time_zones import DAY_US, HOUR_US
from millimetric_server.validate.events import CHARS_MAX

# Group columns as callers name them, and as the tables do.
GROUP_COLUMNS = {
    "event_name": "event",
    "source": "source",
    "medium": "medium",
    "campaign": "campaign",
    "country": "country",
    "device_type": "device_type",
    "browser": "browser",
    "os": "os",
    "path": "path",
}
QUERY_LIMIT, STATS_LIMIT, SOURCES_LIMIT = (100, 1000), (100, 1000), (50, 200)  # default, largest
FILTERS_MAX = 20
VALUE_CHARS_MAX = 2048
# Of one filter: a ClickHouse server takes 128 KiB a parameter, and a character may become four bytes.
VALUES_MAX, VALUES_CHARS_MAX = 1000, 16_384
FUNNEL_LIMIT, PERIODS = (10, 100), (7, 90)
STEPS = (2, 10)  # fewest, most
WINDOW_SECONDS = (86_400, 366 * 86_400)
BUCKETS_MAX = 10_000
COHORTS_MAX = 400
_DEFAULT_DAYS = 30
_BUCKET_US = {
    Interval.HOUR: HOUR_US,
    Interval.DAY: DAY_US,
    Interval.WEEK: 7 * DAY_US,
    Interval.MONTH: 28 * DAY_US,
}


class QueryPlan(msgspec.Struct, frozen=True):
    """A checked Query: conditions without the page, and the page."""

    conditions: Conditions
    limit: int
    page_token: str


class StatsPlan(msgspec.Struct, frozen=True):
    """A checked Stats. `from_us` and `to_us` are microseconds UTC; `to_us` None is without end."""

    from_us: int
    to_us: int | None
    metric: Metric
    filters: tuple[Filter, ...]
    group_by: tuple[str, ...]
    interval: Interval
    timezone: str
    limit: int


class SourcesPlan(msgspec.Struct, frozen=True):
    """A checked Sources; times as in StatsPlan."""

    from_us: int
    to_us: int | None
    breakdown: Breakdown
    limit: int
    include_bots: bool


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


class ExportPlan(msgspec.Struct, frozen=True):
    """A checked Export."""

    conditions: Conditions
    format: ExportFormat


def validate_query(request: QueryRequest, _call: Call) -> QueryPlan:
    """Check a Query. Raises AppError invalid_params."""
    return QueryPlan(_select_events(request), _read_limit(request.limit, QUERY_LIMIT), request.page_token or "")


def validate_export(request: ExportRequest, _call: Call) -> ExportPlan:
    """Check an Export. Raises AppError invalid_params."""
    written = ExportFormat.NDJSON if request.format is ExportFormat.UNSPECIFIED else request.format
    return ExportPlan(_select_events(request), written)


def _select_events(request: QueryRequest | ExportRequest) -> Conditions:
    _check_range(request.from_, request.to)
    conditions = Conditions()
    conditions.require_range("timestamp", request.from_, request.to)
    for name in ("event", "source", "medium", "user_id", "anonymous_id"):
        if value := getattr(request, name):
            _check_text(name, value, CHARS_MAX.get(name, VALUE_CHARS_MAX))
            conditions.require(name, "=", value)
    _add_filters(conditions, request.filter)
    return conditions


def validate_stats(request: StatsRequest, call: Call) -> StatsPlan:
    """Check a Stats. Raises AppError invalid_params, invalid_group_by."""
    _check_group_columns(request.group_by)
    if len(set(request.group_by)) != len(request.group_by):
        raise invalid_params("group_by", "names a column twice")
    filters = list(request.filter)
    if request.event:
        _check_text("event", request.event, CHARS_MAX["event"])
        filters.append(Filter("event", values=[request.event]))
    if not request.include_bots:
        filters.append(Filter("is_bot", values=["false"]))
    _add_filters(Conditions(), filters)
    _check_range(request.from_, request.to)
    from_us = _default_from(request.from_, request.to, call)
    _check_buckets(from_us, call.received_at if request.to is None else request.to, request.interval)
    return StatsPlan(
        from_us,
        request.to,
        request.metric,
        tuple(filters),
        tuple(request.group_by),
        request.interval,
        _read_timezone(request.timezone),
        _read_limit(request.limit, STATS_LIMIT),
    )


def validate_sources(request: SourcesRequest, call: Call) -> SourcesPlan:
    """Check a Sources. Raises AppError invalid_params."""
    _check_range(request.from_, request.to)
    return SourcesPlan(
        _default_from(request.from_, request.to, call),
        request.to,
        request.breakdown,
        _read_limit(request.limit, SOURCES_LIMIT),
        request.include_bots,
    )


def validate_funnel(request: FunnelRequest, call: Call) -> FunnelPlan:
    """Check a Funnel. Raises AppError invalid_params, invalid_group_by."""
    if request.group_by:
        _check_group_columns((request.group_by,))
    fewest, most = STEPS
    if not fewest <= len(request.steps) <= most:
        raise invalid_params("steps", f"must be {fewest} to {most}")
    for number, step in enumerate(request.steps):
        _check_event(f"steps[{number}].event", step.event, needed=True)
        _add_filters(Conditions(), step.filter, f"steps[{number}].filter")
    _check_range(request.from_, request.to)
    return FunnelPlan(
        _default_from(request.from_, request.to, call),
        request.to,
        tuple(request.steps),
        _read_limit(request.window_seconds, WINDOW_SECONDS, "window_seconds"),
        request.group_by or "",
        _read_limit(request.limit, FUNNEL_LIMIT),
        request.include_bots,
    )


def validate_retention(request: RetentionRequest, call: Call) -> RetentionPlan:
    """Check a Retention. Raises AppError invalid_params."""
    for field in ("first_event", "return_event"):
        _check_event(field, getattr(request, field) or "")
    _check_range(request.from_, request.to)
    timezone = _read_timezone(request.timezone)
    periods = _read_limit(request.periods, PERIODS, "periods")
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
    return (datetime.combine(first, datetime.min.time(), ZoneInfo(timezone)) - EPOCH) // timedelta(microseconds=1)


def _find_period(time_us: int, period: Period, timezone: str) -> date:
    """The first day of the period that a time lies in."""
    day = datetime.fromtimestamp(clamp_time(time_us) / 1e6, ZoneInfo(timezone)).date()
    return day - timedelta(days=day.weekday()) if period is Period.WEEK else day


def _check_buckets(from_us: int, to_us: int, interval: Interval) -> None:
    if interval is Interval.UNSPECIFIED:
        return
    count = (clamp_time(to_us) - clamp_time(from_us)) // _BUCKET_US[interval]
    if count > BUCKETS_MAX:
        message = f"makes {count:,} buckets of this range, more than {BUCKETS_MAX:,}: choose a longer one"
        raise invalid_params("interval", message)


def _check_group_columns(columns: Sequence[str]) -> None:
    unknown = [column for column in columns if column not in GROUP_COLUMNS]
    if unknown:
        raise AppError(
            Reason.INVALID_GROUP_BY, f"`{unknown[0][:64]}` can't be grouped by", allowed=tuple(GROUP_COLUMNS)
        )


def _check_event(field: str, name: str, *, needed: bool = False) -> None:
    if needed and not name:
        raise invalid_params(field, "is required")
    _check_text(field, name, CHARS_MAX["event"])


def _check_range(start: int | None, end: int | None) -> None:
    if start is not None and end is not None and start > end:
        raise invalid_params("from", "must not lie after `to`")


def _default_from(start: int | None, end: int | None, call: Call) -> int:
    """30 days before the end, from midnight UTC, so that the roll-up can answer."""
    if start is not None:
        return start
    last = call.received_at if end is None else end
    return last // DAY_US * DAY_US - _DEFAULT_DAYS * DAY_US


def _read_limit(limit: int | None, bounds: tuple[int, int], field: str = "limit") -> int:
    default, largest = bounds
    if limit is None:
        return default
    if not 1 <= limit <= largest:
        raise invalid_params(field, f"must be 1 to {largest}")
    return limit


def _read_timezone(name: str | None) -> str:
    if not name:
        return "UTC"
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError):  # a folder of the zone database is an OSError
        raise invalid_params("timezone", "must be an IANA name, such as Europe/Berlin") from None


def _check_text(field: str, text: str, chars_max: int) -> None:
    if len(text) > chars_max or "\0" in text:
        raise invalid_params(field, f"must have at most {chars_max} characters and no NUL")


def _add_filters(conditions: Conditions, filters: Iterable[Filter], field: str = "filter") -> None:
    filters = list(filters)
    if len(filters) > FILTERS_MAX:
        raise invalid_params(field, f"at most {FILTERS_MAX} filters")
    for one in filters:
        for text in (one.column, *one.values):
            _check_text(field, text, VALUE_CHARS_MAX)
        if len(one.values) > VALUES_MAX or sum(map(len, one.values)) > VALUES_CHARS_MAX:
            message = f"`in` takes at most {VALUES_MAX:,} values of {VALUES_CHARS_MAX:,} characters together"
            raise invalid_params(field, message)
    try:
        add_filters(conditions, filters)
    except FilterError as error:
        raise invalid_params(field, str(error)) from None
