"""Our doors with the conformance suite's service in them, started by the suite's runner for each configuration.

What to serve comes on standard input, where it is served goes to standard output, each message behind its length.
"""

import asyncio
import logging
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvicorn

from conformance import protos, service
from millimetric_server.api.errors import AppError
from millimetric_server.control.keys import MintedKey, mint_key
from millimetric_server.control.records import Environment, Key, KeyKind, Project, Revision
from millimetric_server.doors import error_details
from millimetric_server.doors.deps import DoorDeps
from millimetric_server.doors.grpc import call as grpc_call
from millimetric_server.doors.grpc import server as grpc
from millimetric_server.doors.grpc import server_stream as grpc_stream
from millimetric_server.doors.grpc import unary as grpc_unary
from millimetric_server.doors.http import app as http
from millimetric_server.doors.http import connect_wire, grpc_web
from millimetric_server.doors.http.connect import ConnectDoor
from millimetric_server.enrich.client_ip import NO_PROXIES
from millimetric_server.guards.deps import GuardDeps
from millimetric_server.shares.limiter import Limiter
from support.fake_journal import FakeJournal
from support.parts import make_status_deps

_PEPPER = b"pepper"
_BODY_BYTES_MAX = 1024 * 1024
_LENGTH = struct.Struct(">I")
Announce = Callable[[int], None]
_LONGEST_S = 86_400.0
_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
_make_own_end, _make_own_trailers = connect_wire._make_end, grpc_web._make_trailers


def main() -> None:
    """Serve until the runner ends this process."""
    logging.basicConfig(level=logging.CRITICAL)
    door, folder = sys.argv[1:]
    made = protos.load(Path(folder))
    asked = made.server_compat.ServerCompatRequest.FromString(_read_message())
    limit = asked.message_receive_limit or _BODY_BYTES_MAX
    methods = service.make_methods(made)

    def announce(port: int) -> None:
        answer = made.server_compat.ServerCompatResponse(host="127.0.0.1", port=port).SerializeToString()
        sys.stdout.buffer.write(_LENGTH.pack(len(answer)) + answer)
        sys.stdout.buffer.flush()

    if door == "grpc":
        _serve_grpc(methods, limit, announce)
    else:
        asyncio.run(_serve_http(methods, limit, announce))


def _read_message() -> bytes:
    (length,) = _LENGTH.unpack(sys.stdin.buffer.read(_LENGTH.size))
    return sys.stdin.buffer.read(length)


def _make_details(error: AppError) -> list[Any]:
    """The details that a request asked for; the suite expects none of the kind that our reasons bring."""
    return error.details if isinstance(error, service.AskedError) else []


def _make_end(error: AppError | None) -> dict[str, Any]:
    metadata: dict[str, list[str]] = {}
    for name, value in service.METADATA.get().trailers:
        metadata.setdefault(name, []).append(value)
    return {**_make_own_end(error), "metadata": metadata}


def _make_trailers(error: AppError | None) -> list[tuple[str, str]]:
    return [*_make_own_trailers(error), *service.METADATA.get().trailers]


def _make_deps(minted: MintedKey) -> DoorDeps:
    """What guards look at: one key of one project, and no limits."""
    project = Project("p", "a", "conformance", _LONG_AGO)
    key = Key(minted.prefix, KeyKind.SECRET, Environment.LIVE, "a", "p", minted.secret_hash, "", _LONG_AGO)
    directory: Any = SimpleNamespace(
        find_key=lambda _prefix: key, find_project=lambda _id: project, revision=Revision(1, "")
    )
    return DoorDeps(
        guards=GuardDeps(directory, Limiter({}), _PEPPER),
        ledger=FakeJournal(),
        trusted_proxies=NO_PROXIES,
        read_clock_us=lambda: time.time_ns() // 1000,
    )


def _serve_grpc(methods: tuple[Any, ...], limit: int, announce: Announce) -> None:
    """Serve by the gRPC door, told how to read and write the suite's messages."""
    minted = mint_key(KeyKind.SECRET, Environment.LIVE, _PEPPER)
    read_metadata = grpc_call._read_metadata
    grpc_call._read_metadata = lambda context: {
        **read_metadata(context),
        "authorization": f"Bearer {minted.text}",
        **_read_deadline(context),
    }
    grpc_call.decode_proto = lambda request, body: request.FromString(body)
    grpc_call.make_details = _make_details
    grpc_unary.encode_proto = lambda message: message.SerializeToString()
    grpc_stream.ExportResponse = grpc_stream.encode_proto = lambda piece: piece
    grpc.UnaryMethod, grpc.ServerStreamMethod, grpc._PACKAGE = _Unary, _Stream, service.PACKAGE
    rpcs = tuple(method.rpc for method in methods)
    door = grpc.GrpcDoor(
        rpcs, _make_deps(minted), host="127.0.0.1", port=0, threads=40, streams_max=4, body_bytes_max=limit
    )
    door.start()
    announce(door.port)
    threading.Event().wait()


def _read_deadline(context: Any) -> dict[str, str]:
    """The caller's deadline, which grpcio keeps to itself, as the header that it came in."""
    remaining_s = context.time_remaining()
    return {} if remaining_s is None or remaining_s > _LONGEST_S else {"grpc-timeout": f"{round(remaining_s * 1000)}m"}


class _Telling:
    """A call's context that also tells the metadata that its request asks for."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._metadata = service.Metadata()
        self._has_told = False
        service.METADATA.set(self._metadata)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def abort(self, code: Any, details: str) -> None:
        self.tell()
        self._context.abort(code, details)

    def tell(self) -> None:
        """Once: with the first message, or at the end of a call without one."""
        if self._has_told:
            return
        self._has_told = True
        if self._metadata.headers:
            self._context.send_initial_metadata([(name.lower(), value) for name, value in self._metadata.headers])
        trailers = [(name.lower(), value) for name, value in self._metadata.trailers]
        self._context.set_trailing_metadata((*self._context.trailing_metadata(), *trailers))


class _Unary(grpc_unary.UnaryMethod):
    def __call__(self, request: Any, context: Any) -> bytes:
        telling = _Telling(context)
        answer = super().__call__(request, telling)
        telling.tell()
        return answer


class _Stream(grpc_stream.ServerStreamMethod):
    def __call__(self, request: Any, context: Any) -> Iterator[bytes]:
        telling = _Telling(context)
        for message in super().__call__(request, telling):
            telling.tell()
            yield message
        telling.tell()


async def _serve_http(methods: tuple[Any, ...], limit: int, announce: Announce) -> None:
    connect_wire.make_details = error_details.make_details = _make_details
    connect_wire._make_end, grpc_web._make_trailers = _make_end, _make_trailers
    minted = mint_key(KeyKind.SECRET, Environment.LIVE, _PEPPER)
    deps = _make_deps(minted)
    http.PACKAGE = service.PACKAGE
    app = http.HttpApp((), deps, make_status_deps(deps.guards.directory), limit)
    app._connect = ConnectDoor(methods, deps, limit)

    async def with_key_and_metadata(scope: Any, receive: Any, send: Any) -> None:
        """Give each call a key, and its answer the headers that a handler of ours could not set."""
        metadata = service.Metadata()
        service.METADATA.set(metadata)
        key = (b"authorization", f"Bearer {minted.text}".encode())

        async def send_with(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = dict(message["headers"])
                added = list(metadata.headers)
                if own[b"content-type"] in (b"application/json", b"application/proto"):  # a unary call of Connect
                    added += [(f"trailer-{name}", value) for name, value in metadata.trailers]
                encoded = [(name.lower().encode(), value.encode()) for name, value in added]
                message = {**message, "headers": [*message["headers"], *encoded]}
            await send(message)

        await app({**scope, "headers": [*scope["headers"], key]}, receive, send_with)

    config = uvicorn.Config(with_key_and_metadata, http="httptools", lifespan="off", log_config=None, access_log=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        announce(listener.getsockname()[1])  # whoever connects before the server accepts has to wait a moment
        await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    main()
