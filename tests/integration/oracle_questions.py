"""Questions for the oracle, about the times and values that its histories have."""

from collections.abc import Mapping
from typing import Any

import msgspec
from hypothesis import strategies as st

from integration.oracle_events import (
    DAY,
    EVENTS,
    HOUR,
    KEYS,
    MEDIUMS,
    NUMBERS,
    OTHERS,
    RECEIVED_US,
    SOURCES,
    TEXTS,
    VISITORS,
    History,
    times,
)
from millimetric_server.api.messages import (
    AttributionDimension,
    AttributionModel,
    AttributionRequest,
    Breakdown,
    Compare,
    Conversion,
    Filter,
    FilterOp,
    FilterTree,
    FunnelRequest,
    FunnelStep,
    Instant,
    Interval,
    Measure,
    MeasureKind,
    Metric,
    Period,
    QueryRequest,
    RetentionRequest,
    SourcesRequest,
    StatsRequest,
)

STORED_GROUPS = ("event_name", "source", "medium", "campaign", "country", "device_type", "browser", "os", "path")
VISIT_GROUPS = (
    *("session_source", "session_medium", "session_campaign", "landing_path", "exit_path"),
    *("first_source", "first_medium", "first_campaign"),
)
GROUPS = (*STORED_GROUPS, "hostname", "referrer_host", "utm_content", "utm_term", *VISIT_GROUPS)
_OF_NUMBERS = (
    *(MeasureKind.SUM, MeasureKind.AVG, MeasureKind.MIN, MeasureKind.MAX),
    *(MeasureKind.P50, MeasureKind.P90, MeasureKind.P99),
)
_OF_VISITS = (
    *(MeasureKind.SESSIONS, MeasureKind.BOUNCE_RATE),
    *(MeasureKind.SESSION_SECONDS, MeasureKind.EVENTS_PER_SESSION),
)
TIMEZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
_VALUES: Mapping[str, tuple[str, ...]] = {
    "event": EVENTS,
    "event_name": EVENTS,
    "event_id": ("Za", "é", "m"),
    "anonymous_id": VISITORS,
    "session_id": ("visit", "cart-1000000", "ann-"),
    "source": SOURCES,
    "medium": MEDIUMS,
    "rule_set": ("standard-1",),
} | OTHERS
_ROLLED_UP = ("event", "event_name", "source", "medium", "campaign", "country", "device_type", "browser", "os")
_ASKABLE = tuple(key for key in KEYS if "." not in key and key.strip())
COMPARED = (FilterOp.EQ, FilterOp.NE, FilterOp.GT, FilterOp.GE, FilterOp.LT, FilterOp.LE)
PARTS = ("", "r", "1", "0", "hi", "[", '"', "'", "%", "ß", "ru")
_NUMERIC = (
    "10",
    "9",
    "1",
    "1.0",
    "1e1",
    "0",
    "-1",
    "0.5",
    "1e20",
    "-0",
    "1e100",
    "1e400",
    "-1e400",
    "100000000000000000000",
    "9007199254740992",
)
_OTHER_TEXTS = (
    "[]",
    "[1]",
    "false",
    '{"n":1}',
    "[null]",
    "[1.0]",
    '["ß"]',
    '["ß","\\""]',
    "/",
    "\\u",
    "1e-7",
    ".5",
    "+1",
    "1.",
    "NaN",
    " 1",
    "0x1",
    "01",
)
PROPERTY_VALUES = _NUMERIC + _OTHER_TEXTS + TEXTS + tuple(str(number) for number in NUMBERS)


def _text_filters(columns: tuple[str, ...]) -> st.SearchStrategy[Filter]:
    return st.sampled_from(columns).flatmap(lambda column: _filters(column, _VALUES[column]))


def _filters(column: str, values: tuple[str, ...]) -> st.SearchStrategy[Filter]:
    value = st.sampled_from(values)
    return st.one_of(
        st.builds(Filter, st.just(column), st.sampled_from(COMPARED), value.map(lambda one: [one])),
        st.builds(Filter, st.just(column), st.just(FilterOp.IN), st.lists(value, min_size=1, max_size=3)),
        st.builds(Filter, st.just(column), st.just(FilterOp.CONTAINS), st.sampled_from(PARTS).map(lambda one: [one])),
        st.just(Filter(column, FilterOp.EXISTS)),
    )


def _quote(name: str) -> str:
    return msgspec.json.encode(name).decode()


def _property_filters() -> st.SearchStrategy[Filter]:
    name = st.one_of(st.sampled_from(_ASKABLE), st.sampled_from(KEYS).map(_quote))
    paths = st.one_of(name, st.lists(name, min_size=2, max_size=3).map(".".join), st.just("a.b"))
    return paths.flatmap(lambda path: _filters(f"properties.{path}", PROPERTY_VALUES))


