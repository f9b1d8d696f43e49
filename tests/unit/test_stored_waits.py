"""Whoever waits for the store is answered once, when the last of its entries is settled, and by what became of them."""

import pytest

from millimetric_server.journal.blocks import Settled
from millimetric_server.journal.entries import EntryId
from millimetric_server.loading import stored_waits
from millimetric_server.loading.errors import EventsRefusedError
from millimetric_server.loading.stored_waits import StoredWaits

A, B, C = map(EntryId, "abc")


def settle(*entries: EntryId, refused: tuple[EntryId, ...] = ()) -> Settled:
    return Settled(frozenset(entries), frozenset(refused))


def test_a_call_is_answered_with_the_last_of_its_entries() -> None:
    waits = StoredWaits()
    one, both = waits.add([A]), waits.add([A, C])
    waits.note_settled(settle(A, B))
    assert one.result(0) is None
    assert not both.done()
    waits.note_settled(settle(C))
    assert both.result(0) is None


def test_a_refused_row_of_any_of_its_entries_is_told() -> None:
    waits = StoredWaits()
    refused, other = waits.add([A, C]), waits.add([B, C])
    waits.note_settled(settle(A, B, refused=(A,)))
    waits.note_settled(settle(C))
    with pytest.raises(EventsRefusedError):
        refused.result(0)
    assert other.result(0) is None


def test_what_was_settled_before_somebody_came_to_wait_is_found() -> None:
    waits = StoredWaits()
    waits.note_settled(settle(A, B, refused=(B,)))
    late, refused, early, nothing = waits.add([A]), waits.add([B]), waits.add([C]), waits.add([])
    waits.look(lambda entries: C not in entries)
    assert (late.result(0), nothing.result(0)) == (None, None)
    assert isinstance(refused.exception(0), EventsRefusedError)
    assert not early.done()


def test_whoever_is_taken_out_is_not_answered_again() -> None:
    waits = StoredWaits()
    promise = waits.add([A])
    assert waits.take_all() == [promise]
    waits.note_settled(settle(A))
    waits.look(lambda _entries: True)
    assert not promise.done()


def test_the_memory_of_refusals_is_bounded() -> None:
    waits = StoredWaits()
    for number in range(3 * stored_waits._REFUSED_MAX // 2):
        entry = EntryId(str(number))
        waits.note_settled(settle(entry, refused=(entry,)))
    assert len(waits._refused) == stored_waits._REFUSED_MAX
    assert EntryId("0") not in waits._refused
