"""Followers get what they asked for while it fits, and the number of what did not; nobody ever waits for one."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import UNSET

from integration.stores import NOW, make_row
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.api.messages import Ack, TailResponse
from millimetric_server.control.records import KeyKind, Project
from millimetric_server.enrich.checked_event import CheckedEvent
from millimetric_server.enrich.client_ip import NO_PROXIES
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.following import follower as follower_module
from millimetric_server.following import followers as followers_module
from millimetric_server.following.followed_row import FollowedRow
from millimetric_server.following.follower import QUEUE_BYTES_MAX, QUEUE_ROWS_MAX, Follower
from millimetric_server.following.followers import Followers
from millimetric_server.ingest.deps import IngestDeps
from millimetric_server.ingest.store_events import store_events
from millimetric_server.journal.entries import Appended, FirstAnswer
from millimetric_server.journal.errors import JournalUnavailableError
from millimetric_server.shares.places import Places

_PATIENCE_S = 60.0
_CREATED = datetime(2026, 1, 1, tzinfo=UTC)
_AGAIN = FirstAnswer("device", "session", 1)


@pytest.fixture
def followers() -> Iterator[Followers]:
    made = Followers()
    yield made
    made.close()


def follow(followers: Followers, project_id: str = "prj_a", event: str = "") -> Follower:
    return followers.follow(project_id, lambda row: event in ("", row.row.event))


def tell(followers: Followers, *rows: EventRow, firsts: Sequence[FirstAnswer | None] = ()) -> None:
    appending: Future[Appended] = Future()
    appending.set_result(Appended((), firsts or [None] * len(rows)))
    followers.tell(rows, appending)


def name(number: int, size: int = 0) -> EventRow:
    return make_row(event_id=str(number), properties='{"x":"' + "x" * size + '"}')


def wait(follower: Follower) -> TailResponse:
    while (message := follower.take()) is None:
        waiting = follower.read_on()
        assert waiting is not None
        waiting.result(_PATIENCE_S)
    return message


def read_id(message: TailResponse) -> str:
    assert message.row is not UNSET
    return message.row.event_id


def offer(follower: Follower, *numbers: int, size: int = 0) -> int:
    """Offer rows; returns how many found room."""
    return sum(follower.offer(FollowedRow(name(number, size))) for number in numbers)


def make_follower() -> Follower:
    return Follower("prj_a", lambda _row: True, lambda _follower: None)


def test_a_follower_gets_the_new_events_of_its_project_and_filter_in_order(followers: Followers) -> None:
    mine, purchases, other = follow(followers), follow(followers, event="purchase"), follow(followers, "prj_b")
    tell(followers, make_row(event_id="1"), make_row(event_id="2", event="purchase"))
    tell(followers, make_row(event_id="3", event="purchase"))
    tell(followers, make_row(event_id="4", project_id="prj_b"))
    assert [read_id(wait(mine)) for _ in range(3)] == ["1", "2", "3"]
    assert [read_id(wait(purchases)) for _ in range(2)] == ["2", "3"]
    assert read_id(wait(other)) == "4"


def test_a_repeated_event_and_a_refused_one_are_not_told(followers: Followers) -> None:
    one = follow(followers)
    refused: Future[Appended] = Future()
    refused.set_exception(JournalUnavailableError("full", 1.0))
    followers.tell([make_row(event_id="refused")], refused)
    tell(followers, make_row(event_id="1"), make_row(event_id="2"), firsts=[_AGAIN, None])
    tell(followers, make_row(event_id="1"), firsts=[_AGAIN])
    tell(followers, make_row(event_id="3"))
    assert [read_id(wait(one)) for _ in range(2)] == ["2", "3"]


def test_the_message_behind_a_gap_tells_how_wide_it_was() -> None:
    one = make_follower()
    assert offer(one, *range(QUEUE_ROWS_MAX + 7)) == QUEUE_ROWS_MAX
    assert [read_id(wait(one)) for _ in range(10)] == [str(number) for number in range(10)]
    assert offer(one, 5000, 5001) == 2
    told = [wait(one) for _ in range(QUEUE_ROWS_MAX - 10 + 2)]
    assert [(read_id(message), message.missed) for message in told[-3:]] == [
        (str(QUEUE_ROWS_MAX - 1), 0),
        ("5000", 7),
        ("5001", 0),
    ]
    assert one.take() is None


def test_a_gap_that_nothing_follows_is_told_by_itself() -> None:
    one = make_follower()
    offer(one, *range(QUEUE_ROWS_MAX + 3))
    told = [wait(one) for _ in range(QUEUE_ROWS_MAX + 1)]
    assert told[-1] == TailResponse(missed=3)
    assert one.take() is None


def test_large_events_fill_the_queue_sooner() -> None:
    one = make_follower()
    taken = offer(one, *range(QUEUE_ROWS_MAX), size=8000)
    assert 50 < taken <= QUEUE_BYTES_MAX // 8000 + 1
    assert wait(one).missed == 0
    assert offer(one, 1, size=8000) == 1


def test_missed_events_are_counted_for_the_operator(followers: Followers) -> None:
    one = follow(followers)
    tell(followers, *map(name, range(QUEUE_ROWS_MAX + 200)))
    followers.close()  # behind all that was told
    told = list(iter(one.take, None))
    assert [message.missed for message in told] == [0] * QUEUE_ROWS_MAX + [200]
    assert followers.missed == {"prj_a": 200}


def test_rows_that_come_faster_than_filters_are_evaluated_are_counted_too(
    followers: Followers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers_module, "_INBOX_ROWS_MAX", 10)
    is_busy, go_on = threading.Event(), threading.Event()

    def hold(_row: FollowedRow) -> bool:
        is_busy.set()
        return go_on.wait(_PATIENCE_S)

    one = followers.follow("prj_a", hold)
    tell(followers, name(0))
    assert is_busy.wait(_PATIENCE_S)
    for number in range(1, 31):
        tell(followers, name(number))
    go_on.set()
    told = [wait(one)]
    while sum(message.missed for message in told) == 0:
        told.append(wait(one))
    rows = [message for message in told if message.row is not UNSET]
    while (message := one.take()) is not None:
        rows.append(message)
    assert len(rows) + sum(message.missed for message in told) == 31
    assert followers.missed == {"prj_a": 31 - len(rows)}


def test_one_projects_rows_leave_room_for_anothers(followers: Followers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers_module, "_INBOX_ROWS_MAX", 10)
    is_busy, go_on = threading.Event(), threading.Event()

    def hold(_row: FollowedRow) -> bool:
        is_busy.set()
        return go_on.wait(_PATIENCE_S)

    followers.follow("prj_a", hold)
    modest = follow(followers, "prj_b")
    tell(followers, name(0))
    assert is_busy.wait(_PATIENCE_S)
    for number in range(30):
        tell(followers, name(number))
    tell(followers, make_row(event_id="modest", project_id="prj_b"))
    go_on.set()
    assert (read_id(message := wait(modest)), message.missed) == ("modest", 0)
    followers.close()
    assert followers.missed == {"prj_a": 25, "prj_b": 0}


def test_an_event_is_told_although_its_caller_is_gone_when_it_becomes_durable(followers: Followers) -> None:
    appending: Future[Appended] = Future()
    nothing: Any = SimpleNamespace()
    journal: Any = SimpleNamespace(append=lambda _events: appending, erasures=SimpleNamespace(projects=()))
    deps = IngestDeps(journal, nothing, lambda _ip: "", b"s" * 32, b"i" * 32, NO_PROXIES, followers)
    key: Any = SimpleNamespace(kind=KeyKind.SECRET)
    call: Any = SimpleNamespace(
        headers={}, key=key, project=Project("prj_a", "default", "a", _CREATED), received_at=NOW, peer="192.0.2.1"
    )
    one = follow(followers)
    storing = store_events([CheckedEvent(event="signup", event_id="1")], Ack.DURABLE, call, deps)
    assert storing.send(None) is appending
    storing.close()
    appending.set_result(Appended((), [None]))
    assert read_id(wait(one)) == "1"


def test_a_filter_that_fails_ends_nobody(followers: Followers) -> None:
    def fail(_row: FollowedRow) -> bool:
        raise ValueError

    followers.follow("prj_b", fail)
    one = follow(followers)
    tell(followers, make_row(project_id="prj_b"))
    tell(followers, make_row(event_id="1"))
    assert read_id(wait(one)) == "1"


def test_silence_is_broken_by_a_sign_of_life(followers: Followers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "BEAT_AFTER_S", 0.0)
    one = follow(followers)
    assert [wait(one), wait(one)] == [TailResponse(), TailResponse()]


def test_a_follower_that_is_closed_is_forgotten_at_once_while_it_waits(followers: Followers) -> None:
    one, other = follow(followers), follow(followers)
    waiting = one.read_on()
    assert waiting is not None
    one.close()
    one.close()
    waiting.result(0)
    assert (one.take(), one.read_on()) == (None, None)
    assert (followers.followed, followers.places.taken) == ({"prj_a": (other,)}, 1)
    other.close()
    assert (followers.followed, followers.places.taken) == ({}, 0)


def test_a_project_has_its_share_of_places() -> None:
    followers = Followers(Places("followers", 4))
    follow(followers), follow(followers)
    with pytest.raises(AppError) as refused:
        follow(followers)
    assert refused.value.reason is Reason.OVERLOADED
    assert refused.value.retry_after_s
    follow(followers, "prj_b")
    followers.close()


def test_the_end_comes_behind_what_is_queued_and_nobody_follows_any_more() -> None:
    followers = Followers()
    one = follow(followers)
    tell(followers, *map(name, range(100)))
    followers.close()
    assert [read_id(wait(one)) for _ in range(100)] == [str(number) for number in range(100)]
    for end in (one.read_on, lambda: follow(followers)):
        with pytest.raises(AppError, match="shutting down"):
            end()
    one.close()
    assert followers.places.taken == 0
