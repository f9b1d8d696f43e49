"""What the reads must look like."""

from collections.abc import Iterable, Sequence

import msgspec

from millimetric_server.api.call import Call
from millimetric_server.api.errors import AppError, Reason, invalid_params
from millimetric_server.api.limits import CHARS_MAX
from millimetric_server.api.messages import (
    Breakdown,
    ExportFormat,
    ExportRequest,
    Filter,
    Interval,
    Metric,
    QueryRequest,
    SourcesRequest,
    StatsRequest,
)
from millimetric_server.reads.filters import Conditions, FilterError, add_filters, clamp_time
from millimetric_server.reads.time_zones import DAY_US, HOUR_US, find_zone

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
BUCKETS_MAX = 10_000
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


class ExportPlan(msgspec.Struct, frozen=True):
    """A checked Export."""

    conditions: Conditions
    format: ExportFormat


def validate_query(request: QueryRequest, _call: Call) -> QueryPlan:
    """Check a Query. Raises AppError invalid_params."""
    return QueryPlan(_select_events(request), read_limit(request.limit, QUERY_LIMIT), request.page_token or "")


def validate_export(request: ExportRequest, _call: Call) -> ExportPlan:
    """Check an Export. Raises AppError invalid_params."""
    written = ExportFormat.NDJSON if request.format is ExportFormat.UNSPECIFIED else request.format
    return ExportPlan(_select_events(request), written)


def _select_events(request: QueryRequest | ExportRequest) -> Conditions:
    check_range(request.from_, request.to)
    conditions = Conditions()
    conditions.require_range("timestamp", request.from_, request.to)
    for name in ("event", "source", "medium", "user_id", "anonymous_id"):
        if value := getattr(request, name):
            check_text(name, value, CHARS_MAX.get(name, VALUE_CHARS_MAX))
            conditions.require(name, "=", value)
    check_filters(conditions, request.filter)
    return conditions


def validate_stats(request: StatsRequest, call: Call) -> StatsPlan:
    """Check a Stats. Raises AppError invalid_params, invalid_group_by."""
    check_group_columns(request.group_by)
    if len(set(request.group_by)) != len(request.group_by):
        raise invalid_params("group_by", "names a column twice")
    filters = list(request.filter)
    if request.event:
        check_text("event", request.event, CHARS_MAX["event"])
        filters.append(Filter("event", values=[request.event]))
    if not request.include_bots:
        filters.append(Filter("is_bot", values=["false"]))
    check_filters(Conditions(), filters)
    check_range(request.from_, request.to)
    from_us = default_from(request.from_, request.to, call)
    _check_buckets(from_us, call.received_at if request.to is None else request.to, request.interval)
    return StatsPlan(
        from_us,
        request.to,
        request.metric,
        tuple(filters),
        tuple(request.group_by),
        request.interval,
        read_timezone(request.timezone),
        read_limit(request.limit, STATS_LIMIT),
    )


def validate_sources(request: SourcesRequest, call: Call) -> SourcesPlan:
    """Check a Sources. Raises AppError invalid_params."""
    check_range(request.from_, request.to)
    return SourcesPlan(
        default_from(request.from_, request.to, call),
        request.to,
        request.breakdown,
        read_limit(request.limit, SOURCES_LIMIT),
        request.include_bots,
    )


def _check_buckets(from_us: int, to_us: int, interval: Interval) -> None:
    if interval is Interval.UNSPECIFIED:
        return
    count = (clamp_time(to_us) - clamp_time(from_us)) // _BUCKET_US[interval]
    if count > BUCKETS_MAX:
        message = f"makes {count:,} buckets of this range, more than {BUCKETS_MAX:,}: choose a longer one"
        raise invalid_params("interval", message)


def check_group_columns(columns: Sequence[str]) -> None:
    """Raises AppError invalid_group_by for a column that can't be grouped by."""
    unknown = [column for column in columns if column not in GROUP_COLUMNS]
    if unknown:
        raise AppError(
            Reason.INVALID_GROUP_BY, f"`{unknown[0][:64]}` can't be grouped by", allowed=tuple(GROUP_COLUMNS)
        )


def check_range(start: int | None, end: int | None) -> None:
    """Raises AppError invalid_params where a range ends before it begins."""
    if start is not None and end is not None and start > end:
        raise invalid_params("from", "must not lie after `to`")


def default_from(start: int | None, end: int | None, call: Call) -> int:
    """30 days before the end, from midnight UTC, so that the roll-up can answer."""
    if start is not None:
        return start
    last = call.received_at if end is None else end
    return last // DAY_US * DAY_US - _DEFAULT_DAYS * DAY_US


def read_limit(limit: int | None, bounds: tuple[int, int], field: str = "limit") -> int:
    """Fill in the default of a number. Raises AppError invalid_params beyond its bounds."""
    default, largest = bounds
    if limit is None:
        return default
    if not 1 <= limit <= largest:
        raise invalid_params(field, f"must be 1 to {largest}")
    return limit


def read_timezone(name: str | None) -> str:
    """Find a zone by its IANA name; UTC when there is none. Raises AppError invalid_params."""
    if not name:
        return "UTC"
    try:
        return find_zone(name).key
    except KeyError:
        raise invalid_params("timezone", "must be an IANA name, such as Europe/Berlin") from None


def check_text(field: str, text: str, chars_max: int) -> None:
    """Raises AppError invalid_params for a text that is too long or holds a NUL."""
    if len(text) > chars_max or "\0" in text:
        raise invalid_params(field, f"must have at most {chars_max} characters and no NUL")


def check_filters(conditions: Conditions, filters: Iterable[Filter], field: str = "filter") -> None:
    """Add filters to conditions. Raises AppError invalid_params that names the field."""
    filters = list(filters)
    if len(filters) > FILTERS_MAX:
        raise invalid_params(field, f"at most {FILTERS_MAX} filters")
    for one in filters:
        for text in (one.column, *one.values):
            check_text(field, text, VALUE_CHARS_MAX)
        if len(one.values) > VALUES_MAX or sum(map(len, one.values)) > VALUES_CHARS_MAX:
            message = f"`in` takes at most {VALUES_MAX:,} values of {VALUES_CHARS_MAX:,} characters together"
            raise invalid_params(field, message)
    try:
        add_filters(conditions, filters)
    except FilterError as error:
        raise invalid_params(field, str(error)) from None
