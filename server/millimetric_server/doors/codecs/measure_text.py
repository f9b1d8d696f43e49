"""Measures as query strings have them: `count`, `sum(properties.amount_cents)`, `conversion_rate(signup)`."""

import re

from millimetric_server.api.messages import Measure, MeasureKind

_QUOTED = r'"(?:[^"\\]|\\.)*"'
# Commas separate measures, but not inside of brackets or quotes.
_ONE = re.compile(rf'(?:[^,("]|{_QUOTED}|\((?:[^)"]|{_QUOTED})*\))+', re.DOTALL)
_MEASURE = re.compile(r"\s*(\w+)\s*(?:\((.*)\))?\s*", re.DOTALL)
_KINDS = {kind.value: kind for kind in MeasureKind if kind is not MeasureKind.UNSPECIFIED}


def parse_measures(text: str) -> list[Measure]:
    """Parse measures that are separated by commas. Raises ValueError with a sentence for the caller."""
    return [_parse_measure(one) for one in _ONE.findall(text) if one.strip()]


def _parse_measure(text: str) -> Measure:
    match = _MEASURE.fullmatch(text)
    kind = _KINDS.get(match[1].lower()) if match else None
    if match is None or kind is None:
        raise ValueError(f"`{text.strip()[:64]}` is not a measure: there are {', '.join(_KINDS)}")
    what = (match[2] or "").strip()
    if kind is MeasureKind.CONVERSION_RATE:
        return Measure(kind, event=what)
    return Measure(kind, property=what)