def _time_filters(anchor_us: int) -> st.SearchStrategy[Filter]:
    happened = times(anchor_us).map(lambda time: [Instant(time).to_text()])
    received = st.integers(0, 3).map(lambda hours: [Instant(RECEIVED_US + hours * HOUR).to_text()])
    return st.one_of(
        st.builds(Filter, st.just("timestamp"), st.sampled_from(COMPARED), happened),
        st.builds(Filter, st.just("received_at"), st.sampled_from(COMPARED), received),
    )


def _any_filter(history: History) -> st.SearchStrategy[Filter]:
    is_bot = st.builds(Filter, st.just("is_bot"), st.sampled_from(COMPARED[:2]), st.sampled_from((["true"], ["false"])))
    return st.one_of(
        _text_filters(tuple(_VALUES)),
        _property_filters(),
        _property_filters(),
        _time_filters(history.anchor_us),
        is_bot,
    )


def _any_filters(history: History) -> st.SearchStrategy[list[Filter]]:
    one = _any_filter(history)
    return st.lists(one, max_size=1) | st.lists(one, max_size=2)


def _trees(filters: st.SearchStrategy[Filter]) -> st.SearchStrategy[FilterTree | None]:
    branches = st.recursive(
        st.builds(FilterTree, filters),
        lambda inner: st.one_of(
            st.builds(FilterTree, and_=st.lists(inner, min_size=1, max_size=3)),
            st.builds(FilterTree, or_=st.lists(inner, min_size=1, max_size=3)),
            st.builds(FilterTree, not_=inner),
        ),
        max_leaves=4,
    )
    none: st.SearchStrategy[FilterTree | None] = st.none()
    return st.one_of(none, none, branches)


def _stats_filters(history: History) -> st.SearchStrategy[list[Filter]]:
    none: st.SearchStrategy[list[Filter]] = st.just([])
    return st.one_of(none, none, st.lists(_text_filters(_ROLLED_UP), max_size=2), _any_filters(history))


