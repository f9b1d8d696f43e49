"""The Connect door: Connect and gRPC-Web calls, one code path for all wire forms (docs/adr/0016)."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from millimetric_server.api.call import Call, Streaming
from millimetric_server.api.errors import (
    AppError,
    deadline_passed,
    no_such_method,
    no_such_service,
    wrong_content_type,
    wrong_verb,
)
from millimetric_server.api.messages import ExportResponse, Message
from millimetric_server.api.rpc import AnyRpc, Piece
from millimetric_server.doors.boundary import (
    charge_refusal,
    note_failure,
    refuse,
    refuse_early,
    run,
    wait_async,
)
from millimetric_server.doors.codecs.json import JsonDecoder, encode_connect
from millimetric_server.doors.codecs.proto import decode_proto, encode_proto, find_method, has_service
from millimetric_server.doors.deps import DoorDeps
from millimetric_server.doors.http.body import Body, read_plain, skip_body, watch_client
from millimetric_server.doors.http.connect_wire import ConnectGet, ConnectPost, ConnectStream, Wire, read_parameters
from millimetric_server.doors.http.grpc_web import BINARY_TYPE, TEXT_TYPE, GrpcWeb
from millimetric_server.doors.http.response import (
    Request,
    Response,
    make_accept_post,
    make_allow,
    read_content_type,
)
from millimetric_server.doors.http.server_stream import open_stream
from millimetric_server.doors.metrics import count_call
from millimetric_server.shares.body_room import Hold

PACKAGE = "/millimetric.v1."
_CODECS = ("json", "proto")
_UNARY_TYPES = {f"application/{codec}": codec for codec in _CODECS}
_STREAM_TYPES = {f"application/connect+{codec}": codec for codec in _CODECS}
_WEB_TYPES = {
    form + suffix: (suffix.lstrip("+") or "proto", form == TEXT_TYPE)
    for form in (BINARY_TYPE, TEXT_TYPE)
    for suffix in ("+proto", "+json", "")
}


@dataclass(frozen=True, slots=True)
class Method:
    """A method and how its messages are read and written, by the name of the codec.

    `encode` is given a response, or a piece of one.
    """

    rpc: AnyRpc
    has_get: bool
    decode: Mapping[str, Callable[[bytes], Message]]
    encode: Mapping[str, Callable[[Any], bytes]]

    @property
    def verbs(self) -> tuple[str, ...]:
        """The HTTP methods that it takes."""
        return ("GET", "HEAD", "POST") if self.has_get else ("POST",)

    @property
    def content_types(self) -> tuple[str, ...]:
        """The kinds of body that it reads."""
        own = _UNARY_TYPES if self.rpc.streaming is Streaming.NONE else _STREAM_TYPES
        return (*own, *_WEB_TYPES)


def make_method(rpc: AnyRpc) -> Method:
    """Make what the door needs of an RPC of ours."""
    options = find_method(rpc.path).GetOptions()
    encode: Mapping[str, Callable[[Any], bytes]] = {"json": encode_connect, "proto": encode_proto}
    if rpc.streaming is Streaming.SERVER:
        encode = {
            "json": lambda piece: encode_connect(_make_response(piece)),
            "proto": lambda piece: encode_proto(_make_response(piece)),
        }
    return Method(
        rpc,
        rpc.streaming is Streaming.NONE and options.idempotency_level == options.NO_SIDE_EFFECTS,
        {
            "json": JsonDecoder(rpc.request).decode,
            "proto": lambda body: decode_proto(rpc.request, body),
        },
        encode,
    )


def _make_response(piece: Piece) -> Message:
    return ExportResponse(piece) if isinstance(piece, bytes) else piece


class ConnectDoor:
    """Answers Connect calls, and gRPC-Web ones."""

    def __init__(self, methods: tuple[Method, ...], deps: DoorDeps, body_bytes_max: int) -> None:
        self._deps = deps
        self._body_bytes_max = body_bytes_max
        self._methods = {method.rpc.path: method for method in methods}

    async def answer(self, request: Request) -> Response:
        """Carry out a call."""
        method = self._methods.get(request.path)
        wire = _choose_wire(request, method)
        if method is None:
            error = no_such_method() if has_service(request.path) else no_such_service()
            return (wire or _choose_refuser(request)).refuse(error)
        if request.method not in method.verbs:
            refusal = _choose_refuser(request).refuse(wrong_verb(method.verbs))
            return replace(refusal, headers=[*refusal.headers, make_allow(method.verbs)])
        if method.rpc.streaming is Streaming.BIDI:
            message = f"{method.rpc.name} needs HTTP/2, which this port does not speak: call it over gRPC"
            return (wire or _choose_refuser(request)).refuse(no_such_method(message))
        call = Call(
            rpc=method.rpc,
            door="connect",
            headers=request.headers,
            peer=request.peer,
            received_at=self._deps.read_clock_us(),
            request_id=request.request_id,
        )
        if (refused := await refuse_early(call, self._deps)) is not None:
            await skip_body(request.headers, request.receive, self._body_bytes_max)
            return (wire or _choose_refuser(request)).refuse(refused)
        if wire is None:
            refused = refuse(call, charge_refusal(call, wrong_content_type(method.content_types), self._deps))
            await skip_body(request.headers, request.receive, self._body_bytes_max)
            refusal = _choose_refuser(request).refuse(refused)
            return replace(refusal, headers=[*refusal.headers, make_accept_post(method.content_types)])
        return await self._carry_out(call, method, wire, request)

    async def _carry_out(self, call: Call, method: Method, wire: Wire, request: Request) -> Response:
        began = time.perf_counter()
        try:
            timeout_s = wire.read_timeout_s()
            ends_at = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
            with closing(Hold(self._deps.bodies, call.owner)) as hold:
                async with asyncio.timeout_at(ends_at):
                    body = await self._read_body(wire, request, hold)
                    decode = partial(body.decode, call, method.decode[wire.codec])
                    call.received_at = self._deps.read_clock_us()
                    if call.rpc.streaming is Streaming.NONE:
                        answer = await self._run(call, method, wire.codec, decode, body, request)
                        return wire.refuse(answer) if isinstance(answer, AppError) else wire.answer(answer)
                is_large = body.is_large()
                opened = await open_stream(
                    call, method.rpc, decode, self._deps, request.receive, ends_at, is_large=is_large
                )
        except AppError as error:
            return wire.refuse(refuse(call, charge_refusal(call, error, self._deps)))
        except TimeoutError:
            late = note_failure(call, deadline_passed())
            count_call(call.rpc.name, call.door, late, began)
            return wire.refuse(late)
        if isinstance(opened, AppError):
            return wire.refuse(opened)
        return wire.answer_stream(opened.pieces, method.encode[wire.codec])

    async def _run(
        self, call: Call, method: Method, codec: str, decode: Callable[[], Message], body: Body, request: Request
    ) -> bytes | AppError:
        is_large = body.is_large()
        async with watch_client(request.receive, call):
            running = run(call, method.rpc, decode, method.encode[codec], self._deps)
            begun = await self._deps.bodies.begin(call.owner, running) if is_large else None
            return await wait_async(running, call, begun)

    async def _read_body(self, wire: Wire, request: Request, hold: Hold) -> Body:
        packed = b""
        if request.method == "POST":
            bytes_max = wire.count_body_max(self._body_bytes_max)
            packed = await read_plain(request.headers, request.receive, bytes_max, hold)
        message, encoding = wire.open_body(packed, self._body_bytes_max)
        return Body(message, encoding, self._body_bytes_max, hold)


def _choose_wire(request: Request, method: Method | None) -> Wire | None:
    """Find the protocol that a request speaks; None for a kind of body that the method does not take."""
    streaming = None if method is None else method.rpc.streaming
    if request.method != "POST":
        encoding = read_parameters(request).get("encoding", "")
        return ConnectGet(encoding, request) if encoding in _CODECS and streaming in (None, Streaming.NONE) else None
    content_type = read_content_type(request.headers)
    if content_type in _WEB_TYPES:
        codec, is_text = _WEB_TYPES[content_type]
        return GrpcWeb(codec, request, is_text)
    if content_type in _UNARY_TYPES and streaming in (None, Streaming.NONE):
        return ConnectPost(_UNARY_TYPES[content_type], request)
    if content_type in _STREAM_TYPES and streaming is not Streaming.NONE:
        return ConnectStream(_STREAM_TYPES[content_type], request)
    return None


def _choose_refuser(request: Request) -> Wire:
    """Find the form in which to refuse what can't be read."""
    content_type = read_content_type(request.headers)
    if content_type.startswith(BINARY_TYPE):
        return GrpcWeb("proto", request, content_type.startswith(TEXT_TYPE))
    return ConnectPost("json", request)
