"""Traces one Track through the code: which of our functions are called, in order, from the socket to the answer.

`python -m support.track_trace` in tests/ prints both ways. The journal's writer works in a thread of its own, for many
calls at once, and is not part of a call's way.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType, SimpleNamespace
from typing import Any

import grpc

import millimetric_server
from millimetric.v1 import ingest_service_pb2, ingest_service_pb2_grpc
from millimetric_server.config import Settings, parse_rate_limits
from millimetric_server.control.store import open_control_store
from millimetric_server.doors.deps import DoorDeps
from millimetric_server.doors.grpc.server import GrpcDoor
from millimetric_server.doors.http.app import HttpApp
from millimetric_server.enrich.client_ip import NO_PROXIES
from millimetric_server.guards.deps import GuardDeps
from millimetric_server.ingest.deps import IngestDeps
from millimetric_server.journal.sqlite.journal import SqliteJournal
from millimetric_server.rpcs import make_rpcs
from millimetric_server.shares.limiter import Limiter
from millimetric_server.shares.places import Places
from support.parts import PEPPER, make_project, make_status_deps

_ROOT = f"{Path(millimetric_server.__file__).parent}/"
_NOW_US = 1_790_000_000_000_000
_EVENT = {"event": "signup", "anonymous_id": "device", "url": "https://shop.example/pricing?utm_source=news"}
_BODY_BYTES_MAX = 1_000_000
_WARM_UP_CALLS = 20
_OTHERS = ("journal", "MainThread")  # over gRPC, this thread is the client's
_NOTHING: Any = None


@dataclass(frozen=True)
class Step:
    """A function that was called."""

    file: str
    function: str

    @property
    def room(self) -> str:
        """The folder that it stands in."""
        return self.file.partition("/")[0]


@dataclass(frozen=True)
class Trace:
    """The functions that were called, in order. Coming back to one that waited is no call."""

    steps: Sequence[Step]

    @property
    def files(self) -> set[str]:
        """The files that they stand in."""
        return {step.file for step in self.steps}

    @property
    def room_switches(self) -> int:
        """How often the next function stood in another room."""
        rooms = [step.room for step in self.steps]
        return sum(one != other for one, other in pairwise(rooms))

    def describe(self) -> str:
        """Tell the figures in a line."""
        return f"{len(self.steps)} calls, {len(self.files)} files, {self.room_switches} room switches"


class _Tracer:
    """A profile function that notes calls of ours."""

    def __init__(self, ignored_threads: tuple[str, ...] = ()) -> None:
        self._ignored = ignored_threads
        self._frames: list[FrameType] = []  # kept, so that no later one has its id
        self.steps: list[Step] = []

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(_ROOT) or code.co_name.startswith("<"):
            return
        if threading.current_thread().name.startswith(self._ignored) or any(frame is one for one in self._frames):
            return
        self._frames.append(frame)
        self.steps.append(Step(code.co_filename.removeprefix(_ROOT), _name(code)))

    def clear(self) -> None:
        """Forget what was noted."""
        self._frames.clear()
        self.steps.clear()


def _name(code: CodeType) -> str:
    return code.co_qualname.replace(".<locals>", "")


@dataclass(frozen=True)
class _Place:
    rpcs: Any
    doors: DoorDeps
    key: str
    app: HttpApp


@contextlib.contextmanager
def _open_place() -> Iterator[_Place]:
    """Doors in front of a journal, with the default limits. No loader: nobody waits for it."""
    store = open_control_store("sqlite://")
    directory, key = make_project(store)
    with tempfile.TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder) / "journal.db", bytes_max=10**9, idempotency_window_days=7)
        journal.start()
        loader: Any = SimpleNamespace(waiters=Places("waits", 1))
        rpcs = make_rpcs(
            IngestDeps(journal, loader, lambda _ip: "", b"s" * 32, b"i" * 32, NO_PROXIES), _NOTHING, _NOTHING
        )
        limiter = Limiter(parse_rate_limits(Settings().rate_limits))
        doors = DoorDeps(GuardDeps(directory, limiter, PEPPER), journal, NO_PROXIES, lambda: _NOW_US)
        yield _Place(rpcs, doors, key, HttpApp(rpcs, doors, make_status_deps(directory), _BODY_BYTES_MAX))
        doors.bodies.close()
        journal.close()
    store.close()


def trace_grpc() -> Trace:
    """Trace a Track over gRPC: the threads that accept the call, admit it, and carry it out."""
    tracer = _Tracer(_OTHERS)
    threading.setprofile(tracer)
    try:
        with _open_place() as place:
            door = GrpcDoor(
                place.rpcs,
                place.doors,
                host="127.0.0.1",
                port=0,
                threads=2,
                streams_max=1,
                body_bytes_max=_BODY_BYTES_MAX,
                has_reflection=False,
            )
            door.start()
            with grpc.insecure_channel(f"127.0.0.1:{door.port}") as channel:
                track = ingest_service_pb2_grpc.IngestServiceStub(channel).Track
                metadata = (("authorization", f"Bearer {place.key}"),)
                for _ in range(_WARM_UP_CALLS):
                    track(ingest_service_pb2.TrackRequest(**_EVENT), metadata=metadata)
                _wait_until_idle(door)
                tracer.clear()
                track(ingest_service_pb2.TrackRequest(**_EVENT), metadata=metadata)
                _wait_until_idle(door)
                steps = tuple(tracer.steps)
            door.close(1)
    finally:
        threading.setprofile(None)  # type: ignore[arg-type]
    return Trace(steps)


def _wait_until_idle(door: GrpcDoor) -> None:
    """Until the threads have let go of the call: its answer is out before that."""
    while door._calls.is_busy:
        pass


def trace_rest() -> Trace:
    """Trace a Track over REST, on the event loop's thread."""
    tracer = _Tracer()
    body = json.dumps(_EVENT).encode()

    async def run(place: _Place) -> None:
        for _ in range(_WARM_UP_CALLS):
            await _send_rest(place, body)
        sys.setprofile(tracer)
        try:
            await _send_rest(place, body)
        finally:
            sys.setprofile(None)

    with _open_place() as place:
        asyncio.run(run(place))
    return Trace(tuple(tracer.steps))


async def _send_rest(place: _Place, body: bytes) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        assert message.get("status", 202) == 202

    headers = {
        "authorization": f"Bearer {place.key}",
        "content-type": "application/json",
        "content-length": str(len(body)),
    }
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/track",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.1", 5000),
    }
    await place.app(scope, receive, send)  # type: ignore[arg-type]


if __name__ == "__main__":
    for door, trace in (("gRPC", trace_grpc()), ("REST", trace_rest())):
        print(f"{door}: {trace.describe()}")
        for step in trace.steps:
            print(f"  {step.file:32}{step.function}")
