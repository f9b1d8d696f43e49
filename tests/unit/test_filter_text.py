"""Filters in query strings: names, operators, and what is said of those that can't be read."""

import pytest

from millimetric_server.api.messages import FilterOp
from millimetric_server.doors.codecs.filter_text import parse_filter


@pytest.mark.parametrize(
    ("text", "column", "op", "values"),
    [
        ("country in DE, AT", "country", FilterOp.IN, ["DE", "AT"]),
        ("country=DE", "country", FilterOp.EQ, ["DE"]),
        (" path  !=  /a=b ", "path", FilterOp.NE, ["/a=b "]),
        ("x = =4", "x", FilterOp.EQ, ["=4"]),
        ("properties.plan exists", "properties.plan", FilterOp.EXISTS, []),
        ("properties.Product Name = P", "properties.Product Name", FilterOp.EQ, ["P"]),
        ('properties."Product Name" contains a = b', 'properties."Product Name"', FilterOp.CONTAINS, ["a = b"]),
        ('properties."a.b".c>=10', 'properties."a.b".c', FilterOp.GE, ["10"]),
        ('properties."x = \\"in\\" y" in 1,2', 'properties."x = \\"in\\" y"', FilterOp.IN, ["1", "2"]),
        ("properties.ключ < 1", "properties.ключ", FilterOp.LT, ["1"]),
        ("properties.in in in", "properties.in", FilterOp.IN, ["in"]),
    ],
)
def test_a_filter_is_a_column_an_operator_and_a_value(text: str, column: str, op: FilterOp, values: list[str]) -> None:
    one = parse_filter(text)
    assert (one.column, one.op, one.values) == (column, op, values)


@pytest.mark.parametrize(
    ("text", "operator"),
    [
        ("x == 4", "=="),
        ("x =~ a", "=~"),
        ("x<>a", "<>"),
        ("x !== a", "!=="),
        ("x => 1", "=>"),
        ("x ~ a", "~"),
        ("properties.x not in 5", "not in"),
        ("properties.x not exists", "not exists"),
        ("properties.x is = 5", "is ="),
    ],
)
def test_an_unknown_operator_is_told_with_those_there_are(text: str, operator: str) -> None:
    with pytest.raises(ValueError, match="is not an operator") as caught:
        parse_filter(text)
    assert str(caught.value).startswith(f"`{operator}` is not an operator: there are =, !=, >,")


@pytest.mark.parametrize("text", ["x", "x like 5", "x IN a", "properties.a b", 'properties."a = 1', "= 1"])
def test_what_is_no_filter_is_told_with_the_operators(text: str) -> None:
    with pytest.raises(ValueError, match="COLUMN OP VALUE, where OP is one of =, !=, "):
        parse_filter(text)


@pytest.mark.parametrize("piece", ["a ", "a.", '"a".', "a in ", " ", '"', "a=", "\\"])
def test_long_nonsense_is_read_in_linear_time(piece: str) -> None:
    """A regular expression that tries many ways would take minutes for this."""
    for text in (f"properties.{piece * 20_000}!", f"{piece * 20_000}~"):
        try:
            parse_filter(text)
        except ValueError:
            continue
