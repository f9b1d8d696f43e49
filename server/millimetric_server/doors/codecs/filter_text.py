"""Filters as query strings have them: `COLUMN OP VALUE`, such as `country in DE,AT` or `properties.plan exists`."""

import re

from millimetric_server.api.messages import Filter, FilterOp

_OPERATORS = {
    "=": FilterOp.EQ,
    "!=": FilterOp.NE,
    ">": FilterOp.GT,
    ">=": FilterOp.GE,
    "<": FilterOp.LT,
    "<=": FilterOp.LE,
    "in": FilterOp.IN,
    "contains": FilterOp.CONTAINS,
    "exists": FilterOp.EXISTS,
}
_KNOWN = ", ".join(_OPERATORS)
# The names of a property's path may contain blanks, and, in quotes, anything.
_QUOTED, _BARE = r'"(?:[^"\\]|\\.)*"', r'[^\s."=!<>~][^."=!<>~]*?'
_COLUMN = rf"properties(?:\.(?:{_QUOTED}|{_BARE}))+|[\w.$-]+?"
# A run of signs is one operator, known or not, so that none is read as another with a strange value.
_EXPRESSION = re.compile(
    rf"\s*({_COLUMN})\s*([=!<>~]+|(?:(?<=\s)|(?<=\"))(?:in|contains|exists)(?=\s|$))\s*(.*)", re.DOTALL
)
_NEGATIONS = ("not", "is", "does")  # before an operator: words of other languages, not the end of a name


def parse_filter(text: str) -> Filter:
    """Parse one filter. Raises ValueError with a sentence for the caller."""
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise ValueError(f"must be COLUMN OP VALUE, where OP is one of {_KNOWN}")
    column, operator, value = match.groups()
    name, _, last = column.rpartition(" ")
    if name and last in _NEGATIONS:
        operator = f"{last} {operator}"
    if (op := _OPERATORS.get(operator)) is None:
        hint = "" if operator[0].isalpha() else "; put a blank before a value that begins with such a sign"
        raise ValueError(f"`{operator[:32]}` is not an operator: there are {_KNOWN}{hint}")
    if op is FilterOp.EXISTS:
        return Filter(column, op, [value] if value else [])
    return Filter(column, op, [part.strip() for part in value.split(",")] if op is FilterOp.IN else [value])
