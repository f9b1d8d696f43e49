"""Misses: callers share a look, a name is looked for once, and the rate of looks is bounded for each kind."""

import pytest

from millimetric_server.control.misses import Misses, Sought, SoughtKind, answer


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def misses(clock: Clock) -> Misses:
    return Misses(clock)


def key(number: int) -> Sought:
    return Sought(SoughtKind.KEY, f"{number:08x}")


def look(misses: Misses) -> int:
    """One look that finds nothing; returns how many callers it answers."""
    asked = misses.take()
    misses.remember(asked)
    answer(asked.values())
    return sum(map(len, asked.values()))


def test_callers_share_a_look_and_each_has_a_future_of_its_own(misses: Misses) -> None:
    first, second = misses.ask(key(1)), misses.ask(key(1))
    assert first is not None
    assert second is not None
    assert first is not second
    assert first.cancel()  # a caller who gave up takes nobody along
    assert look(misses) == 2
    assert second.done()


def test_who_comes_while_a_look_runs_waits_for_the_next(misses: Misses) -> None:
    early = misses.ask(key(1))
    taken = misses.take()
    late = misses.ask(key(1))
    answer(taken.values())
    assert early is not None
    assert late is not None
    assert early.done()
    assert not late.done()
    assert look(misses) == 1


def test_a_name_is_looked_for_once_until_something_changes(misses: Misses) -> None:
    misses.ask(key(1))
    look(misses)
    assert misses.ask(key(1)) is None
    misses.forget()
    assert misses.ask(key(1)) is not None


def test_two_thousand_names_in_a_row_are_a_bounded_number_of_looks(misses: Misses, clock: Clock) -> None:
    looks = 0
    for number in range(2000):
        if misses.ask(key(number)) is not None:
            look(misses)
            looks += 1
        clock.now_s += 0.0005
    assert 38 <= looks <= 40  # 20 at once, and 20 in the one second that it takes


def test_one_kind_leaves_the_others_their_looks(misses: Misses) -> None:
    while misses.ask(Sought(SoughtKind.ORIGIN, "prj")) is not None:
        look(misses)
    assert misses.ask(key(1)) is not None


def test_what_is_remembered_is_bounded(misses: Misses) -> None:
    misses.remember(key(number) for number in range(10_001))
    assert misses.ask(key(0)) is not None
    assert misses.ask(key(10_000)) is None
