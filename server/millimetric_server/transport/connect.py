"""The Connect door: unary POSTs by a short path of our own, everything else by connectrpc (docs/adr/0003).

Connect's unary protocol is a plain HTTP POST; the short path costs a third of the library's.
"""

import base64
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from protobuf.wkt import Any as AnyDetail

from millimetric_server.call import Call, Deps, Rpc, Shape
from millimetric_server.errors import AppError, Reason, Violation, invalid_payload
from millimetric_server.transport.body import Receive, read_body, skip_body, watch_client
from millimetric_server.transport.boundary import Reply, make_request_id, refuse_early, run, wait_async
from millimetric_server.transport.codec_json import JsonDecoder, encode_connect
from millimetric_server.transport.codec_proto import decode_proto, encode_proto, find_method, find_proto_class
from millimetric_server.transport.error_details import TYPE_PREFIX, make_details
from millimetric_server.transport.response import Request, Response, make_retry_after, read_content_type

PACKAGE = "/millimetric.v1."
_CONTENT_TYPES = {"application/json": "json", "application/proto": "proto"}
_LEVELS = (IdempotencyLevel.UNKNOWN, IdempotencyLevel.NO_SIDE_EFFECTS)
_SHORT_ENCODINGS = ("identity", "gzip")
_LIBRARY_TYPES = ("application/connect+", "application/grpc-web")
# HTTP statuses of the Connect protocol, for the codes that we use.
_HTTP_STATUS = {
    "invalid_argument": 400,
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "resource_exhausted": 429,
    "internal": 500,
    "unavailable": 503,
}


class ConnectDoor:
    """Answers Connect calls, and gRPC-Web ones."""

    def __init__(self, handlers: tuple[Rpc, ...], deps: Deps, body_bytes_max: int) -> None:
        self._deps = deps
        self._body_bytes_max = body_bytes_max
        # A stream both ways needs HTTP/2, which this port's server does not speak; a file is REST's to send.
        self._rpcs = {rpc.path: (rpc, JsonDecoder(rpc.request)) for rpc in handlers if rpc.shape is Shape.UNARY}
        self.library = _Library(self._make_endpoints(), body_bytes_max)

    def is_for_library(self, request: Request) -> bool:
        """Tell whether connectrpc has to answer: GET, an envelope, a deadline, another compression than gzip."""
        if request.path not in self._rpcs:
            return False
        if request.method == "GET":
            return _has_no_side_effects(request.path)
        headers = request.headers
        content_type = read_content_type(headers)
        is_short = (
            "connect-timeout-ms" not in headers and headers.get("content-encoding", "identity") in _SHORT_ENCODINGS
        )
        return request.method == "POST" and (
            content_type.startswith(_LIBRARY_TYPES) or (content_type in _CONTENT_TYPES and not is_short)
        )

    async def answer(self, request: Request) -> Response:
        """Carry out a unary POST."""
        found = self._rpcs.get(request.path)
        if found is None or request.method != "POST":
            return _make_error_response(AppError(Reason.NOT_FOUND, "this server has no such method"))
        rpc, _ = found
        call = self.make_call(rpc, request.headers, request.peer)
        if (error := await refuse_early(call, self._deps)) is not None:
            await skip_body(request.headers, request.receive, self._body_bytes_max)
            return _make_error_response(error)
        format_name = _CONTENT_TYPES.get(read_content_type(request.headers), "")
        with self._deps.bodies.hold(call.owner) as hold:
            body = await read_body(request.headers, request.receive, self._body_bytes_max, hold)
            reply = await self._run(call, format_name, body.unpack, request.receive, is_large=body.is_large())
        if reply.error is not None:
            return _make_error_response(reply.error)
        return Response(200, reply.body, f"application/{format_name}".encode())

    def make_call(self, rpc: Rpc, headers: Mapping[str, str], peer: str) -> Call:
        """Make a call whose body is not known yet: enough for the guards that look at its headers."""
        return Call(
            rpc=rpc,
            door="connect",
            headers=headers,
            peer=peer,
            decode=rpc.request,
            received_at=self._deps.read_clock_us(),
            request_id=make_request_id(),
        )

    async def _run(
        self,
        call: Call,
        format_name: str,
        unpack: Callable[[], bytes],
        receive: Receive | None = None,
        *,
        is_large: bool,
    ) -> Reply[bytes]:
        is_proto = format_name == "proto"

        def decode() -> Any:
            plain = unpack()
            if not format_name:
                raise invalid_payload((Violation("content-type", f"must be one of {', '.join(_CONTENT_TYPES)}"),))
            if is_proto:
                return decode_proto(call.rpc.request, plain)
            return self._rpcs[call.rpc.path][1].decode_connect(plain)

        call.decode = decode
        call.received_at = self._deps.read_clock_us()
        async with watch_client(receive, call):
            steps = run(call, self._deps, encode_proto if is_proto else encode_connect)
            if is_large:
                steps = await self._deps.bodies.begin(call.owner, steps)
            return await wait_async(steps, call)

    def _make_endpoints(self) -> dict[str, Any]:
        return {path: self._make_endpoint(rpc) for path, (rpc, _) in self._rpcs.items()}

    def _make_endpoint(self, rpc: Rpc) -> Any:
        async def answer(body: "_Body", context: RequestContext[Any, Any]) -> bytes:
            peer = (context.client_address or "").rpartition(":")[0]
            headers = {name.lower(): value for name, value in context.request_headers.allitems()}
            reply = await self._run(
                self.make_call(rpc, headers, peer), body.format_name, lambda: body.data, is_large=False
            )
            if reply.error is not None:
                raise _make_connect_error(reply.error)
            return reply.body

        method: MethodInfo[Any, Any] = MethodInfo(
            name=rpc.name,
            service_name=rpc.path.split("/")[1],
            input=find_proto_class(rpc.request),
            output=find_proto_class(rpc.response),
            idempotency_level=_LEVELS[_has_no_side_effects(rpc.path)],
            stream_type=StreamType.UNARY,
        )
        return Endpoint.unary(method=method, function=answer)


