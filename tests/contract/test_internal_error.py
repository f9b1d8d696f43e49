"""A fault of ours through every door: the caller learns a request id and nothing else."""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from contract.case_files import DOORS
from contract.doors import Doors, WireCall
from contract.stage import assert_no_leak
from millimetric_server.api.call import Call
from millimetric_server.api.messages import TrackRequest, TrackResponse
from millimetric_server.api.rpc import UnaryRpc
from millimetric_server.control.records import KeyKind
from millimetric_server.control.store import open_control_store
from millimetric_server.doors.deps import DoorDeps, StatusDeps
from millimetric_server.doors.grpc.server import GrpcDoor
from millimetric_server.doors.http.app import HttpApp
from support.fake_journal import FakeJournal
from support.parts import make_door_deps, make_project, make_status_deps

_SECRET_TEXT = "the password of /var/lib/secret.db is hunter2"
_BODY_BYTES_MAX = 1_000_000


async def _fail(_call: Call, _request: TrackRequest, _deps: None) -> TrackResponse:
    raise RuntimeError(_SECRET_TEXT)


_RPC = UnaryRpc(
    "IngestService",
    "Track",
    frozenset({KeyKind.SECRET}),
    TrackRequest,
    TrackResponse,
    lambda request, _call: request,
    _fail,
    None,
)


@pytest.fixture(scope="module")
def broken() -> Iterator[tuple[Doors, str]]:
    """Both ports of a server whose one handler always fails, and a key of it."""
    store = open_control_store("sqlite://")
    directory, key = make_project(store)
    deps = make_door_deps(directory, FakeJournal())
    grpc_door = GrpcDoor(
        (_RPC,), deps, host="127.0.0.1", port=0, threads=2, streams_max=1, body_bytes_max=_BODY_BYTES_MAX
    )
    grpc_door.start()
    with socket.create_server(("127.0.0.1", 0)) as listener, _serve_http(deps, make_status_deps(directory), listener):
        doors = Doors(f"127.0.0.1:{grpc_door.port}", f"http://127.0.0.1:{listener.getsockname()[1]}")
        yield doors, key
        doors.close()
    grpc_door.close(1)
    store.close()


@contextlib.contextmanager
def _serve_http(deps: DoorDeps, status: StatusDeps, listener: socket.socket) -> Iterator[None]:
    app: Any = HttpApp((_RPC,), deps, status, _BODY_BYTES_MAX)
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
    thread = threading.Thread(target=asyncio.run, args=(server.serve([listener]),))
    thread.start()
    yield
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("door", DOORS)
def test_a_fault_tells_its_request_id_alone(
    broken: tuple[Doors, str], door: str, caplog: pytest.LogCaptureFixture
) -> None:
    doors, key = broken
    with caplog.at_level(logging.ERROR, "millimetric_server"):
        answer = doors.send(door, WireCall("Track", key, request={"event": "x"}))
    assert answer.reason == "internal_error"
    assert answer.code in (None, "INTERNAL")
    assert answer.http_status in (None, 500)
    assert "hunter2" not in answer.raw
    assert "RuntimeError" not in answer.raw
    assert_no_leak(answer)
    (record,) = caplog.records
    assert answer.details["request_id"] in record.getMessage()
