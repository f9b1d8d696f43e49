"""What Attribution must answer, in plain Python over all rows of a project."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import msgspec

from integration.oracle import is_between
from integration.oracle_calendar import default_from
from integration.oracle_filters import find_value, is_number, meets_all, read_path
from integration.oracle_visits import Visit, list_visits, rank
from millimetric_server.api.messages import AttributionDimension, AttributionModel, AttributionRequest
from millimetric_server.enrich.event_row import EventRow

Key = tuple[str, ...]
Row = tuple[AttributionModel, Key, float, float, float, int]
_DAY_US, _WEEK_US = 86_400_000_000, 604_800_000_000


def answer_attribution(
    rows: Sequence[EventRow], request: AttributionRequest, now_us: int
) -> tuple[list[Row], int, float]:
    """(model, key, conversions, value, share, touches) for each row; all conversions, and their value."""
    start = default_from(request.to, now_us) if request.from_ is None else request.from_
    conversion = request.conversion
    assert conversion is not None
    of_visitor: dict[tuple[str, bool], list[Visit]] = defaultdict(list)
    visit_of: dict[tuple[str, bool], Visit] = {}
    for visit in sorted(list_visits(rows), key=lambda one: rank(one.entry)):
        of_visitor[visit.entry.anonymous_id, visit.entry.is_bot].append(visit)
        visit_of |= {(row.session_id, row.is_bot): visit for row in visit.events}
    credited: dict[tuple[AttributionModel, Key], list[tuple[Fraction, float]]] = defaultdict(list)
    touched: dict[Key, int] = defaultdict(int)
    amounts = []
    for row in rows:
        is_conversion = (
            row.event == conversion.event
            and is_between(row.timestamp, start, request.to)
            and (request.include_bots or not row.is_bot)
            and meets_all(row, conversion.filter, conversion.where)
        )
        if not is_conversion:
            continue
        entry = visit_of[row.session_id, row.is_bot].entry
        oldest = row.timestamp - (request.lookback_days or 30) * _DAY_US
        visits = of_visitor[entry.anonymous_id, entry.is_bot]
        touches = [visit for visit in visits if oldest <= visit.entry.timestamp <= row.timestamp]
        if not touches:  # its visit began before the lookback: the conversion is a touch of direct itself
            own = msgspec.structs.replace(row, source="direct", campaign="", path="")
            touches = [Visit([own])]
        keys = [_read_key(visit, request.dimension) for visit in touches]
        sources = [_read_source(visit) for visit in touches]
        amounts.append(_read_amount(row, request))
        for key in keys:
            touched[key] += 1
        for model in _list_models(request):
            ages = [row.timestamp - visit.entry.timestamp for visit in touches]
            for key, share in zip(keys, _MODELS[model](sources, ages), strict=True):
                credited[model, key].append((share, amounts[-1]))
    answer: list[Row] = []
    for model in _list_models(request):
        figures = {key: credited[model, key] for key in touched}
        counts = {key: sum(share for share, _ in one) for key, one in figures.items()}
        ranked = sorted(touched, key=lambda key: (-counts[key], -touched[key], [part.encode() for part in key]))
        answer += (
            (
                model,
                key,
                float(counts[key]),
                math.fsum(float(share) * amount for share, amount in figures[key]),
                float(counts[key]) / len(amounts),
                touched[key],
            )
            for key in ranked
        )
    return answer, len(amounts), math.fsum(amounts)


def _list_models(request: AttributionRequest) -> list[AttributionModel]:
    is_all = not request.models or AttributionModel.UNSPECIFIED in request.models
    return list(_MODELS) if is_all else [model for model in _MODELS if model in request.models]


def _read_source(visit: Visit) -> str:
    return "direct" if visit.entry.source in ("direct", "internal") else visit.entry.source


def _read_key(visit: Visit, dimension: AttributionDimension) -> Key:
    entry, source = visit.entry, _read_source(visit)
    match dimension:
        case AttributionDimension.SOURCE:
            return (source,)
        case AttributionDimension.CAMPAIGN:
            return (entry.campaign,)
        case AttributionDimension.LANDING_PATH:
            return (entry.path,)
    return source, "direct" if source == "direct" else entry.medium


def _read_amount(row: EventRow, request: AttributionRequest) -> float:
    path = read_path((request.value or "properties.none").removeprefix("properties."))
    value: Any = find_value(msgspec.json.decode(row.properties), path)
    return float(value) if is_number(value) else 0.0


def _give(place: int, count: int) -> list[Fraction]:
    return [Fraction(int(one == place)) for one in range(count)]


def _credit_last_non_direct(sources: Sequence[str], _ages: Sequence[int]) -> list[Fraction]:
    places = [place for place, source in enumerate(sources) if source != "direct"]
    return _give(places[-1] if places else len(sources) - 1, len(sources))


def _credit_by_position(sources: Sequence[str], _ages: Sequence[int]) -> list[Fraction]:
    count = len(sources)
    if count <= 2:
        return [Fraction(1, count)] * count
    return [Fraction(2, 5), *[Fraction(1, 5) / (count - 2)] * (count - 2), Fraction(2, 5)]


def _credit_by_age(_sources: Sequence[str], ages: Sequence[int]) -> list[Fraction]:
    weights = [Fraction(0.5 ** (age / _WEEK_US)) for age in ages]
    return [weight / sum(weights) for weight in weights]


_MODELS: Mapping[AttributionModel, Callable[[Sequence[str], Sequence[int]], list[Fraction]]] = {
    AttributionModel.FIRST_TOUCH: lambda sources, _ages: _give(0, len(sources)),
    AttributionModel.LAST_TOUCH: lambda sources, _ages: _give(len(sources) - 1, len(sources)),
    AttributionModel.LAST_NON_DIRECT: _credit_last_non_direct,
    AttributionModel.LINEAR: lambda sources, _ages: [Fraction(1, len(sources))] * len(sources),
    AttributionModel.POSITION_BASED: _credit_by_position,
    AttributionModel.TIME_DECAY: _credit_by_age,
}
