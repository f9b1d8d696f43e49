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
_EXPRESSION = re.compile(r"\s*([\w.$-]+?)\s*(!=|>=|<=|=|>|<|\s(?:in|contains|exists)(?=\s|$))\s*(.*)", re.DOTALL)


def parse_filter(text: str) -> Filter:
    """Parse one filter. Raises ValueError with a sentence for the caller."""
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise ValueError("must be COLUMN OP VALUE with one of = != > >= < <= in contains exists")
    column, operator, value = match.groups()
    op = _OPERATORS[operator.strip()]
    if op is FilterOp.EXISTS:
        return Filter(column, op, [value] if value else [])
    return Filter(column, op, [part.strip() for part in value.split(",")] if op is FilterOp.IN else [value])
