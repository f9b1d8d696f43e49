"""What a call owes the ledger is settled event by event, and at the latest when its block ends."""

import asyncio

import pytest

from millimetric_server.journal.owed import Owed, UnsettledError
from support.fake_journal import FakeJournal


def owe(journal: FakeJournal, events: int, reason: str | None = "overloaded") -> Owed:
    return Owed(journal, "shop", events, lambda _failure: reason)


def fail(journal: FakeJournal, error: BaseException, reason: str | None = "overloaded") -> None:
    with pytest.raises(type(error)), owe(journal, 2, reason):
        raise error


def test_what_the_journal_counted_is_settled() -> None:
    journal = FakeJournal()
    with owe(journal, 3) as owed:
        assert owed.unsettled == 3
        owed.settle(3)
        assert owed.unsettled == 0
    assert journal.noted == []


def test_a_call_without_events_owes_nothing() -> None:
    journal = FakeJournal()
    with owe(journal, 0) as owed:
        owed.drop(0, "opt_out")
    with pytest.raises(ValueError, match="bad"), owe(journal, 0):
        raise ValueError("bad")
    assert journal.noted == []


def test_dropped_and_rejected_events_are_noted_and_settled() -> None:
    journal = FakeJournal()
    with owe(journal, 6) as owed:
        owed.drop(2, "opt_out")
        owed.reject(1, "invalid_payload")
        assert owed.unsettled == 3
        owed.settle(3)
    assert journal.noted == [("dropped", "opt_out", 2), ("rejected", "invalid_payload", 1)]


def test_what_is_left_when_the_block_fails_was_rejected() -> None:
    journal = FakeJournal()
    fail(journal, ValueError("bad"))
    assert journal.noted == [("rejected", "overloaded", 2)]


def test_what_will_be_tried_again_stays_owed() -> None:
    journal = FakeJournal()
    fail(journal, ValueError("too early"), reason=None)
    assert journal.noted == []


@pytest.mark.parametrize("gone", [GeneratorExit(), asyncio.CancelledError()], ids=["closed", "cancelled"])
def test_nothing_is_noted_for_a_caller_who_is_gone(gone: BaseException) -> None:
    """The events may be on their way to the journal, which counts them."""
    journal = FakeJournal()
    fail(journal, gone)
    assert journal.noted == []


def test_a_block_that_ends_well_and_leaves_events_is_a_fault() -> None:
    journal = FakeJournal()
    with pytest.raises(UnsettledError, match="2 events"), owe(journal, 3, "internal_error") as owed:
        owed.settle(1)
    assert journal.noted == [("rejected", "internal_error", 2)]


def test_no_event_is_settled_twice() -> None:
    journal = FakeJournal()
    with pytest.raises(UnsettledError, match="4 events"), owe(journal, 3) as owed:
        owed.settle(4)
    assert journal.noted == [("rejected", "overloaded", 3)]