@dataclass(frozen=True, slots=True)
class _Body:
    """An undecoded message: it is looked at behind the guards."""

    format_name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class _Passing:
    """A codec for connectrpc that leaves the work to ours."""

    format_name: str

    def name(self) -> str:
        return self.format_name

    def encode(self, message: bytes) -> bytes:
        return message

    def decode(self, data: bytes | bytearray, message_class: type[Any]) -> Any:  # noqa: ARG002 - the library's signature
        return _Body(self.format_name, bytes(data))


class _Library(ConnectASGIApplication[None]):
    def __init__(self, endpoints: dict[str, Any], read_max_bytes: int) -> None:
        super().__init__(
            service=None,
            endpoints=lambda _service: endpoints,
            read_max_bytes=read_max_bytes,
            codecs=(_Passing("json"), _Passing("proto")),
        )

    @property
    def path(self) -> str:
        return PACKAGE


@functools.cache
def _has_no_side_effects(path: str) -> bool:
    """Whether the protos allow a method over GET."""
    options = find_method(path).GetOptions()
    return bool(options.idempotency_level == options.NO_SIDE_EFFECTS)


def _make_error_response(error: AppError) -> Response:
    """Tell a planned error as Connect does; the details are google.rpc messages."""
    code = error.failure.code.name.lower()
    details = [
        {
            "type": detail.DESCRIPTOR.full_name,
            "value": base64.b64encode(detail.SerializeToString()).decode().rstrip("="),
        }
        for detail in make_details(error)
    ]
    body = {"code": code, "message": error.message, "details": details}
    headers = [] if error.retry_after_s is None else [make_retry_after(error.retry_after_s)]
    return Response(_HTTP_STATUS[code], msgspec.json.encode(body), headers=headers)


def _make_connect_error(error: AppError) -> ConnectError:
    details = [
        AnyDetail(type_url=TYPE_PREFIX + detail.DESCRIPTOR.full_name, value=detail.SerializeToString())
        for detail in make_details(error)
    ]
    return ConnectError(Code[error.failure.code.name], error.message, details)
