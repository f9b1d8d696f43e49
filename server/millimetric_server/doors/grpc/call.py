"""Turns a gRPC call's context into a Call, and an AppError into gRPC's status and metadata."""

import math
from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import unquote

import grpc
from google.rpc.status_pb2 import Status

from millimetric_server.api.call import Call
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.api.messages import Message
from millimetric_server.api.rpc import AnyRpc
from millimetric_server.doors.boundary import REQUEST_ID_HEADER, make_request_id
from millimetric_server.doors.codecs.proto import decode_proto
from millimetric_server.doors.deps import DoorDeps
from millimetric_server.doors.error_details import make_details, shorten
from millimetric_server.shares.body_room import SMALL_BYTES, BodyRoom

# gRFC A6: a client with a retry policy waits for so many milliseconds, or does not try again.
_PUSHBACK, _NEVER = "grpc-retry-pushback-ms", "-1"
Metadata = tuple[tuple[str, str | bytes], ...]
_RETRIED_CODES = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)


def make_call(rpc: AnyRpc, context: grpc.ServicerContext, deps: DoorDeps) -> Call:
    """Make the call that the guards look at; its id is sent in the trailing metadata, however the call ends."""
    headers = _read_metadata(context)
    request_id = make_request_id(headers.get(REQUEST_ID_HEADER, ""))
    context.set_trailing_metadata(((REQUEST_ID_HEADER, request_id),))
    # `ipv4:127.0.0.1:5000` and `ipv6:[::1]:5000`, percent-encoded; a unix socket has no address.
    family, _, address = unquote(context.peer()).partition(":")
    peer = address.rpartition(":")[0].strip("[]") if family in ("ipv4", "ipv6") else ""
    return Call(rpc, "grpc", headers, peer, deps.read_clock_us(), request_id)


def decode_body(request: type[Message], body: bytes, body_bytes_max: int, bodies: BodyRoom) -> Message:
    """Decode a message, a large one in its turn. Raises AppError payload_too_large, invalid_payload, overloaded."""
    if len(body) > body_bytes_max:
        message = f"the message is larger than {body_bytes_max} bytes: send fewer events at once"
        raise AppError(Reason.PAYLOAD_TOO_LARGE, message)
    if len(body) <= SMALL_BYTES:
        return decode_proto(request, body)
    with bodies.take_turn():
        return decode_proto(request, body)


def refuse(context: grpc.ServicerContext, error: AppError, code: grpc.StatusCode | None = None) -> NoReturn:
    """End the call with a planned error. Before any message of an answer the end is Trailers-Only: clients retry it.

    `code` replaces the reason's own.
    """
    code = code or error.code
    context.set_trailing_metadata((*read_request_name(context), *make_trailers(error, code)))
    context.abort(code, error.message)


def read_request_name(context: grpc.ServicerContext) -> Metadata:
    """What tells the id of a request; it gets one if no Call was made of it."""
    named: Metadata = context.trailing_metadata()
    if not named:
        sent = _read_metadata(context).get(REQUEST_ID_HEADER, "")
        named = ((REQUEST_ID_HEADER, make_request_id(sent)),)
    return named


def make_trailers(error: AppError, code: grpc.StatusCode) -> Metadata:
    """The error's details, and for clients' retry policies when to retry, or that they should not."""
    status = Status(code=code.value[0], message=error.message)
    for detail in make_details(shorten(error)):
        status.details.add().Pack(detail)
    details = ("grpc-status-details-bin", status.SerializeToString())
    if error.retry_after_s is not None:
        return details, (_PUSHBACK, str(math.ceil(error.retry_after_s * 1000)))
    if error.failure.code in _RETRIED_CODES and not error.failure.is_retryable:
        return details, (_PUSHBACK, _NEVER)
    return (details,)


def _read_metadata(context: grpc.ServicerContext) -> Mapping[str, str]:
    """Metadata that is sent twice has its values joined by a comma, as in HTTP, so that no value hides another."""
    headers: dict[str, str] = {}
    for name, value in context.invocation_metadata():
        if isinstance(value, str):
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers
