"""The outermost layer of every door: the order of what a call passes, and what becomes of its failures."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import REGISTRY

from millimetric_server.api.call import Call
from millimetric_server.api.errors import AppError, Reason, Violation, invalid_payload
from millimetric_server.api.messages import TrackRequest, TrackResponse
from millimetric_server.api.pending import Pending, PendingCoroutine
from millimetric_server.api.rpc import UnaryRpc
from millimetric_server.control.directory import Directory
from millimetric_server.control.records import KeyKind, RateLimit
from millimetric_server.control.store import ControlStore, open_control_store
from millimetric_server.doors.boundary import carry_out, make_request_id, run, wait_async, wait_blocking
from millimetric_server.doors.codecs.json import encode_rest
from millimetric_server.doors.deps import DoorDeps
from millimetric_server.enrich.client_ip import NO_PROXIES
from millimetric_server.guards.deps import GuardDeps
from millimetric_server.journal.errors import NotAppendedError
from millimetric_server.process.workers import complete, make_promise
from millimetric_server.shares.limiter import Limiter
from support.fake_journal import FakeJournal
from support.parts import PEPPER, make_project

_SECRET_TEXT = "the password of /var/lib/secret.db is hunter2"

_SCOPE = frozenset({KeyKind.SECRET})
_MESSAGES = (TrackRequest, TrackResponse)
Handler = Callable[[Call, TrackRequest, None], PendingCoroutine[TrackResponse]]


async def _answer(call: Call, _request: TrackRequest, _deps: None) -> TrackResponse:
    call.owed.settle(1)
    return TrackResponse(ok=True)


async def _fail_at_once(_call: Call, _request: TrackRequest, _deps: None) -> TrackResponse:
    raise RuntimeError(_SECRET_TEXT)


async def _answer_nonsense(call: Call, _request: TrackRequest, _deps: None) -> TrackResponse:
    call.owed.settle(1)
    return TrackResponse(ok=object())  # type: ignore[arg-type]


async def _refuse(_call: Call, _request: TrackRequest, _deps: None) -> TrackResponse:
    raise AppError(Reason.OVERLOADED, "the journal is full", retry_after_s=5) from RuntimeError(_SECRET_TEXT)


async def _find_no_room(_call: Call, _request: TrackRequest, _deps: None) -> TrackResponse:
    raise NotAppendedError("the journal is full", 5)


async def _forget_to_settle(_call: Call, _request: TrackRequest, _deps: None) -> TrackResponse:
    return TrackResponse(ok=True)


def _accept(request: TrackRequest, _call: Call) -> TrackRequest:
    return request


def _reject(_request: TrackRequest, _call: Call) -> TrackRequest:
    raise invalid_payload((Violation("event", "is required"),))


def _fail_to_decode() -> TrackRequest:
    raise ValueError(_SECRET_TEXT)


def _make_rpc(
    handler: Handler = _answer, check: Callable[[TrackRequest, Call], TrackRequest] = _accept
) -> UnaryRpc[TrackRequest, TrackRequest, TrackResponse, None]:
    return UnaryRpc(
        "IngestService", "Track", _SCOPE, *_MESSAGES, check, handler, None, limit="track", count=lambda _request: 1
    )


@dataclass
class Place:
    """One project, and a boundary in front of it."""

    store: ControlStore
    directory: Directory
    key: str
    journal: FakeJournal = field(default_factory=FakeJournal)
    limits: dict[str, RateLimit | None] = field(default_factory=dict)

    def make_call(self, rpc: Any, request_id: str = "a-request", **headers: str) -> Call:
        return Call(rpc, "rest", {"authorization": f"Bearer {self.key}", **headers}, "192.0.2.1", 0, request_id)

    def make_deps(self) -> DoorDeps:
        return DoorDeps(GuardDeps(self.directory, Limiter(self.limits), PEPPER), self.journal, NO_PROXIES, lambda: 0)

    def run(
        self, handler: Handler, decode: Callable[[], TrackRequest] = TrackRequest, request_id: str = "a-request"
    ) -> bytes | AppError:
        rpc = _make_rpc(handler)
        return wait_blocking(run(self.make_call(rpc, request_id), rpc, decode, encode_rest, self.make_deps()))

    def refuse(self, call: Call, rpc: Any, decode: Callable[[], TrackRequest] = TrackRequest) -> AppError:
        error = wait_blocking(carry_out(call, rpc, decode, encode_rest, self.make_deps()))
        assert isinstance(error, AppError)
        return error


@pytest.fixture
def place() -> Iterator[Place]:
    store = open_control_store("sqlite://")
    yield Place(store, *make_project(store))
    store.close()


@pytest.mark.parametrize(
    ("handler", "decode"),
    [
        pytest.param(_fail_at_once, TrackRequest, id="handler"),
        pytest.param(_answer, _fail_to_decode, id="decoder"),
        pytest.param(_answer_nonsense, TrackRequest, id="encoder"),
        pytest.param(_forget_to_settle, TrackRequest, id="an event that is not accounted for"),
    ],
)
def test_a_fault_becomes_internal_error_with_the_request_id_of_the_log(
    place: Place, handler: Handler, decode: Callable[[], TrackRequest], caplog: pytest.LogCaptureFixture
) -> None:
    request_id = make_request_id()
    with caplog.at_level(logging.ERROR):
        error = place.run(handler, decode, request_id)
    assert isinstance(error, AppError)
    assert error.reason is Reason.INTERNAL_ERROR
    assert error.metadata == {"request_id": request_id}
    assert error.violations == ()
    assert "hunter2" not in error.message
    (record,) = caplog.records
    assert request_id in record.getMessage()
    assert record.exc_info is not None


def test_a_planned_error_passes_as_it_is(place: Place) -> None:
    error = place.run(_refuse)
    assert isinstance(error, AppError)
    assert error.reason is Reason.OVERLOADED
    assert error.retry_after_s == 5


@pytest.mark.parametrize(
    ("handler", "noted"),
    [
        pytest.param(_answer, [], id="settled"),
        pytest.param(_refuse, [("rejected", "overloaded", 1)], id="refused"),
        pytest.param(_find_no_room, [("rejected", "overloaded", 1)], id="refused by the journal in its own words"),
        pytest.param(_fail_at_once, [("rejected", "internal_error", 1)], id="fault"),
        pytest.param(_forget_to_settle, [("rejected", "internal_error", 1)], id="forgotten"),
    ],
)
def test_an_event_that_failed_stands_in_the_ledger(
    place: Place, handler: Handler, noted: list[tuple[str, str, int]]
) -> None:
    place.run(handler)
    assert place.journal.noted == noted


def test_an_answer_is_encoded(place: Place) -> None:
    assert place.run(_answer) == b'{"ok":true}'


def test_a_fault_is_counted(place: Place) -> None:
    labels = {"rpc": "Track", "door": "rest", "reason": "internal_error"}
    before = REGISTRY.get_sample_value("millimetric_requests_total", labels) or 0
    place.run(_fail_at_once)
    assert REGISTRY.get_sample_value("millimetric_requests_total", labels) == before + 1


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"authorization": ""}, Reason.MISSING_BEARER_TOKEN),
        ({"authorization": "Bearer sk_live_00000000_" + "x" * 43}, Reason.INVALID_API_KEY),
        ({"origin": "https://a.example,https://b.example"}, Reason.ORIGIN_NOT_ALLOWED),
    ],
)
def test_the_body_of_a_stranger_or_a_foreign_page_is_not_decoded(
    place: Place, headers: dict[str, str], reason: Reason
) -> None:
    rpc = _make_rpc()
    assert place.refuse(place.make_call(rpc, **headers), rpc, _fail_to_decode).reason is reason


def test_a_bad_call_costs_its_sender_no_token_and_a_good_one_does(place: Place) -> None:
    place.limits["track"] = RateLimit(0.001, 1)
    deps, bad, good = place.make_deps(), _make_rpc(check=_reject), _make_rpc()

    def call(rpc: Any) -> bytes | AppError:
        return wait_blocking(carry_out(place.make_call(rpc), rpc, TrackRequest, encode_rest, deps))

    answers = [call(rpc) for rpc in (bad, bad, good, good)]
    reasons = [answer.reason.value if isinstance(answer, AppError) else "ok" for answer in answers]
    assert reasons == ["invalid_payload", "invalid_payload", "ok", "rate_limited"]
    assert place.journal.noted == [("rejected", "invalid_payload", 1)] * 2 + [("rejected", "rate_limited", 1)]


def test_a_call_that_was_admitted_is_looked_at_again_only_when_keys_have_changed(place: Place) -> None:
    rpc, seen = _make_rpc(), list[str]()
    call = place.make_call(rpc)
    find_key = place.directory.find_key
    place.directory.find_key = lambda prefix: seen.append(prefix) or find_key(prefix)  # type: ignore[func-returns-value,method-assign]

    def repeat() -> bytes | AppError:
        return wait_blocking(carry_out(call, rpc, TrackRequest, encode_rest, place.make_deps()))

    assert [repeat(), repeat()] == [b'{"ok":true}'] * 2
    assert len(seen) == 1
    place.store.revoke_key(seen[0])
    assert repeat() == b'{"ok":true}'  # nobody has heard of it yet
    place.directory.refresh()
    refused = repeat()
    assert isinstance(refused, AppError)
    assert refused.reason is Reason.INVALID_API_KEY


async def _wait_for(future: "Future[int]", told: list[str]) -> int:
    try:
        return await Pending(future) + 1
    except ValueError:
        return -1
    finally:
        told.append("ended")


def _make_call() -> Call:
    return Call(_make_rpc(), "rest", {}, "192.0.2.1", 0, "a-request")


def _wait_in_thread(future: "Future[int]", told: list[str]) -> int:
    return wait_blocking(_wait_for(future, told))


def _wait_on_loop(future: "Future[int]", told: list[str]) -> int:
    return asyncio.run(wait_async(_wait_for(future, told), _make_call()))


@pytest.mark.parametrize("wait", [_wait_in_thread, _wait_on_loop], ids=["thread", "loop"])
def test_what_a_coroutine_awaits_comes_from_another_thread(wait: Callable[["Future[int]", list[str]], int]) -> None:
    good, bad, told = Future[int](), Future[int](), list[str]()
    threading.Timer(0.01, good.set_result, (1,)).start()
    threading.Timer(0.01, bad.set_exception, (ValueError(),)).start()
    assert [wait(good, told), wait(bad, told)] == [2, -1]
    assert told == ["ended"] * 2


def test_a_cancelled_task_ends_its_coroutine_and_leaves_the_future_to_its_worker() -> None:
    future, told, call = make_promise(), list[str](), _make_call()

    async def run() -> None:
        task = asyncio.create_task(wait_async(_wait_for(future, told), call))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert told == ["ended"]
    assert call.cancellation.is_cancelled
    complete(future, 1)
    assert future.result(0) == 1
