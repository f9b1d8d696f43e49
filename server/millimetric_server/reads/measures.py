"""The figures of Stats: their names, and the SQL that takes each from the events, a roll-up or visits."""

from collections.abc import Sequence
from typing import NamedTuple

from millimetric.v1 import query_service_pb2
from millimetric_server.api.errors import invalid_params
from millimetric_server.api.limits import list_limits
from millimetric_server.api.messages import Measure, MeasureKind, Metric
from millimetric_server.reads.bounds import check_text
from millimetric_server.reads.conditions import Conditions
from millimetric_server.reads.filters import find_property
from millimetric_server.reads.property_filters import take_number

_MEASURES_MAX = list_limits(query_service_pb2.StatsRequest)["metrics"].items_max
_EVENT = list_limits(query_service_pb2.Measure)["event"]
_OF_METRIC = {
    Metric.UNSPECIFIED: MeasureKind.COUNT,
    Metric.COUNT: MeasureKind.COUNT,
    Metric.UNIQUES: MeasureKind.UNIQUES,
}
# Of a property's numbers. A quantile is exact, and lies between two numbers where it falls between them.
_OF_NUMBERS = {
    MeasureKind.SUM: "ifNull(sum({number}), 0)",
    MeasureKind.AVG: "avg({number})",
    MeasureKind.MIN: "min({number})",
    MeasureKind.MAX: "max({number})",
    MeasureKind.P50: "quantileExactInclusive(0.5)({number})",
    MeasureKind.P90: "quantileExactInclusive(0.9)({number})",
    MeasureKind.P99: "quantileExactInclusive(0.99)({number})",
}
# Of events, each joined to its visit. A visit counts once, however many events it has.
_MEAN = "arraySum(one -> one.2, groupUniqArray((visit_id, {figure}))) / uniqExact(visit_id)"
_OF_VISITS = {
    MeasureKind.SESSIONS: "uniqExact(visit_id)",
    MeasureKind.BOUNCE_RATE: "uniqExactIf(visit_id, visit_events = 1) / uniqExact(visit_id)",
    MeasureKind.SESSION_SECONDS: f"{_MEAN.format(figure='visit_us')} / 1e6",
    MeasureKind.EVENTS_PER_SESSION: _MEAN.format(figure="visit_events"),
}
_OF_EVENTS = {
    MeasureKind.COUNT: "count()",
    MeasureKind.UNIQUES: "uniqCombined64(14)(visitor)",
    MeasureKind.USERS: "uniqCombined64If(14)(user_id, user_id != '')",
}
_OF_ROLLUPS = {MeasureKind.COUNT: "sum(events)", MeasureKind.UNIQUES: "uniqCombined64Merge(14)(visitors)"}
# Of visits by bucket and channel, added up.
_OF_SESSIONS = {
    MeasureKind.SESSIONS: "sum(visits)",
    MeasureKind.BOUNCE_RATE: "sum(bounces) / sum(visits)",
    MeasureKind.SESSION_SECONDS: "sum(visit_us) / sum(visits) / 1e6",
    MeasureKind.EVENTS_PER_SESSION: "sum(visit_events) / sum(visits)",
}
COUNTS = frozenset({*_OF_EVENTS, MeasureKind.SESSIONS})  # whole numbers, and 0 where there is nothing


class CheckedMeasure(NamedTuple):
    """A figure, its name in answers, and what it is of: a property's path, or an event's name."""

    kind: MeasureKind
    name: str
    path: tuple[str, ...] = ()
    event: str = ""

    @property
    def needs_visits(self) -> bool:
        """Whether events must be joined to their visits for it."""
        return self.kind in _OF_VISITS

    @property
    def needs_whole_visits(self) -> bool:
        """Whether more than the entry of a visit must be known for it."""
        return self.needs_visits and self.kind is not MeasureKind.SESSIONS

    @property
    def is_rolled_up(self) -> bool:
        """Whether the roll-ups have it."""
        return self.kind in _OF_ROLLUPS

    @property
    def empty(self) -> float | None:
        """The figure where there are no events."""
        return 0.0 if self.kind in COUNTS or self.kind is MeasureKind.SUM else None


def check_measures(metrics: Sequence[Measure], metric: Metric) -> tuple[CheckedMeasure, ...]:
    """Check the figures that are asked for; without `metrics`, the one that `metric` names. Raises AppError."""
    if not metrics:
        kind = _OF_METRIC[metric]
        return (CheckedMeasure(kind, kind.value),)
    if metric is not Metric.UNSPECIFIED:
        raise invalid_params("metric", "must be left out where `metrics` is given")
    if len(metrics) > _MEASURES_MAX:
        raise invalid_params("metrics", f"at most {_MEASURES_MAX} figures")
    checked = tuple(_check_measure(one, f"metrics[{index}]") for index, one in enumerate(metrics))
    if len({one.name for one in checked}) != len(checked):
        raise invalid_params("metrics", "names a figure twice")
    return checked


def _check_measure(one: Measure, field: str) -> CheckedMeasure:
    kind = MeasureKind.COUNT if one.kind is MeasureKind.UNSPECIFIED else one.kind
    if one.property and kind not in _OF_NUMBERS:
        raise invalid_params(field, f"`{kind.value}` is of no property")
    if one.event and kind is not MeasureKind.CONVERSION_RATE:
        raise invalid_params(field, f"`{kind.value}` is of no event")
    if kind in _OF_NUMBERS:
        path = find_property(one.property, field)
        if path is None:
            raise invalid_params(field, f"needs a property: {kind.value}(properties.amount), for example")
        return CheckedMeasure(kind, f"{kind.value}({one.property})", tuple(path))
    if kind is MeasureKind.CONVERSION_RATE:
        if not check_text(field, one.event, _EVENT.chars_max):
            raise invalid_params(field, "needs an event: conversion_rate(signup), for example")
        return CheckedMeasure(kind, f"{kind.value}({one.event})", event=one.event)
    return CheckedMeasure(kind, kind.value)


def write_rollup_measure(one: CheckedMeasure) -> str:
    """SQL for a figure that the roll-ups have."""
    return _OF_ROLLUPS[one.kind]


def write_visit_measure(one: CheckedMeasure) -> str:
    """SQL for a figure of visits that were counted by bucket and channel."""
    return _OF_SESSIONS[one.kind]


def write_measure(one: CheckedMeasure, conditions: Conditions, converted: Conditions) -> str:
    """SQL for a figure of events. `converted` are the conditions for the other event of a conversion rate."""
    if one.kind in _OF_NUMBERS:
        return _OF_NUMBERS[one.kind].format(number=take_number(conditions, one.path))
    if one.kind is MeasureKind.CONVERSION_RATE:
        event = conditions.bind(one.event, "String")
        others = (
            f"SELECT visitor FROM events WHERE project_id = {{project:String}} AND event = {event} AND {converted.sql}"
        )
        return f"uniqExactIf(visitor, visitor IN ({others})) / uniqExact(visitor)"
    return _OF_VISITS.get(one.kind) or _OF_EVENTS[one.kind]
