"""The four doors as clients see them: each sends a call in its own wire form and reads the answer into one shape."""

import base64
import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import grpc
import httpx
from google.protobuf import json_format
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from contract.wire import (
    Method,
    find_method,
    read_message,
    read_rest,
    to_message,
    to_proto_json,
    to_query,
)

_TIMEOUT_S = 60
# The Connect protocol has one HTTP status a code; REST has one a reason.
_CONNECT_STATUS = {
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "DEADLINE_EXCEEDED": 504,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "UNIMPLEMENTED": 501,
}
# What HTTP has words of its own for, Connect has no code for.
_OWN_STATUS = (405, 415)


@dataclass(frozen=True)
class WireCall:
    """A call with everything filled in. `key` is the text behind `Bearer `, or None."""

    rpc: str
    key: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    request: dict[str, Any] | None = None
    request_json: str = ""
    raw_body: bytes | None = None
    is_gzipped: bool = False
    http_method: str = ""

    @property
    def all_headers(self) -> dict[str, str]:
        return ({"authorization": f"Bearer {self.key}"} if self.key is not None else {}) | self.headers

    @property
    def content(self) -> dict[str, Any]:
        """The request as a value, also when it was given as text."""
        content: dict[str, Any] = json.loads(self.request_json) if self.request_json else self.request or {}
        return content


@dataclass(frozen=True)
class Answer:
    """What came back. `code` is None over REST, `http_status` over gRPC; `raw` is all that the server said."""

    code: str | None
    http_status: int | None
    reason: str = ""
    fields: tuple[str, ...] = ()
    details: dict[str, str] = field(default_factory=dict)
    retry_after_s: float | None = None
    response: Any = None
    raw: str = ""


Send = Callable[[WireCall], Answer]


class Doors:
    """Clients of one server. Close it when done."""

    def __init__(self, grpc_address: str, base_url: str) -> None:
        unbounded = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.insecure_channel(grpc_address, options=unbounded)
        self.http = httpx.Client(base_url=base_url, timeout=_TIMEOUT_S)
        self._sends: dict[str, Send] = {
            "grpc": self._send_grpc,
            "connect_proto": self._send_connect_proto,
            "connect_json": self._send_connect_json,
            "rest": self._send_rest,
        }

    def close(self) -> None:
        self._channel.close()
        self.http.close()

    def send(self, door: str, call: WireCall) -> Answer:
        """Make the call through a door."""
        return self._sends[door](call)

    def _send_grpc(self, call: WireCall) -> Answer:
        method = find_method(call.rpc)
        stub = self._channel.unary_unary(method.path)
        try:
            body, done = stub.with_call(
                _write_proto(call, method),
                timeout=_TIMEOUT_S,
                metadata=tuple(call.all_headers.items()),
                compression=grpc.Compression.Gzip if call.is_gzipped else None,
            )
        except grpc.RpcError as error:
            return _read_grpc_error(error)
        raw = f"{done.initial_metadata()}{done.trailing_metadata()}{body!r}"
        return Answer("OK", None, response=_read_proto(body, method), raw=raw)

    def _send_connect_proto(self, call: WireCall) -> Answer:
        method = find_method(call.rpc)
        response = self._post_connect(call, "application/proto", _write_proto(call, method))
        if response.status_code != httpx.codes.OK:
            return _read_connect_error(response)
        return _answer_ok(response, "OK", _read_proto(response.content, method))

    def _send_connect_json(self, call: WireCall) -> Answer:
        method = find_method(call.rpc)
        body = _write_json(call, to_proto_json(call.request or {}, method.request))
        response = self._post_connect(call, "application/json", body)
        if response.status_code != httpx.codes.OK:
            return _read_connect_error(response)
        assert method.response is not None
        message = json_format.Parse(response.text, method.response())
        return _answer_ok(response, "OK", read_message(message))

    def _post_connect(self, call: WireCall, content_type: str, body: bytes) -> httpx.Response:
        verb = call.http_method or "POST"
        return self._request(call, verb, find_method(call.rpc).path, content_type, body)

    def _send_rest(self, call: WireCall) -> Answer:
        method = find_method(call.rpc)
        request = dict(call.request or {})
        path = method.route
        for name in [name for name in request if f"{{{name}}}" in path]:
            path = path.replace(f"{{{name}}}", quote(str(request.pop(name)), safe=""))
        if method.verb == "GET":
            query = call.raw_body.decode("latin-1") if call.raw_body else urlencode(to_query(request))
            response = self._request(call, call.http_method or "GET", f"{path}?{query}" if query else path)
        else:
            verb = call.http_method or "POST"
            response = self._request(call, verb, path, "application/json", _write_json(call, request))
        if response.is_success:
            return _answer_ok(response, None, read_rest(response.text))
        return _read_rest_error(response)

    def _request(
        self, call: WireCall, verb: str, path: str, content_type: str = "", body: bytes = b""
    ) -> httpx.Response:
        headers = ({"content-type": content_type} if content_type else {}) | call.all_headers
        if call.is_gzipped:
            body = gzip.compress(body, 1)
            headers["content-encoding"] = "gzip"
        return self.http.request(verb, path, content=body or None, headers=headers)


