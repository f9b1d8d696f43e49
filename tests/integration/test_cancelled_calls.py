"""A call that is cancelled while it waits ends alone: whatever it waits for, and at whichever door.

Each request is made again and again, its task being cancelled at its first suspension, at its second, and so on until
it finishes. Afterwards writer and loader must still answer others.
"""

import asyncio
import contextlib
import json
import struct
from collections.abc import Callable, Coroutine, Generator, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from integration.stores import Engine, make_row
from millimetric_server.api.call import Streaming
from millimetric_server.api.rpc import AnyRpc
from millimetric_server.control.store import open_control_store
from millimetric_server.doors.deps import StatusDeps
from millimetric_server.doors.http.app import HttpApp
from millimetric_server.doors.http.rest import read_routes
from millimetric_server.enrich.client_ip import NO_PROXIES
from millimetric_server.ingest.deps import IngestDeps
from millimetric_server.journal.entries import EntryId
from millimetric_server.loading.errors import EventsDelayedError
from millimetric_server.privacy.deps import PrivacyDeps
from millimetric_server.reads.deps import ReadDeps
from millimetric_server.rpcs import make_rpcs
from support.parts import PEPPER, make_door_deps, make_project
from support.rpcs import RPCS

_BODY_BYTES_MAX = 1_000_000
_SUSPENSIONS_MAX = 50  # no call waits so often
_EVENT = {"event": "signup", "anonymous_id": "device", "ack": "stored"}
_RANGE = {"from": "2026-09-01", "to": "2026-10-01"}
_STEPS = [{"event": "a"}, {"event": "b"}]
REQUESTS: dict[str, dict[str, Any]] = {
    "Track": _EVENT,
    "Batch": {"events": [{"event": "a"}, {"event": "b"}], "ack": "stored"},
    "Identify": {"anonymous_id": "device", "user_id": "u", "ack": "stored"},
    "Forget": {"user_id": "nobody"},
    "GetErasure": {"erasure_id": "0190a000-0000-7000-8000-000000000000"},
    "Query": _RANGE,
    "Export": _RANGE,
    "Stats": _RANGE,
    "Sources": _RANGE,
    "Funnel": {**_RANGE, "steps": _STEPS, "window_seconds": 60},
    "Attribution": {**_RANGE, "conversion": {"event": "a"}, "value": "properties.n"},
    "Retention": {**_RANGE, "first_event": "a", "return_event": "b", "period": "week"},
    "Explain": {"event": "signup"},
}
# A stream both ways is gRPC's alone, and one without an end never finishes: test_tail.py has its callers hang up.
CALLED = [rpc for rpc in RPCS if rpc.streaming is not Streaming.BIDI and not rpc.is_endless]
_ROUTES = {route.rpc.name: route for route in read_routes(RPCS)}


@dataclass(frozen=True)
class HttpCall:
    """A request as an ASGI server hands it over."""

    verb: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def make_rest(rpc: AnyRpc) -> HttpCall:
    route, request = _ROUTES[rpc.name], REQUESTS[rpc.name]
    path = route.path.pattern.replace("(?P<erasure_id>[^/]+)", request.get("erasure_id", ""))
    if not route.has_body:
        query = "" if route.path.groups else "&".join(f"{name}={value}" for name, value in request.items())
        return HttpCall(route.verb, path, query)
    headers = (("content-type", "application/json"), ("millimetric-ack", "stored"))
    return HttpCall(route.verb, path, "", headers, json.dumps(request).encode())


def make_connect(rpc: AnyRpc, *headers: tuple[str, str]) -> HttpCall:
    words = {"stored": "ACK_STORED", "week": "PERIOD_WEEK"}
    dates = {"from": "2026-09-01T00:00:00Z", "to": "2026-10-01T00:00:00Z"}
    request = {
        _to_camel_case(name): dates.get(name) or (words.get(value, value) if isinstance(value, str) else value)
        for name, value in REQUESTS[rpc.name].items()
    }
    body = json.dumps(request).encode()
    if rpc.streaming is Streaming.SERVER:
        return HttpCall("POST", rpc.path, "", (("content-type", "application/connect+json"), *headers), _envelope(body))
    return HttpCall("POST", rpc.path, "", (("content-type", "application/json"), *headers), body)


def make_connect_with_deadline(rpc: AnyRpc) -> HttpCall:
    return make_connect(rpc, ("connect-timeout-ms", "60000"))


def make_grpc_web(rpc: AnyRpc) -> HttpCall:
    call = make_connect(rpc)
    body = call.body if rpc.streaming is Streaming.SERVER else _envelope(call.body)
    return HttpCall("POST", rpc.path, "", (("content-type", "application/grpc-web+json"), ("x-grpc-web", "1")), body)


def _envelope(message: bytes) -> bytes:
    return b"\0" + struct.pack(">I", len(message)) + message


DOORS: dict[str, Callable[[AnyRpc], HttpCall]] = {
    "rest": make_rest,
    "connect": make_connect,
    "connect_with_deadline": make_connect_with_deadline,
    "grpc_web": make_grpc_web,
}


