"""The loader goes on after whatever ends a turn, but for what is meant to end it."""

from collections.abc import Callable

import pytest

from millimetric_server.loading.back_off import make_retrying
from millimetric_server.process.workers import StopWorkError
from millimetric_server.store.faults import StoreUnavailableError


class Turns:
    """Turns that end as the script says, and then well; notes failures and pauses."""

    def __init__(self, *script: BaseException, closes_after: int = 100) -> None:
        self.script = list(script)
        self.failures: list[tuple[str, int]] = []
        self.pauses: list[float] = []
        self.turns = 0
        self._closes_after = closes_after

    def run(self) -> str | None:
        retrying = make_retrying(
            lambda error, failures: self.failures.append((type(error).__name__, failures)),
            lambda: self.turns >= self._closes_after,
            self.pauses.append,
        )
        turn: Callable[[], str] = self._take_turn
        return retrying(turn)

    def _take_turn(self) -> str:
        self.turns += 1
        if self.script:
            raise self.script.pop(0)
        return "done"


def test_a_turn_is_taken_again_until_it_succeeds() -> None:
    turns = Turns(StoreUnavailableError(), StoreUnavailableError(), StoreUnavailableError())
    assert turns.run() == "done"
    assert turns.failures == [("StoreUnavailableError", number) for number in (1, 2, 3)]
    assert all(0.1 <= pause <= 0.8 for pause in turns.pauses)
    assert len(turns.pauses) == 3


def test_pauses_are_bounded_however_long_it_lasts() -> None:
    turns = Turns(*(StoreUnavailableError() for _ in range(80)))
    assert turns.run() == "done"
    assert 2 < max(turns.pauses) <= 5


def test_a_fault_is_tried_again_without_haste() -> None:
    turns = Turns(ValueError(), KeyError())
    assert turns.run() == "done"
    assert turns.pauses == [5.0, 5.0]


def test_a_failure_while_it_closes_is_the_last_turn() -> None:
    turns = Turns(StoreUnavailableError(), StoreUnavailableError(), closes_after=2)
    assert turns.run() is None
    assert (turns.turns, len(turns.pauses)) == (2, 1)


@pytest.mark.parametrize("error", [StopWorkError("another process has it"), SystemExit()])
def test_what_is_meant_to_end_the_loader_does(error: BaseException) -> None:
    turns = Turns(error)
    with pytest.raises(type(error)):
        turns.run()
    assert (turns.failures, turns.pauses) == ([], [])