@st.composite
def _ranges(draw: st.DrawFn, history: History, *, is_bounded: bool = False) -> dict[str, Any]:
    """From and to: whole days, whole hours, or any microseconds; now and then absent."""
    unit = draw(st.sampled_from((DAY, DAY, HOUR, HOUR, 1)))
    start, end = sorted(draw(times(history.anchor_us)) // unit * unit for _ in range(2))
    width = draw(st.sampled_from((0, 3 * DAY, 9 * DAY, 30 * DAY)))
    absent = "" if is_bounded else draw(st.sampled_from(("", "", "", "from", "to", "both")))
    return {
        "from_": None if absent in ("from", "both") else Instant(start - width),
        "to": None if absent in ("to", "both") else Instant(end + max(width, draw(st.sampled_from((0, unit))))),
    }


def _zones(history: History) -> st.SearchStrategy[str | None]:
    return st.one_of(st.just(None), st.just(history.timezone), st.just(history.timezone), st.sampled_from(TIMEZONES))


def _rarely(values: tuple[str, ...]) -> st.SearchStrategy[str | None]:
    return st.sampled_from((None,) * 9 * len(values) + values)


@st.composite
def queries(draw: st.DrawFn, history: History) -> QueryRequest:
    """Ask for rows."""
    return QueryRequest(
        **draw(_ranges(history)),
        event=draw(_rarely(EVENTS)),
        source=draw(_rarely(SOURCES)),
        medium=draw(_rarely(MEDIUMS)),
        user_id=draw(_rarely(OTHERS["user_id"])),
        anonymous_id=draw(_rarely(VISITORS)),
        filter=draw(_any_filters(history)),
        where=draw(_trees(_any_filter(history))),
        limit=draw(st.sampled_from((None, 1000, 10, 5))),
    )


_measures = st.one_of(
    st.sampled_from((MeasureKind.COUNT, MeasureKind.UNIQUES, MeasureKind.USERS)).map(Measure),
    st.sampled_from(_OF_VISITS).map(Measure),
    st.sampled_from(_OF_VISITS).map(Measure),
    st.builds(Measure, st.sampled_from(_OF_NUMBERS), st.sampled_from(("properties.n", "properties.a.n"))),
    st.builds(Measure, st.just(MeasureKind.CONVERSION_RATE), event=st.sampled_from(EVENTS)),
)


@st.composite
def figure_questions(draw: st.DrawFn, history: History) -> StatsRequest:
    """Ask for several figures, groups of visits and of properties, comparisons and empty buckets."""
    question = draw(stats_questions(history))
    groups = st.sampled_from(
        (*GROUPS, *VISIT_GROUPS, *VISIT_GROUPS, "properties.n", 'properties."a.b"', "properties.a.n")
    )
    how = draw(st.sampled_from(("alone", "alone", "period", "year", "range")))
    compare = {"period": Compare.PREVIOUS_PERIOD, "year": Compare.PREVIOUS_YEAR}.get(how, Compare.UNSPECIFIED)
    other = draw(_ranges(history, is_bounded=True)) if how == "range" else {"from_": None, "to": None}
    return msgspec.structs.replace(
        question,
        metric=Metric.UNSPECIFIED,
        metrics=draw(
            st.lists(_measures, min_size=1, max_size=3, unique_by=lambda one: (one.kind, one.property, one.event))
        ),
        group_by=draw(st.one_of(st.just([]), st.lists(groups, unique=True, max_size=3))),
        compare=compare,
        compare_from=other["from_"],
        compare_to=draw(st.sampled_from((None, other["to"]))),
        fill=question.interval is not Interval.UNSPECIFIED and draw(st.booleans()),
    )


@st.composite
def stats_questions(draw: st.DrawFn, history: History) -> StatsRequest:
    """Ask for figures."""
    return StatsRequest(
        **draw(_ranges(history)),
        metric=draw(st.sampled_from(Metric)),
        event=draw(st.one_of(st.none(), st.none(), st.sampled_from(EVENTS))),
        filter=draw(_stats_filters(history)),
        where=draw(_trees(_text_filters(_ROLLED_UP) | _any_filter(history))),
        group_by=draw(st.one_of(st.just([]), st.lists(st.sampled_from(STORED_GROUPS), unique=True, max_size=3))),
        interval=draw(st.sampled_from(Interval)),
        timezone=draw(_zones(history)),
        limit=draw(st.sampled_from((None, None, 1000, 3, 1))),
        include_bots=draw(st.booleans()),
    )


@st.composite
def attributions(draw: st.DrawFn, history: History) -> AttributionRequest:
    """Ask what brought a kind of event."""
    none: st.SearchStrategy[list[Filter]] = st.just([])
    return AttributionRequest(
        **draw(_ranges(history)),
        conversion=Conversion(draw(st.sampled_from(EVENTS)), draw(st.one_of(none, none, _any_filters(history)))),
        value=draw(st.sampled_from((None, "properties.n", "properties.a.n"))),
        models=draw(st.one_of(st.just([]), st.lists(st.sampled_from(AttributionModel), max_size=3))),
        lookback_days=draw(st.sampled_from((None, 1, 2, 365))),
        dimension=draw(st.sampled_from(AttributionDimension)),
        limit=1000,
        include_bots=draw(st.booleans()),
    )


@st.composite
def sources_questions(draw: st.DrawFn, history: History) -> SourcesRequest:
    """Ask for sources of visits."""
    return SourcesRequest(
        **draw(_ranges(history)),
        breakdown=draw(st.sampled_from(Breakdown)),
        limit=draw(st.sampled_from((None, 200, 2))),
        include_bots=draw(st.booleans()),
    )


@st.composite
def funnels(draw: st.DrawFn, history: History) -> FunnelRequest:
    """Ask how far visitors came; the same event may be several steps."""
    none: st.SearchStrategy[list[Filter]] = st.just([])
    few = st.one_of(none, none, none, none, _any_filters(history))
    step = st.builds(FunnelStep, st.sampled_from(EVENTS[:5]), few, st.none() | _trees(_any_filter(history)))
    return FunnelRequest(
        **draw(_ranges(history)),
        window_seconds=draw(st.sampled_from((None, 1, 1800, 3600, 3600, 7200, 7 * 86_400, 31_622_400))),
        steps=draw(st.lists(step, min_size=2, max_size=4)),
        group_by=draw(st.one_of(st.none(), st.sampled_from(STORED_GROUPS))),
        limit=draw(st.sampled_from((None, 1, 100))),
        include_bots=draw(st.booleans()),
    )


@st.composite
def retentions(draw: st.DrawFn, history: History) -> RetentionRequest:
    """Ask who came back."""
    event = st.one_of(st.none(), st.sampled_from(EVENTS))
    return RetentionRequest(
        **draw(_ranges(history, is_bounded=True)),
        first_event=draw(event),
        return_event=draw(event),
        period=draw(st.sampled_from(Period)),
        periods=draw(st.sampled_from((None, 1, 3, 40))),
        include_bots=draw(st.booleans()),
        timezone=draw(_zones(history)),
    )
