"""Connect and gRPC-Web calls in all their wire forms, as bytes, and their answers in one shape."""

import base64
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlencode

import httpx
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

CODES = {"OK": 0, "INVALID_ARGUMENT": 3, "DEADLINE_EXCEEDED": 4, "RESOURCE_EXHAUSTED": 8, "UNIMPLEMENTED": 12}
UNARY, STREAM, WEB, TEXT, GET = "connect", "connect_stream", "grpc_web", "grpc_web_text", "connect_get"
_TYPES = {
    UNARY: "application/json",
    STREAM: "application/connect+json",
    WEB: "application/grpc-web+json",
    TEXT: "application/grpc-web-text+json",
}


@dataclass(frozen=True)
class Told:
    """What a call was answered with."""

    http_status: int
    headers: Mapping[str, str]
    code: str  # Connect's word, or gRPC's number
    reason: str
    messages: list[Any] = field(default_factory=list)


def call(
    base_url: str,
    path: str,
    wire: str,
    request: Any,
    *,
    key: str = "",
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    raw: bytes | None = None,
) -> Told:
    """Make a call; `request` is written as JSON, `raw` is a whole body instead."""
    sent = [("authorization", f"Bearer {key}")] if key else []
    sent += headers.items() if isinstance(headers, Mapping) else headers
    message = json.dumps(request).encode()
    if wire == GET:
        query = urlencode({"connect": "v1", "encoding": "json", "message": message.decode()})
        answer = httpx.get(f"{base_url}{path}?{query}", headers=sent, timeout=60)
        return _read_unary(answer)
    body = raw if raw is not None else message if wire == UNARY else envelope(message)
    if wire == TEXT and raw is None:
        body = base64.b64encode(body)
    answer = httpx.post(f"{base_url}{path}", content=body, headers=[("content-type", _TYPES[wire]), *sent], timeout=60)
    if answer.headers["content-type"] == "application/json":
        return _read_unary(answer)
    return _read_stream(answer) if wire == STREAM else _read_web(answer, is_text=wire == TEXT)


def envelope(message: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(message)) + message


def read_envelopes(body: bytes) -> Iterator[tuple[int, bytes]]:
    while body:
        flags, length = struct.unpack_from(">BI", body)
        yield flags, body[5 : 5 + length]
        body = body[5 + length :]


def _read_unary(answer: httpx.Response) -> Told:
    content = answer.json()
    if answer.is_success:
        return Told(answer.status_code, answer.headers, "ok", "", [content])
    return Told(answer.status_code, answer.headers, content["code"], _read_reason(content))


def _read_reason(error: Mapping[str, Any]) -> str:
    for detail in error.get("details", ()):
        if detail["type"] == "google.rpc.ErrorInfo":
            return ErrorInfo.FromString(base64.b64decode(detail["value"] + "==")).reason.lower()
    return ""


def _read_stream(answer: httpx.Response) -> Told:
    *messages, (flags, last) = read_envelopes(answer.content)
    assert flags == 0b10
    error = json.loads(last).get("error")
    values = [json.loads(message) for _, message in messages]
    if error is None:
        return Told(answer.status_code, answer.headers, "ok", "", values)
    return Told(answer.status_code, answer.headers, error["code"], _read_reason(error), values)


def _read_web(answer: httpx.Response, *, is_text: bool) -> Told:
    trailers, messages = answer.headers, []
    body = _decode_text(answer.content) if is_text else answer.content
    for flags, message in read_envelopes(body):
        if flags & 0x80:
            lines = (line.partition(": ") for line in message.decode().split("\r\n") if line)
            trailers = httpx.Headers({name: value for name, _, value in lines})
        else:
            messages.append(json.loads(message))
    if trailers["grpc-status"] == "0":
        return Told(answer.status_code, answer.headers, "ok", "", messages)
    status = Status.FromString(base64.b64decode(trailers["grpc-status-details-bin"] + "=="))
    assert status.code == int(trailers["grpc-status"])
    assert status.message == unquote(trailers["grpc-message"])
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    return Told(answer.status_code, answer.headers, trailers["grpc-status"], info.reason.lower(), messages)


def _decode_text(text: bytes) -> bytes:
    """Each piece was encoded for itself, with its own padding."""
    return b"".join(base64.b64decode(text[start : start + 4]) for start in range(0, len(text), 4))
