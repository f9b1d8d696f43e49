"""What reads say of filters that are too many, before any SQL runs."""

import pytest

from millimetric_server.api.errors import AppError, Reason
from millimetric_server.api.messages import Filter, FilterOp, FilterTree
from millimetric_server.reads.conditions import Conditions
from millimetric_server.reads.filters import add_filters


def refuse(filters: list[Filter], where: FilterTree | None = None) -> str:
    with pytest.raises(AppError) as caught:
        add_filters(Conditions(), filters, where, "steps[1].")
    assert caught.value.reason is Reason.INVALID_PARAMS
    return caught.value.violations[0].field


def test_equal_names_and_values_are_one_parameter() -> None:
    conditions = Conditions()
    add_filters(conditions, [Filter("path", FilterOp.EQ, ["/a"]), Filter("url", FilterOp.NE, ["/a"])])
    assert conditions.clauses == ["path = {p0:String}", "url != {p0:String}"]
    assert conditions.parameters == {"p0": "/a"}


def test_the_largest_query_fits_into_a_statement_and_a_second_step_as_large_does_not() -> None:
    def make_path(name: str) -> str:
        return "properties." + ".".join(f"{name}{part}" for part in range(10))

    def fill(conditions: Conditions, step: str) -> None:
        filters = [Filter(make_path(f"{step}f{number}-"), FilterOp.EQ, [f"{step}{number}"]) for number in range(20)]
        leaves = [
            FilterTree(Filter(make_path(f"{step}t{number}-"), FilterOp.EQ, [f"{step}{number}"])) for number in range(49)
        ]
        add_filters(conditions, filters, FilterTree(or_=leaves), "steps[1].")

    first = Conditions()
    fill(first, "a")
    with pytest.raises(AppError, match="at most 900 different names and values") as caught:
        fill(first.begin_others(), "b")
    assert [one.field for one in caught.value.violations] == ["steps[1].filter"]


def test_an_error_names_the_node() -> None:
    bad = FilterTree(Filter("nothing", FilterOp.EQ, ["x"]))
    good = FilterTree(Filter("path", FilterOp.EXISTS))
    tree = FilterTree(and_=[good, FilterTree(not_=FilterTree(or_=[bad]))])
    assert refuse([], tree) == "steps[1].where.and[1].not.or[0].filter"
    assert refuse([], FilterTree(not_=FilterTree())) == "steps[1].where.not"


@pytest.mark.parametrize(
    ("column", "names"),
    [
        ("properties.a.b", ["a", "b"]),
        ('properties."a.b".c', ["a.b", "c"]),
        ('properties.x."say \\"hi\\" \\u00e9"', ["x", 'say "hi" é']),
        ("properties.Product Name", ["Product Name"]),
        ("properties.q\".it's", ['q"', "it's"]),
        ('properties.".x', ['"', "x"]),
    ],
)
def test_a_path_is_names_between_dots_in_quotes_or_not(column: str, names: list[str]) -> None:
    conditions = Conditions()
    add_filters(conditions, [Filter(column, FilterOp.EXISTS)])
    assert list(conditions.parameters.values())[: len(names)] == names


@pytest.mark.parametrize(
    "column", ["properties.", 'properties."a', 'properties."a"b', "properties.a..b", 'properties."\\x"']
)
def test_a_path_that_is_not_well_written_is_refused(column: str) -> None:
    assert refuse([Filter(column, FilterOp.EXISTS)]) == "steps[1].filter"