class CancelledAt:
    """Runs a coroutine, and cancels its task where it suspends for the n-th time."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], suspension: int) -> None:
        self._steps = coroutine.__await__()
        self._suspension = suspension
        self.is_cancelled = False

    def __await__(self) -> Generator[Any, Any, None]:
        error: BaseException | None = None
        for number in count(1):
            try:
                waiting = next(self._steps) if error is None else self._steps.throw(error)
            except StopIteration:
                return
            if number == self._suspension:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                self.is_cancelled = True
            try:
                yield waiting
                error = None
            except BaseException as thrown:  # noqa: BLE001 - it is the coroutine's
                error = thrown


class Caller:
    """Makes calls of an app in this process, as an ASGI server would."""

    def __init__(self, app: HttpApp, key: str) -> None:
        self._app = app
        self._key = key

    async def call(self, call: HttpCall, cancelled_at: int = 0) -> tuple[int, bool]:
        """Make a call; returns the HTTP status (0: none came) and whether it was cancelled."""
        status, is_gone = 0, asyncio.Event()
        incoming = iter([{"type": "http.request", "body": call.body, "more_body": False}])

        async def receive() -> dict[str, Any]:
            for message in incoming:
                return message
            await is_gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            nonlocal status
            await asyncio.sleep(0)
            status = message.get("status", status)

        headers = (("authorization", f"Bearer {self._key}"), *call.headers)
        scope = {
            "type": "http",
            "method": call.verb,
            "path": call.path,
            "raw_path": call.path.encode(),
            "root_path": "",
            "query_string": call.query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers],
            "client": ("192.0.2.1", 5000),
            "http_version": "1.1",
            "scheme": "http",
            "extensions": {},
        }
        running = CancelledAt(self._app(scope, receive, send), cancelled_at)

        async def run() -> None:
            await running

        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.create_task(run())
        is_gone.set()
        return status, running.is_cancelled


@pytest.fixture
def caller(engine: Engine) -> Iterator[Caller]:
    store = open_control_store("sqlite://")
    directory, key = make_project(store)
    rpcs = make_rpcs(
        IngestDeps(engine.journal, engine.loader, lambda _ip: "", b"s" * 32, b"i" * 32, NO_PROXIES),
        PrivacyDeps(engine.erasures, engine.loader.notify),
        ReadDeps(engine.store, PEPPER),
    )
    doors = make_door_deps(directory, engine.journal, lambda: make_row().received_at)
    status = StatusDeps(directory, engine.journal, engine.loader, engine.store, doors.streams)
    yield Caller(HttpApp(rpcs, doors, status, _BODY_BYTES_MAX), key)
    store.close()


def test_every_rpc_is_cancelled_here() -> None:
    assert {rpc.name for rpc in CALLED} == set(REQUESTS)


@pytest.mark.parametrize(
    "door", [pytest.param(door, marks=[pytest.mark.slow] if "connect" in door else []) for door in DOORS]
)
def test_a_call_cancelled_at_any_await_ends_alone(engine: Engine, caller: Caller, door: str) -> None:
    async def cancel_everywhere(rpc: AnyRpc) -> int:
        for suspension in range(1, _SUSPENSIONS_MAX):
            status, is_cancelled = await caller.call(DOORS[door](rpc), suspension)
            if not is_cancelled:
                return status
        raise AssertionError(f"{rpc.name} never finishes")

    for rpc in CALLED:
        finished = asyncio.run(cancel_everywhere(rpc))
        engine.append(make_row(event_id=rpc.name))  # raises if writer or loader do not answer
        assert finished in (200, 202, 404), rpc.name
    assert not any(worker.has_died for worker in engine.journal.workers)
    assert not engine.loader.worker.has_died


def test_a_cancelled_caller_leaves_the_others_of_its_block_answered(engine: Engine, caller: Caller) -> None:
    async def call_together() -> list[tuple[int, bool]]:
        calls = (caller.call(make_rest(RPCS[0]), cancelled_at=2 if number % 3 == 0 else 0) for number in range(12))
        return await asyncio.wait_for(asyncio.gather(*calls), 30)

    answers = asyncio.run(call_together())
    assert [status for status, is_cancelled in answers if not is_cancelled] == [202] * 8
    engine.append(make_row(event_id="afterwards"))


def test_callers_that_give_up_while_clickhouse_is_away_stop_nobody(engine: Engine) -> None:
    """The loader fails whoever waits when ClickHouse does not answer."""
    waiting = [engine.loader.wait_loaded([EntryId(str(10**9))]) for _ in range(3)]
    waiting[0].cancel()
    engine.loader._note_failure()
    for promise in waiting:
        assert promise.exception(30) is not None
    engine.append(make_row(event_id="afterwards"))


def test_readiness_sees_a_dead_worker(engine: Engine, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def die() -> float:
        raise SystemExit

    assert asyncio.run(caller.call(HttpCall("GET", "/readyz"))) == (200, False)
    monkeypatch.setattr(engine.loader, "_take_turn", die)
    engine.loader.notify()
    engine.loader.worker.join(30)
    assert asyncio.run(caller.call(HttpCall("GET", "/readyz"))) == (503, False)
    assert isinstance(engine.loader.wait_loaded([EntryId("1")]).exception(10), EventsDelayedError)


def _to_camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)
