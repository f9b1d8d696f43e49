"""Attribution: what each channel brought, by six ways of crediting a conversion to the visits before it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from millimetric.v1 import query_service_pb2
from millimetric_server.api.call import Call
from millimetric_server.api.errors import invalid_params
from millimetric_server.api.limits import list_limits
from millimetric_server.api.messages import (
    AttributionDimension,
    AttributionModel,
    AttributionRequest,
    AttributionResponse,
    AttributionRow,
)
from millimetric_server.api.pending import Pending
from millimetric_server.reads.bounds import begin_range, check_number, check_range, check_text
from millimetric_server.reads.conditions import LATEST_US, Conditions
from millimetric_server.reads.deps import ReadDeps
from millimetric_server.reads.filters import add_filters, find_property
from millimetric_server.reads.property_filters import take_number
from millimetric_server.reads.time_zones import DAY_US
from millimetric_server.reads.visits import bound_visits, build_sessions_of
from millimetric_server.store.statements import read_statement

_LIMITS = list_limits(query_service_pb2.AttributionRequest)
_CONVERSION = list_limits(query_service_pb2.Conversion)
_PARTS = 2**30  # of a conversion
_END_PARTS = _PARTS * 2 // 5
_MIDDLE_PARTS = _PARTS - 2 * _END_PARTS
_REST = "if(place = touch_total, {rest}, 0)"
# How many parts of a conversion a touch gets.
_CREDITS: Mapping[AttributionModel, str] = {
    AttributionModel.FIRST_TOUCH: f"if(place = 1, {_PARTS}, 0)",
    AttributionModel.LAST_TOUCH: f"if(place = touch_total, {_PARTS}, 0)",
    AttributionModel.LAST_NON_DIRECT: (
        f"if(place = if(last_non_direct_place = 0, touch_total, last_non_direct_place), {_PARTS}, 0)"
    ),
    AttributionModel.LINEAR: f"intDiv({_PARTS}, touch_total) + {_REST.format(rest=f'{_PARTS} % touch_total')}",
    AttributionModel.POSITION_BASED: (
        f"multiIf(touch_total = 1, {_PARTS}, touch_total = 2, {_PARTS // 2}, place = 1, {_END_PARTS}, "
        f"place = touch_total, {_END_PARTS} + {_MIDDLE_PARTS} % middle_total, intDiv({_MIDDLE_PARTS}, middle_total))"
    ),
    AttributionModel.TIME_DECAY: f"decayed_parts + {_REST.format(rest=f'{_PARTS} - arraySum(decayed)')}",
}
_COLUMNS: Mapping[AttributionDimension, tuple[str, ...]] = {
    AttributionDimension.SOURCE: ("source",),
    AttributionDimension.SOURCE_MEDIUM: ("source", "medium"),
    AttributionDimension.CAMPAIGN: ("campaign",),
    AttributionDimension.LANDING_PATH: ("landing_path",),
}


class AttributionPlan(msgspec.Struct, frozen=True):
    """A checked Attribution: its statement, and how the rows are told."""

    statement: str
    parameters: Mapping[str, object]
    models: tuple[AttributionModel, ...]
    columns: tuple[str, ...]
    limit: int


def validate_attribution(request: AttributionRequest, call: Call) -> AttributionPlan:
    """Check an Attribution. Raises AppError invalid_params."""
    check_range(request.from_, request.to)
    from_us = begin_range(request.from_, request.to, call.received_at)
    lookback_us = check_number("lookback_days", request.lookback_days, _LIMITS) * DAY_US
    models = _check_models(request.models)
    columns = _COLUMNS[request.dimension or AttributionDimension.SOURCE_MEDIUM]
    conditions = _select_conversions(request, from_us)
    amount = _write_amount(request, conditions)
    sessions = build_sessions_of(conditions.sql, include_bots=request.include_bots)
    keys = [f"touch.{name} AS key_{number}" for number, name in enumerate(columns)]
    statement = (
        read_statement("attribution.credits")
        .replace("%KEYS%", ", ".join(keys))
        .replace("%NAMES%", ", ".join(f"key_{number}" for number in range(len(columns))))
        .replace("%FIGURES%", ", ".join(_write_figures(models)))
        .replace("%AMOUNT%", amount)
        .replace("%CONVERSIONS%", conditions.sql)
        .replace("%SESSIONS%", sessions)
    )
    bounds = bound_visits(from_us - lookback_us, LATEST_US if request.to is None else request.to)
    parameters = {"lookback_us": lookback_us, **bounds, **conditions.parameters}
    return AttributionPlan(statement, parameters, models, columns, check_number("limit", request.limit, _LIMITS))


async def attribution(call: Call, plan: AttributionPlan, deps: ReadDeps) -> AttributionResponse:
    """Answer what each channel brought, model by model."""
    parameters = {"project": call.project.project_id, **plan.parameters}
    rows = await Pending(deps.store.reads.run(plan.statement, parameters, call.cancellation))
    width, is_cut = len(plan.columns), False
    total, amount = (sum(row[width + 1 + place] for row in rows) for place in (0, 1))  # alike by every model
    answer: list[AttributionRow] = []
    for number, model in enumerate(plan.models):
        place = width + 1 + 2 * number
        ranked = sorted(rows, key=lambda row: (-row[place], -row[width], [key.encode() for key in row[:width]]))
        is_cut = is_cut or len(ranked) > plan.limit
        answer += (_make_row(row, model, place, total, plan) for row in ranked[: plan.limit])
    response = AttributionResponse(answer, total // _PARTS, amount / _PARTS)
    if is_cut:
        response.truncated = True
    return response


def _check_models(models: Sequence[AttributionModel]) -> tuple[AttributionModel, ...]:
    """The models in the order of their numbers; none, or the unspecified one, are all."""
    if not models or AttributionModel.UNSPECIFIED in models:
        return tuple(_CREDITS)
    return tuple(model for model in _CREDITS if model in models)


def _select_conversions(request: AttributionRequest, from_us: int) -> Conditions:
    conversion = request.conversion
    if conversion is None or not check_text("conversion.event", conversion.event, _CONVERSION["event"].chars_max):
        raise invalid_params("conversion.event", "is required")
    conditions = Conditions()
    conditions.require_range("timestamp", from_us, request.to)
    conditions.require("event", "=", conversion.event)
    add_filters(conditions, conversion.filter, conversion.where, "conversion.")
    if not request.include_bots:
        conditions.clauses.append("NOT is_bot")
    return conditions


def _write_amount(request: AttributionRequest, conditions: Conditions) -> str:
    if not request.value:
        return "0."
    if (path := find_property(request.value, "value")) is None:
        raise invalid_params("value", "must be a property, such as properties.amount_cents")
    return f"ifNull({take_number(conditions, path)}, 0)"


def _write_figures(models: Sequence[AttributionModel]) -> Iterator[str]:
    for number, model in enumerate(models):
        yield f"sum(toUInt64({_CREDITS[model]})) AS parts_{number}"
        yield f"sum(toUInt64({_CREDITS[model]}) * amount) AS amount_{number}"


def _make_row(
    row: Sequence[Any], model: AttributionModel, place: int, total: int, plan: AttributionPlan
) -> AttributionRow:
    width = len(plan.columns)
    return AttributionRow(
        model,
        **dict(zip(plan.columns, row[:width], strict=True)),
        conversions=row[place] / _PARTS,
        value=row[place + 1] / _PARTS,
        share=row[place] / total if total else 0.0,
        touches=row[width],
    )
