"""The outermost layer of every door: a fault tells the caller its request id, and the log the rest."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from millimetric_server.api.call import Call, Deps, Rpc
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.api.messages import TrackRequest, TrackResponse
from millimetric_server.api.pending import Pending, PendingCoroutine
from millimetric_server.control.directory import Directory
from millimetric_server.control.records import Environment, KeyKind
from millimetric_server.control.store import open_control_store
from millimetric_server.doors.boundary import Reply, make_request_id, run, wait_async, wait_blocking
from millimetric_server.doors.codecs.json import encode_rest
from millimetric_server.process.workers import complete, make_promise
from millimetric_server.server_secrets import ServerSecrets
from millimetric_server.shares.limiter import Limiter
from support.fake_journal import FakeJournal

_SECRET_TEXT = "the password of /var/lib/secret.db is hunter2"
_PEPPER = b"p" * 32
_NOT_USED: Any = None

Handler = Callable[[Call, Deps], PendingCoroutine[TrackResponse]]


async def _answer(_call: Call, _deps: Deps) -> TrackResponse:
    return TrackResponse(ok=True)


async def _fail_at_once(_call: Call, _deps: Deps) -> TrackResponse:
    raise RuntimeError(_SECRET_TEXT)


async def _answer_nonsense(_call: Call, _deps: Deps) -> TrackResponse:
    return TrackResponse(ok=object())  # type: ignore[arg-type]


async def _refuse(_call: Call, _deps: Deps) -> TrackResponse:
    raise AppError(Reason.OVERLOADED, "the journal is full", retry_after_s=5) from RuntimeError(_SECRET_TEXT)


def _validate(message: TrackRequest, call: Call) -> TrackRequest:
    call.uncounted_events = 1
    return message


def _make_rpc(handler: Handler) -> Rpc:
    scope = frozenset({KeyKind.SECRET})
    return Rpc("IngestService", "Track", TrackRequest, TrackResponse, scope, handler, _validate)


def run_track(
    handler: Handler,
    *,
    decode: Callable[[], Any] = TrackRequest,
    request_id: str | None = None,
    journal: Any = None,
) -> Reply[bytes]:
    store = open_control_store("sqlite://")
    store.create_project("shop")
    key = store.create_key(KeyKind.SECRET, Environment.LIVE, _PEPPER, project="shop")
    directory = Directory(store)
    directory.refresh()
    deps = Deps(
        directory=directory,
        secrets=ServerSecrets(ip_salt=b"s" * 32, identity_key=b"i" * 32, key_pepper=_PEPPER),
        limiter=Limiter({}),
        journal=journal or FakeJournal(),
        erasures=_NOT_USED,
        loader=_NOT_USED,
        store=_NOT_USED,
        countries=_NOT_USED,
        trusted_proxies=(),
        read_clock_us=lambda: 0,
    )
    call = Call(
        rpc=_make_rpc(handler),
        door="rest",
        headers={"authorization": f"Bearer {key.text}"},
        peer="192.0.2.1",
        decode=decode,
        received_at=0,
        request_id=request_id or make_request_id(),
    )
    try:
        return wait_blocking(run(call, deps, encode_rest))
    finally:
        store.close()


def _fail_to_decode() -> TrackRequest:
    raise ValueError(_SECRET_TEXT)


@pytest.mark.parametrize(
    ("handler", "decode"),
    [
        pytest.param(_fail_at_once, TrackRequest, id="handler"),
        pytest.param(_answer, _fail_to_decode, id="decoder"),
        pytest.param(_answer_nonsense, TrackRequest, id="encoder"),
    ],
)
def test_a_fault_becomes_internal_error_with_the_request_id_of_the_log(
    handler: Handler, decode: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    request_id = make_request_id()
    with caplog.at_level(logging.ERROR):
        reply = run_track(handler, decode=decode, request_id=request_id)
    assert reply.body == b""
    error = reply.error
    assert error is not None
    assert error.reason is Reason.INTERNAL_ERROR
    assert error.metadata == {"request_id": request_id}
    assert error.violations == ()
    assert "hunter2" not in error.message
    (record,) = caplog.records
    assert request_id in record.getMessage()
    assert record.exc_info is not None


def test_a_planned_error_passes_as_it_is() -> None:
    reply = run_track(_refuse)
    assert reply.error is not None
    assert reply.error.reason is Reason.OVERLOADED
    assert reply.error.retry_after_s == 5


@pytest.mark.parametrize(
    ("handler", "noted"),
    [
        pytest.param(_refuse, [("rejected", "overloaded", 1)], id="refused"),
        pytest.param(_fail_at_once, [("rejected", "internal_error", 1)], id="fault"),
    ],
)
def test_an_event_that_failed_stands_in_the_ledger(handler: Handler, noted: list[tuple[str, str, int]]) -> None:
    journal = FakeJournal()
    run_track(handler, journal=journal)
    assert journal.noted == noted


def test_an_answer_is_encoded() -> None:
    reply = run_track(_answer)
    assert reply == Reply(b'{"ok":true}')


def test_a_fault_is_counted() -> None:
    from prometheus_client import REGISTRY

    labels = {"rpc": "Track", "door": "rest", "reason": "internal_error"}
    before = REGISTRY.get_sample_value("millimetric_requests_total", labels) or 0
    run_track(_fail_at_once)
    assert REGISTRY.get_sample_value("millimetric_requests_total", labels) == before + 1


async def _wait_for(future: "Future[int]", told: list[str]) -> int:
    try:
        return await Pending(future) + 1
    except ValueError:
        return -1
    finally:
        told.append("ended")


def _make_call() -> Call:
    return Call(_make_rpc(_answer), "rest", {}, "192.0.2.1", TrackRequest, 0, "a-request")


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
