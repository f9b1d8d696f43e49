"""No project takes all of what projects share: each leaves room for the next, however many there are."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millimetric_server.api.errors import AppError, Reason
from millimetric_server.shares.places import Places


def take_all(places: Places, *projects: str) -> Counter[str]:
    """Let the projects take turns until none of them gets another place."""
    held: Counter[str] = Counter()
    while got := [project for project in projects if places.take(project)]:
        held.update(got)
    return held


def test_alone_a_project_gets_half() -> None:
    assert take_all(Places("streams", 64), "a")["a"] == 32
    assert take_all(Places("exports", 4), "a")["a"] == 2


def test_greedy_projects_leave_as_much_as_each_of_them_has() -> None:
    places = Places("streams", 64)
    assert take_all(places, "a", "b", "c") == {"a": 16, "b": 16, "c": 16}
    assert places.take("d")


def test_who_has_much_gets_no_more_while_others_come() -> None:
    places = Places("streams", 64)
    take_all(places, "a")
    assert take_all(places, "b")["b"] == 16
    assert not places.take("a")
    for _ in range(17):
        places.give_back("a")
    assert places.take("a")


def test_the_share_can_be_set() -> None:
    assert take_all(Places("streams", 100, 80), "a")["a"] == 80
    assert take_all(Places("streams", 100, 100), "a")["a"] == 100
    assert take_all(Places("streams", 1), "a")["a"] == 1


@given(st.integers(1, 40), st.integers(1, 100), st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans())))
def test_a_project_without_a_place_gets_one_while_any_is_free(
    total: int, share_percent: int, steps: list[tuple[str, bool]]
) -> None:
    places, held = Places("streams", total, share_percent), Counter[str]()
    for project, takes in steps:
        if takes:
            expected = not held[project] and held.total() < total
            got = places.take(project)
            assert got or not expected
            held[project] += got
        elif held[project]:
            places.give_back(project)
            held[project] -= 1
        assert places.taken == held.total() <= total


def test_who_finds_none_is_told_when_to_come_back_and_counted() -> None:
    places = Places("streams", 1)
    with places.hold("a"):
        for _ in range(2):
            with pytest.raises(AppError) as caught, places.hold("b"):
                pass
    assert caught.value.reason is Reason.OVERLOADED
    assert caught.value.retry_after_s
    assert places.refused == {"a": 0, "b": 2}
    assert places.taken == 0