def _write_proto(call: WireCall, method: Method) -> bytes:
    if call.raw_body is not None or method.request is None:
        return call.raw_body or b""
    return to_message(call.content, method.request).SerializeToString()


def _write_json(call: WireCall, request: dict[str, Any]) -> bytes:
    if call.raw_body is not None:
        return call.raw_body
    return (call.request_json or json.dumps(request, ensure_ascii=False)).encode()


def _read_proto(body: bytes, method: Method) -> dict[str, Any]:
    assert method.response is not None
    return read_message(method.response.FromString(body))


def _read_grpc_error(error: Any) -> Answer:
    trailers = dict(error.trailing_metadata() or ())
    raw = f"{error.details()}{error.initial_metadata()}{trailers}"
    code = error.code().name
    if "grpc-status-details-bin" not in trailers:
        return Answer(code, None, raw=raw)
    status = Status.FromString(trailers["grpc-status-details-bin"])
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    details = [(detail.type_url.rpartition("/")[2], detail.value) for detail in status.details]
    return _read_details(details, code, None, f"{raw}{status}")


def _read_connect_error(response: httpx.Response) -> Answer:
    content = response.json()
    code = content["code"].upper()
    if code == "UNKNOWN":
        assert response.status_code in _OWN_STATUS, response.text
    else:
        assert response.status_code == _CONNECT_STATUS[code], response.text
    assert response.headers["content-type"] == "application/json"
    details = [(one["type"], _decode_base64(one["value"])) for one in content.get("details", ())]
    raw = f"{response.headers}{response.text}{[value for _, value in details]}"
    return _read_details(details, code, response.status_code, raw)


def _read_details(details: Sequence[tuple[str, bytes]], code: str, http_status: int | None, raw: str) -> Answer:
    by_type = dict(details)
    info = ErrorInfo.FromString(by_type["google.rpc.ErrorInfo"])
    assert info.domain == "millimetric"
    assert info.reason == info.reason.upper()
    violations = BadRequest.FromString(by_type.get("google.rpc.BadRequest", b"")).field_violations
    retry = by_type.get("google.rpc.RetryInfo")
    delay = None if retry is None else RetryInfo.FromString(retry).retry_delay
    return Answer(
        code,
        http_status,
        reason=info.reason.lower(),
        fields=tuple(one.field for one in violations),
        details=dict(info.metadata),
        retry_after_s=None if delay is None else delay.ToMicroseconds() / 1e6,
        raw=raw,
    )


def _read_rest_error(response: httpx.Response) -> Answer:
    content = response.json()
    assert set(content) == {"error", "details"}, content
    details = dict(content["details"])
    fields = tuple(name for name, messages in details.pop("fieldErrors", {}).items() for _ in messages)
    retry_after_s = details.pop("retry_after_s", None)
    header = response.headers.get("retry-after")
    assert (retry_after_s is None) == (header is None)
    assert header is None or int(header) >= max(retry_after_s, 1)
    texts = {name: ",".join(value) if isinstance(value, list) else value for name, value in details.items()}
    return Answer(
        None,
        response.status_code,
        content["error"],
        fields,
        texts,
        retry_after_s,
        raw=f"{response.headers}{response.text}",
    )


def _answer_ok(response: httpx.Response, code: str | None, content: Any) -> Answer:
    return Answer(code, response.status_code, response=content, raw=f"{response.headers}{response.text}")


def _decode_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
