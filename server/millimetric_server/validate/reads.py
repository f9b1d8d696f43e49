"""What Query, Stats and Sources must look like."""

from collections.abc import Iterable
from zoneinfo import ZoneInfo

import msgspec

from millimetric_server.call import Call
from millimetric_server.errors import AppError, Reason, invalid_params
from millimetric_server.messages import (
    Breakdown,
    Filter,
    Interval,
    Metric,
    QueryRequest,
    SourcesRequest,
    StatsRequest,
)
from millimetric_server.store.filters import Conditions, FilterError, add_filters
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
DAY_US = 86_400_000_000
_DEFAULT_DAYS = 30


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


def validate_query(request: QueryRequest, _call: Call) -> QueryPlan:
    """Check a Query. Raises AppError invalid_params."""
    _check_range(request.from_, request.to)
    conditions = Conditions()
    if request.from_ is not None:
        conditions.require_time("timestamp", ">=", request.from_)
    if request.to is not None:
        conditions.require_time("timestamp", "<", request.to)
    for name in ("event", "source", "medium", "user_id", "anonymous_id"):
        if value := getattr(request, name):
            _check_text(name, value, CHARS_MAX.get(name, VALUE_CHARS_MAX))
            conditions.require(name, "=", value)
    _add_filters(conditions, request.filter)
    return QueryPlan(conditions, _read_limit(request.limit, QUERY_LIMIT), request.page_token or "")


def validate_stats(request: StatsRequest, call: Call) -> StatsPlan:
    """Check a Stats. Raises AppError invalid_params, invalid_group_by."""
    unknown = [column for column in request.group_by if column not in GROUP_COLUMNS]
    if unknown:
        raise AppError(
            Reason.INVALID_GROUP_BY, f"`{unknown[0][:64]}` can't be grouped by", allowed=tuple(GROUP_COLUMNS)
        )
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
    return StatsPlan(
        _default_from(request.from_, request.to, call),
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


def _check_range(start: int | None, end: int | None) -> None:
    if start is not None and end is not None and start > end:
        raise invalid_params("from", "must not lie after `to`")


def _default_from(start: int | None, end: int | None, call: Call) -> int:
    """30 days before the end, from midnight UTC, so that the roll-up can answer."""
    if start is not None:
        return start
    last = call.received_at if end is None else end
    return last // DAY_US * DAY_US - _DEFAULT_DAYS * DAY_US


def _read_limit(limit: int | None, bounds: tuple[int, int]) -> int:
    default, largest = bounds
    if limit is None:
        return default
    if not 1 <= limit <= largest:
        raise invalid_params("limit", f"must be 1 to {largest}")
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


def _add_filters(conditions: Conditions, filters: Iterable[Filter]) -> None:
    filters = list(filters)
    if len(filters) > FILTERS_MAX:
        raise invalid_params("filter", f"at most {FILTERS_MAX} filters")
    for one in filters:
        for text in (one.column, *one.values):
            _check_text("filter", text, VALUE_CHARS_MAX)
    try:
        add_filters(conditions, filters)
    except FilterError as error:
        raise invalid_params("filter", str(error)) from None
