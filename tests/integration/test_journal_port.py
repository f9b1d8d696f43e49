"""What port.py promises, held against every adapter. A new one is a line in support/journal_adapters.py."""

import contextlib
import json
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from millimetric_server.journal.blocks import Block, BlockSlice, Leadership, RefusedRows, Settled, Settlement
from millimetric_server.journal.entries import EntryId
from millimetric_server.journal.erasures import ErasurePlan, ErasureStage
from millimetric_server.journal.errors import JournalFullError, LeadershipLostError, UnknownDeadLettersError
from millimetric_server.journal.ledger import Outcome
from millimetric_server.journal.port import Journal
from support.journal_adapters import (
    ADAPTERS,
    LEASE_S,
    NOW,
    WINDOW_DAYS,
    describe,
    lead_soon,
    make_event,
    open_journal,
    read_ids,
)

_TESTS = Path(__file__).parents[1]
_DAY = 86_400_000_000
_WAIT_S = 120
_ROWS_MAX = 1000


@dataclass
class Place:
    """Where an adapter keeps a journal; it can be opened again and again."""

    adapter: str
    folder: Path
    opened: list[Journal] = field(default_factory=list)

    def open(self, bytes_max: int = 10**9) -> Journal:
        self.opened.append(open_journal(self.adapter, self.folder, bytes_max))
        return self.opened[-1]

    def close(self, journal: Journal) -> None:
        self.opened.remove(journal)
        journal.close()

    def reopen(self, journal: Journal) -> Journal:
        self.close(journal)
        return self.open()

    @contextlib.contextmanager
    def run(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        """Another process with this journal, killed at the end."""
        command = [sys.executable, "-m", "support.journal_adapters", self.adapter, str(self.folder), *words]
        with subprocess.Popen(command, cwd=_TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGKILL)


@pytest.fixture(params=ADAPTERS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    made = Place(request.param, tmp_path)
    yield made
    for journal in list(made.opened):
        made.close(journal)


@pytest.fixture
def journal(place: Place) -> Journal:
    return place.open()


@pytest.fixture
def lead(journal: Journal) -> Leadership:
    return take_lead(journal)


def take_lead(journal: Journal, name: str = "loader", lease_s: float = LEASE_S) -> Leadership:
    lead = journal.lead(name, lease_s)
    assert lead is not None
    return lead


def append(journal: Journal, *event_ids: str, **values: object) -> Sequence[EntryId]:
    return journal.append([make_event(one, **values) for one in event_ids]).result(_WAIT_S).entries


def is_known(journal: Journal, event_id: str, **values: object) -> bool:
    (first,) = journal.append([make_event(event_id, **values)]).result(_WAIT_S).firsts
    return first is not None


def store_whole(block: Block) -> Settlement:
    """All of a block's rows as stored."""
    stored = Counter[str]()
    for entry in block.entries:
        stored[entry.project_id] += entry.row_count
    return Settlement(stored)


def refuse_whole(block: Block) -> Settlement:
    """All of a block's rows as refused."""
    refused = [
        RefusedRows(one.entry_id, one.project_id, one.row_count, one.column_count, one.rows, "REASON", "message")
        for one in block.entries
    ]
    return Settlement(refused=refused)


def drain(journal: Journal, lead: Leadership, rows_max: int = _ROWS_MAX) -> Iterator[Block]:
    """Take and settle blocks as long as there are any."""
    while (block := journal.take_block(lead, rows_max)) is not None:
        journal.settle(lead, block, store_whole(block))
        yield block


def drain_ids(journal: Journal, lead: Leadership) -> list[str]:
    return [event_id for block in drain(journal, lead) for event_id in read_ids(block)]


def assert_balanced(journal: Journal) -> None:
    assert [one.missing for one in journal.load_balances() if one.missing] == []


# 1, 3 and 8: known if and only if durable, durable if acknowledged, harmless to repeat


@pytest.mark.parametrize("acknowledged_min", [1, 7, 40])
def test_a_killed_append_is_known_exactly_where_its_row_is_there(place: Place, acknowledged_min: int) -> None:
    acknowledged = []
    with place.run("append", "e", "100000") as process:
        assert process.stdout is not None
        acknowledged += [process.stdout.readline().split()[0] for _ in range(acknowledged_min)]
        process.kill()
        acknowledged += [line.split()[0] for line in process.stdout if line.endswith(" new\n")]
    journal = place.open()
    there = drain_ids(journal, take_lead(journal))
    assert set(acknowledged) <= set(there)
    assert len(there) == len(set(there))
    sent = [f"e{number}" for number in range(len(there) + 3)]
    assert {one for one in sent if is_known(journal, one)} == set(there)
    assert sorted(there + drain_ids(journal, take_lead(journal))) == sorted(sent)
    assert_balanced(journal)


# 2: one row of an id within the window


def test_an_id_is_stored_once_however_many_threads_and_processes_append_it(place: Place) -> None:
    journal = place.open()
    ids = [f"e{number}" for number in range(60)]
    with place.run("append", "e", "60") as one, place.run("append", "e", "60") as other:
        with ThreadPoolExecutor(4) as threads:
            rounds = [random.Random(seed).sample(ids, len(ids)) for seed in range(4)]
            known = list(threads.map(lambda order: [(one, is_known(journal, one)) for one in order], rounds))
        lines = [
            line.split() for process in (one, other) for line in process.communicate(timeout=_WAIT_S)[0].splitlines()
        ]
    new = [event_id for answers in known for event_id, was_known in answers if not was_known]
    new += [event_id for event_id, answer in lines if answer == "new"]
    assert len(lines) == 2 * len(ids)
    assert sorted(new) == sorted(ids)
    journal = place.reopen(journal)
    assert sorted(drain_ids(journal, take_lead(journal))) == sorted(ids)
    assert_balanced(journal)


def test_an_id_within_one_append_is_stored_once(journal: Journal, lead: Leadership) -> None:
    appended = journal.append([make_event(one) for one in ("a", "b", "a")]).result(_WAIT_S)
    assert [first is None for first in appended.firsts] == [True, True, False]
    assert drain_ids(journal, lead) == ["a", "b"]


def test_an_id_counts_again_only_after_the_window(journal: Journal, lead: Leadership) -> None:
    end = NOW + WINDOW_DAYS * _DAY
    assert not is_known(journal, "a", received_at=NOW)
    while journal.turn_window(lead, end):
        pass
    assert is_known(journal, "a", received_at=end)
    while journal.turn_window(lead, end + 1):
        pass
    assert not is_known(journal, "a", received_at=end + 1)
    assert drain_ids(journal, lead) == ["a", "a"]


def test_what_is_refused_for_want_of_room_is_not_there(place: Place) -> None:
    journal = place.open(bytes_max=2000)
    accepted = 0
    while (error := journal.append([make_event(f"e{accepted}")]).exception(_WAIT_S)) is None:
        accepted += 1
    assert isinstance(error, JournalFullError)
    assert error.retry_after_s > 0
    assert len(drain_ids(journal, take_lead(journal))) == accepted > 0
    assert not is_known(journal, f"e{accepted}")
    assert_balanced(journal)


# 4: blocks keep their members, order and token


def test_a_block_stays_the_same_until_it_is_settled(place: Place, journal: Journal) -> None:
    append(journal, "a", "b")
    append(journal, "c", project_id="prj_b")
    lead = take_lead(journal)
    block = journal.take_block(lead, 2)
    assert block is not None
    assert not block.was_sent
    wanted = describe(block)
    append(journal, "d")
    for rows_max in (1, 2, _ROWS_MAX):
        again = journal.take_block(lead, rows_max)
        assert again is not None
        assert again.was_sent
        assert describe(again) == wanted
    journal = place.reopen(journal)
    lead = take_lead(journal, "another")
    again = journal.take_block(lead, _ROWS_MAX)
    assert again is not None
    assert (describe(again), again.was_sent) == (wanted, True)
    assert journal.measure_backlog().rows == 4  # nothing has left
    journal.settle(lead, again, store_whole(again))
    assert not any(one.was_sent for one in drain(journal, lead))
    assert sum(one.stored for one in journal.load_balances()) == 4


def test_a_block_holds_what_fits_and_tells_whether_more_waits(journal: Journal, lead: Leadership) -> None:
    for size in (2, 2, 5, 1):
        append(journal, *(f"{journal.measure_backlog().rows}-{number}" for number in range(size)))
    blocks = list(drain(journal, lead, 4))
    assert [one.row_count for one in blocks] == [4, 5, 1]  # an entry is never divided
    assert [one.has_more for one in blocks] == [True, True, False]
    assert len({one.token for one in blocks}) == 3


def test_a_block_of_a_killed_process_is_taken_over_as_it_was(place: Place, journal: Journal) -> None:
    for number in range(5):
        append(journal, f"e{number}")
    place.close(journal)
    with place.run("take", "killed", "3") as process:
        assert process.stdout is not None
        wanted = json.loads(process.stdout.readline())
        process.kill()
    journal = place.open()
    lead = lead_soon(journal, "survivor")
    assert isinstance(lead, Leadership)
    block = journal.take_block(lead, _ROWS_MAX)
    assert block is not None
    assert (describe(block), block.was_sent) == (wanted, True)


def test_a_block_is_settled_once(journal: Journal, lead: Leadership) -> None:
    append(journal, "a")
    append(journal, "b")
    block = journal.take_block(lead, 1)
    assert block is not None
    journal.settle(lead, block, store_whole(block))
    with pytest.raises(ValueError, match="not in flight"):
        journal.settle(lead, block, store_whole(block))
    assert_balanced(journal)
    assert journal.measure_backlog().rows == 1


def test_refused_slices_are_remembered_until_their_block_is_settled(place: Place, journal: Journal) -> None:
    append(journal, "a", "b")
    lead = take_lead(journal)
    block = journal.take_block(lead, _ROWS_MAX)
    assert block is not None
    noted = {BlockSlice(0, 2): ("REASON", "message"), BlockSlice(1, 1): ("REASON", "another")}
    for part, (reason, message) in noted.items():
        journal.note_refusal(lead, block, part, reason, message)
    journal = place.reopen(journal)
    lead = take_lead(journal)
    block = journal.take_block(lead, _ROWS_MAX)
    assert block is not None
    assert journal.load_refusals(block) == noted
    journal.settle(lead, block, store_whole(block))
    append(journal, "c")
    following = journal.take_block(lead, _ROWS_MAX)
    assert following is not None
    assert journal.load_refusals(following) == {}


# 5: nothing of a lost epoch


def try_everything(journal: Journal, lead: Leadership, block: Block, erasure_id: str) -> None:
    """Try each change that only the leader may make; all are refused."""
    erasure = journal.erasures.find("prj_a", erasure_id).result(_WAIT_S)
    assert erasure is not None
    changes: list[Callable[[], object]] = [
        lambda: journal.take_block(lead, _ROWS_MAX),
        lambda: journal.note_refusal(lead, block, BlockSlice(0, 1), "REASON", "message"),
        lambda: journal.settle(lead, block, store_whole(block)),
        lambda: journal.turn_window(lead, NOW + 100 * _DAY),
        lambda: journal.take_back_dead_letters(lead),
        lambda: journal.erasures.plan(lead, erasure, ErasurePlan(devices=("device",))),
        lambda: journal.erasures.remove_dead_letters(lead, erasure),
        lambda: journal.erasures.finish(lead, erasure, {}, 0, NOW),
    ]
    for change in changes:
        with pytest.raises(LeadershipLostError):
            change()


def prepare_loss(journal: Journal, lead: Leadership) -> tuple[Block, str]:
    """A dead letter that is to be tried again, a block in flight and an erasure."""
    append(journal, "dead")
    block = journal.take_block(lead, _ROWS_MAX)
    assert block is not None
    journal.settle(lead, block, refuse_whole(block))
    journal.retry_dead_letters()
    append(journal, "a", "b")
    block = journal.take_block(lead, _ROWS_MAX)
    assert block is not None
    return block, journal.erasures.request("prj_a", "", "device", NOW + 1).result(_WAIT_S)


def resign(journal: Journal, lead: Leadership, _place: Place) -> None:
    journal.resign(lead)


def lapse(journal: Journal, lead: Leadership, _place: Place) -> None:
    assert journal.lead(lead.name, 0.01) == lead
    take_after = lead_soon(journal, "another")
    assert take_after != lead


def be_overtaken(_journal: Journal, lead: Leadership, place: Place) -> None:
    """By another process, while this one stands still and its lease ends."""
    _journal.lead(lead.name, 0.01)
    with place.run("take", "another", "1") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["ids"] == ["a", "b"]


@pytest.mark.parametrize("lose", [resign, lapse, be_overtaken])
def test_after_leadership_is_lost_nothing_of_its_epoch_commits(
    place: Place, journal: Journal, lose: Callable[[Journal, Leadership, Place], None]
) -> None:
    lead = take_lead(journal)
    block, erasure_id = prepare_loss(journal, lead)
    lose(journal, lead, place)
    balances, letters = journal.load_balances(), journal.list_dead_letters()
    try_everything(journal, lead, block, erasure_id)
    assert (journal.load_balances(), journal.list_dead_letters()) == (balances, letters)
    assert is_known(journal, "a")
    erasure = journal.erasures.find("prj_a", erasure_id).result(_WAIT_S)
    assert erasure is not None
    assert erasure.stage is ErasureStage.QUEUED
    journal = place.reopen(journal)
    lead = take_lead(journal, "next")
    again = journal.take_block(lead, _ROWS_MAX)
    assert again is not None
    assert (describe(again), journal.load_refusals(again)) == (describe(block), {})
    journal.settle(lead, again, store_whole(again))
    assert journal.take_back_dead_letters(lead) == 1
    assert drain_ids(journal, lead) == ["dead"]
    assert_balanced(journal)


def test_one_leads_at_a_time_and_keeps_the_epoch_by_asking_again(journal: Journal) -> None:
    lead = take_lead(journal)
    assert journal.lead("another", LEASE_S) is None
    assert journal.lead("loader", LEASE_S) == lead
    journal.resign(lead)
    taken = take_lead(journal, "another")
    assert taken.epoch != lead.epoch
    assert journal.lead("loader", LEASE_S) is None
    journal.resign(lead)  # which it has no more
    assert journal.lead("another", LEASE_S) == taken


# 6: received is the sum of all outcomes


def test_received_is_the_sum_of_all_outcomes_in_every_snapshot(journal: Journal, lead: Leadership) -> None:
    is_over = threading.Event()
    snapshots = []

    def watch() -> None:
        while not is_over.is_set():
            snapshots.append(journal.load_balances())

    def send(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(40):
            ids = [f"e{chance.randrange(400)}" for _ in range(chance.randrange(1, 8))]
            append(journal, *ids, project_id=chance.choice(["prj_a", "prj_b"]))
            journal.note("prj_a", Outcome.REJECTED, "invalid_payload", chance.randrange(3))

    with ThreadPoolExecutor(4) as threads:
        watching = threads.submit(watch)
        sending = [threads.submit(send, seed) for seed in range(3)]
        chance = random.Random(7)
        while not all(one.done() for one in sending):
            journal.flush_notes()
            if (block := journal.take_block(lead, 20)) is not None:
                journal.settle(lead, block, chance.choice([store_whole, refuse_whole])(block))
            if chance.random() < 0.2:
                journal.retry_dead_letters()
                journal.take_back_dead_letters(lead)
        is_over.set()
        watching.result(_WAIT_S)
        for one in sending:
            one.result(_WAIT_S)
    assert len(snapshots) > 10
    assert [one for balances in snapshots for one in balances if one.missing] == []
    journal.flush_notes()
    assert_balanced(journal)
    assert sum(one.received for one in journal.load_balances()) > 120


def test_notes_and_outcomes_survive_a_restart(place: Place, journal: Journal) -> None:
    append(journal, "a", "b", "a")
    journal.note("prj_a", Outcome.DROPPED, "opt_out", 2)
    lead = take_lead(journal)
    for block in drain(journal, lead):
        assert len(read_ids(block)) == 2
    journal = place.reopen(journal)  # a close flushes what is noted
    (balance,) = journal.load_balances()
    assert (balance.received, balance.stored, balance.duplicate, balance.dropped) == (5, 2, 1, {"opt_out": 2})
    assert balance.missing == 0


# 7: no entry is passed over


def test_every_append_is_in_one_block_whenever_it_was_committed(journal: Journal, lead: Leadership) -> None:
    acknowledged: list[EntryId] = []
    settled: list[Settled] = []
    journal.on_settled(settled.append)

    def send(caller: int) -> None:
        for number in range(60):
            acknowledged.extend(append(journal, f"{caller}-{number}", project_id=f"prj_{caller}"))

    loaded, blocks = [], 0
    with ThreadPoolExecutor(6) as threads:
        sending = [threads.submit(send, caller) for caller in range(6)]
        while True:
            are_sent = all(one.done() for one in sending)
            for block in drain(journal, lead, 10):
                loaded += read_ids(block)
                blocks += 1
            if are_sent:
                break
    for one in sending:
        one.result(_WAIT_S)
    assert sorted(loaded) == sorted(f"{caller}-{number}" for caller in range(6) for number in range(60))
    assert journal.are_settled(acknowledged)
    assert len(settled) == blocks
    members = [entry_id for one in settled for entry_id in one.entries]
    assert len(members) == len(set(members))
    assert set(acknowledged) <= set(members)
    assert journal.measure_backlog().rows == 0
    assert_balanced(journal)


def test_whoever_waits_for_entries_learns_when_they_are_settled(journal: Journal, lead: Leadership) -> None:
    settled: list[Settled] = []
    journal.on_settled(settled.append)
    assert journal.are_settled([])
    assert journal.find_last_waiting() == ()
    first = append(journal, "a")
    block = journal.take_block(lead, 1)
    assert block is not None
    second = append(journal, "b")
    repeated = append(journal, "a", "b")  # both are there: settled no sooner than they
    waiting = journal.find_last_waiting()
    assert not any(map(journal.are_settled, (first, second, repeated, waiting)))
    journal.settle(lead, block, store_whole(block))
    assert journal.are_settled(first)
    assert not any(map(journal.are_settled, (second, repeated, waiting)))
    block = journal.take_block(lead, _ROWS_MAX)
    assert block is not None
    journal.settle(lead, block, refuse_whole(block))
    assert all(map(journal.are_settled, (first, second, repeated, waiting)))
    assert [(set(first), set()), (set(second), set(second))] == [
        (set(one.entries), set(one.refused)) for one in settled
    ]
    assert append(journal, "a") == ()


def test_whoever_loads_is_told_of_appends(journal: Journal) -> None:
    told = threading.Event()
    journal.on_appended(told.set)
    append(journal, "a")
    assert told.wait(_WAIT_S)


# Dead letters and erasures


def test_dead_letters_are_marked_all_or_none_and_come_back_once(place: Place, journal: Journal) -> None:
    lead = take_lead(journal)
    append(journal, "a")
    append(journal, "b", project_id="prj_b")
    while (block := journal.take_block(lead, _ROWS_MAX)) is not None:
        journal.settle(lead, block, refuse_whole(block))
    letters = journal.list_dead_letters()
    assert [one.describe()[0]["event_id"] for one in letters] == ["a", "b"]
    assert journal.list_dead_letters("prj_b") == letters[1:]
    assert journal.list_dead_letters(limit=1) == letters[:1]
    assert journal.find_dead_letters("prj_a", {("a", NOW), ("b", NOW), ("a", NOW + 1)}).result(_WAIT_S) == {("a", NOW)}
    unknown = max(one.dead_letter_id for one in letters) + 1
    with pytest.raises(UnknownDeadLettersError) as raised:
        journal.retry_dead_letters([letters[0].dead_letter_id, unknown])
    assert raised.value.dead_letter_ids == [unknown]
    assert journal.take_back_dead_letters(lead) == 0
    marked = journal.retry_dead_letters(project_id="prj_b")
    assert (marked.events, marked.dead_letter_ids) == (1, {letters[1].dead_letter_id})
    journal = place.reopen(journal)
    lead = take_lead(journal)
    assert journal.take_back_dead_letters(lead) == 1
    assert journal.take_back_dead_letters(lead) == 0
    assert drain_ids(journal, lead) == ["b"]
    assert_balanced(journal)


def test_an_erasure_goes_on_after_a_restart_and_keeps_late_replays_out(place: Place, journal: Journal) -> None:
    lead = take_lead(journal)
    append(journal, "dead", user_id="u")
    while (block := journal.take_block(lead, _ROWS_MAX)) is not None:
        journal.settle(lead, block, refuse_whole(block))
    erasure_id = journal.erasures.request("prj_a", "u", "", NOW + 1).result(_WAIT_S)
    assert journal.erasures.find("prj_b", erasure_id).result(_WAIT_S) is None
    (erasure,) = journal.erasures.list_pending()
    plan = ErasurePlan(("device",), ("2026-09-21",), ("session",), {"events": 3})
    journal.erasures.plan(lead, erasure, plan)
    assert journal.erasures.remove_dead_letters(lead, erasure) == 1
    journal = place.reopen(journal)
    lead = take_lead(journal)
    (erasure,) = journal.erasures.list_pending()
    assert (erasure.stage, erasure.plan) == (ErasureStage.RUNNING, plan)
    assert journal.erasures.remove_dead_letters(lead, erasure) == 1  # as before the restart
    journal.erasures.finish(lead, erasure, {"events": 3, "dead_letters": 1}, 0, NOW + 2)
    assert journal.erasures.list_pending() == []
    journal = place.reopen(journal)
    found = journal.erasures.find("prj_a", erasure_id).result(_WAIT_S)
    assert found is not None
    assert (found.stage, found.rows_removed, found.completed_at) == (
        ErasureStage.DONE,
        {"events": 3, "dead_letters": 1},
        NOW + 2,
    )
    assert journal.erasures.concern("prj_a")
    assert journal.erasures.projects == {"prj_a"}
    assert not journal.erasures.concern("prj_b")
    append(journal, "late", user_id="u")
    append(journal, "anonymous", anonymous_id="device")
    append(journal, "new", user_id="u", timestamp=NOW + 5, received_at=NOW + 5)
    block = journal.take_block(take_lead(journal), _ROWS_MAX)
    assert block is not None
    covered = [journal.erasures.covers(row) for entry in block.entries for row in entry.unpack()]
    assert covered == [True, True, False]
    assert_balanced(journal)
