"""The conformance suite's own service as handlers of ours: each answers what its request asks it to answer."""

import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import json_format, message_factory, symbol_database
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message as ProtoMessage

from conformance.protos import Protos
from millimetric_server.api.call import Call
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.api.pending import Pending, PendingCoroutine
from millimetric_server.api.rpc import AnyRpc, ServerStreamRpc, UnaryRpc
from millimetric_server.control.records import KeyKind
from millimetric_server.doors.http.connect import Method

PACKAGE = "/connectrpc.conformance.v1."
Pairs = list[tuple[str, str]]
Handler = Callable[[Call, Any, None], PendingCoroutine[Any]]
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass
class Metadata:
    """Headers and trailers that a request asks for. Handlers of ours set none: server.py adds them to the answer."""

    headers: Pairs = field(default_factory=list)
    trailers: Pairs = field(default_factory=list)


METADATA: contextvars.ContextVar[Metadata] = contextvars.ContextVar("metadata")


class AskedError(AppError):
    """An error as a request asked for it, with details of its own."""

    def __init__(self, error: Any, info: ProtoMessage | None) -> None:
        super().__init__(Reason.NOT_FOUND, error.message, code=_CODES[error.code])
        self.details = [_unpack(detail) for detail in error.details] + ([info] if info is not None else [])


class _Unary(UnaryRpc[Any, Any, Any, None]):
    """A unary RPC of the suite's service."""

    @property
    def path(self) -> str:
        return f"{PACKAGE}{self.service}/{self.name}"


class _Stream(ServerStreamRpc[Any, Any, Any, None]):
    """A stream of responses of the suite's service."""

    @property
    def path(self) -> str:
        return f"{PACKAGE}{self.service}/{self.name}"


def make_methods(protos: Protos) -> tuple[Method, ...]:
    """The methods that our doors can carry: unary ones, and streams of responses."""
    service = protos.service
    unary = [
        _make_method(_Unary, service, name, _make_unary(service, getattr(service, f"{name}Response")), has_get=get)
        for name, get in (("Unary", False), ("IdempotentUnary", True))
    ]
    return (*unary, _make_method(_Stream, service, "ServerStream", _make_stream(service), has_get=False))


def _make_method(kind: Callable[..., AnyRpc], service: Any, name: str, handler: Handler, *, has_get: bool) -> Method:
    request, response = getattr(service, f"{name}Request"), getattr(service, f"{name}Response")
    scope = frozenset({KeyKind.SECRET})
    rpc = kind("ConformanceService", name, scope, request, response, lambda message, _call: message, handler, None)

    def encode_json(message: Any) -> bytes:
        read = message if isinstance(message, response) else response.FromString(message)
        return json_format.MessageToJson(read).encode()

    def encode_proto(message: Any) -> bytes:
        return message.SerializeToString() if isinstance(message, response) else message

    return Method(
        rpc,
        has_get,
        {"json": lambda body: json_format.Parse(body, request()), "proto": request.FromString},
        {"json": encode_json, "proto": encode_proto},
    )


def _make_unary(service: Any, response: Any) -> Handler:
    async def answer(call: Call, request: Any, _deps: None) -> Any:
        definition = request.response_definition
        info = _make_info(service, call, request)
        _keep_metadata(definition)
        if definition.response_delay_ms:
            await Pending(_wait(definition.response_delay_ms))
        if definition.WhichOneof("response") == "error":
            raise AskedError(definition.error, info)
        return response(payload=service.ConformancePayload(data=definition.response_data, request_info=info))

    return answer


def _make_stream(service: Any) -> Handler:
    async def answer(call: Call, request: Any, _deps: None) -> Any:
        definition = request.response_definition
        info = _make_info(service, call, request)
        _keep_metadata(definition)
        responses = []
        for data in definition.response_data:
            payload = service.ConformancePayload(data=data, request_info=None if responses else info)
            responses.append(service.ServerStreamResponse(payload=payload).SerializeToString())
        error = None
        if definition.HasField("error"):
            error = AskedError(definition.error, None if responses else info)
        return _Reader(iter(responses), definition.response_delay_ms, error)

    return answer


class _Reader:
    """Responses in the shape of a PieceReader."""

    format = None

    def __init__(self, responses: Iterator[bytes], delay_ms: int, error: AppError | None) -> None:
        self._responses, self._delay_ms, self._error = responses, delay_ms, error
        self._piece = b""

    def take(self) -> bytes:
        piece, self._piece = self._piece, b""
        return piece

    def read_on(self) -> "Future[None] | None":
        self._piece = next(self._responses, b"")
        if self._piece:
            return _wait(self._delay_ms)
        if self._error is not None:
            raise self._error
        return None

    def close(self) -> None:
        pass


def _wait(milliseconds: int) -> "Future[None]":
    waiting: Future[None] = Future()
    timer = threading.Timer(milliseconds / 1000, lambda: waiting.cancelled() or waiting.set_result(None))
    timer.daemon = True
    timer.start()
    return waiting


def _make_info(service: Any, call: Call, request: Any) -> Any:
    info = service.ConformancePayload.RequestInfo(
        request_headers=[service.Header(name=name, value=[value]) for name, value in call.headers.items()]
    )
    if (text := call.headers.get("connect-timeout-ms")) is not None:
        info.timeout_ms = int(text)
    elif (text := call.headers.get("grpc-timeout")) is not None:
        info.timeout_ms = int(int(text[:-1]) * {"H": 3.6e6, "M": 6e4, "S": 1e3, "m": 1, "u": 1e-3, "n": 1e-6}[text[-1]])
    info.requests.add().Pack(request)
    return info


def _keep_metadata(definition: Any) -> None:
    kept = METADATA.get(Metadata())  # over gRPC nobody asks for it
    kept.headers = [(header.name, value) for header in definition.response_headers for value in header.value]
    kept.trailers = [(header.name, value) for header in definition.response_trailers for value in header.value]


def _unpack(detail: AnyMessage) -> ProtoMessage:
    described = symbol_database.Default().pool.FindMessageTypeByName(detail.TypeName())
    message = message_factory.GetMessageClass(described)()
    detail.Unpack(message)
    return message
