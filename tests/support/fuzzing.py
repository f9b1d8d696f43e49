"""Inputs that nobody would write, one target a door, and what no door may answer to them.

An input begins as a good request. Then values, fields, bytes or headers of it are replaced. Each target counts the
events that the server says it stored, so that they can be held against those that are there.
"""

import base64
import gzip
import http.client
import json
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import grpc
from backports import zstd
from google.protobuf import json_format, message_factory
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from millimetric.v1 import ingest_service_pb2, privacy_service_pb2, query_service_pb2

from .server_process import ServerProcess

_TIMEOUT_S = 60
_EVENT: dict[str, Any] = {
    "event": "purchase",
    "anonymous_id": "device",
    "user_id": "u-1",
    "timestamp": "2026-11-20T10:00:00Z",
    "url": "https://shop.example/?utm_source=news&gclid=1",
    "referrer": "https://www.facebook.com/",
    "properties": {"amount_cents": 1200, "items": [{"sku": "a"}], "note": None},
    "context": {"ip": "192.0.2.1", "user_agent": "Mozilla/5.0"},
}
_RANGE = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-30T00:00:00Z"}
_FILTER = {"column": "properties.amount_cents", "op": "gt", "values": ["3"]}
_STEPS = [{"event": "a"}, {"event": "b", "filter": [_FILTER]}]
# By RPC: service, REST verb and route, and a good request.
REQUESTS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "Track": ("IngestService", "POST", "/v1/track", _EVENT),
    "Batch": ("IngestService", "POST", "/v1/batch", {"events": [_EVENT, {"event": "x"}], "mode": "per_event"}),
    "Identify": ("IngestService", "POST", "/v1/identify", {"anonymous_id": "d", "user_id": "u", "traits": {"a": 1}}),
    "GetErasure": ("PrivacyService", "GET", "/v1/erasures/x", {"erasure_id": "x"}),
    "Query": ("QueryService", "GET", "/v1/query", {**_RANGE, "event": "a", "limit": 10, "page_token": "eyJ"}),
    "Stats": ("QueryService", "GET", "/v1/stats", {**_RANGE, "group_by": ["source"], "interval": "day", "limit": 10}),
    "Sources": ("QueryService", "GET", "/v1/sources", {**_RANGE, "breakdown": "source"}),
    "Funnel": ("QueryService", "POST", "/v1/funnel", {**_RANGE, "steps": _STEPS, "window_seconds": 60}),
    "Attribution": ("QueryService", "POST", "/v1/attribution", {**_RANGE, "conversion": {"event": "a"}, "models": [1]}),
    "Retention": ("QueryService", "POST", "/v1/retention", {**_RANGE, "first_event": "a", "return_event": "b"}),
    "Explain": ("QueryService", "POST", "/v1/explain", _EVENT),
}
_DEEP: Any = []
for _ in range(60):
    _DEEP = [_DEEP]
_VALUES = st.sampled_from(
    [
        None, True, 0, -1, 2**31, 2**53 + 1, 2**64, -(2**63), 1e308, 0.1, "", " ", "\0", "a\0b", "é\u202e",
        "\ud800", "\U0010ffff",
        "x" * 200, "x" * 9000, "2026-13-45", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "1999-01-01", "NaN",
        "http://[::1", "//", "javascript:alert(1)", "%ff%00", [], {}, [[]], {"": {}}, [None], _DEEP, {"a": _DEEP},
        "' OR 1=1 --", "{x:String}", "properties.", "properties.a'b", 'properties."a', "source) FROM events --",
        "ACK_STORED", "stored", 99, ["source"] * 30, "Europe/Berlin", "../../etc/passwd", "1e999", "-0",
    ]
)  # fmt: skip
_HEADERS = st.sampled_from(
    [
        ("content-type", "text/plain"), ("content-type", "application/json; charset=utf-16"),
        ("content-type", "image/png"), ("content-encoding", "gzip"), ("content-encoding", "br"),
        ("content-encoding", "gzip, gzip"), ("accept", "text/html"),
        ("accept-encoding", "gzip;q=0, zstd, *"), ("accept-encoding", ";;q=x"), ("connect-timeout-ms", "1"),
        ("connect-timeout-ms", "-1"), ("connect-timeout-ms", "99999999999"), ("connect-timeout-ms", "x"),
        ("connect-protocol-version", "2"), ("grpc-timeout", "1n"), ("grpc-timeout", "99999999H"), ("origin", "null"),
        ("x-forwarded-for", "1.2.3.4, x, ::1"), ("forwarded", 'for="[::1'), ("millimetric-ack", "x"), ("dnt", "1"),
        ("sec-gpc", "1"), ("user-agent", ""), ("user-agent", "x" * 5000), ("sec-ch-ua", '"'), ("referer", "\x80"),
        ("x-request-id", "a b\tc"), ("x-request-id", "x" * 300), ("range", "bytes=0-1"), ("expect", "100-continue"),
        ("if-none-match", "*"), ("te", "trailers"), ("authorization", "Bearer x"), ("authorization", "Basic eDp4"),
        ("authorization", "Bearer sk_live_00000000_" + "x" * 43), ("x-http-method-override", "DELETE"),
    ]
)  # fmt: skip


_DEADLINE_PASSED = 504
_GRPC_DEADLINE_PASSED = "4"  # of gRPC-Web, in the headers of an answer without a message


@dataclass(frozen=True)
class Input:
    """A request that has been tampered with."""

    rpc: str
    content: Any
    edits: tuple[tuple[str, int, bytes], ...]  # of its bytes: what to do, where, and with what
    headers: tuple[tuple[str, str], ...]
    is_proto: bool
    variant: int  # which of a door's wire forms


@dataclass
class Tally:
    """What a target has seen so far."""

    inputs: int = 0
    answered: dict[str, int] = field(default_factory=dict)  # by status or code
    stored_events: int = 0
    unknown_events: int = 0  # of writes whose deadline passed: stored or not, their caller can't know

    def note(self, answer: str) -> None:
        """Count an answer."""
        self.inputs += 1
        self.answered[answer] = self.answered.get(answer, 0) + 1


class Target(Protocol):
    """A door that inputs are thrown at."""

    tally: Tally

    def send(self, thrown: Input) -> None:
        """Send an input. Raises AssertionError for an answer that no input may get."""
        ...


@st.composite
def inputs(draw: st.DrawFn) -> Input:
    """Draw a good request, and what is done to it."""
    rpc = draw(st.sampled_from(sorted(REQUESTS)))
    content = json.loads(json.dumps(REQUESTS[rpc][3]))
    for _ in range(draw(st.integers(0, 3))):
        content = _tamper(draw, content)
    if rpc == "Identify" and isinstance(content, dict):  # its answer does not say whether an id was known
        content = {name: value for name, value in content.items() if name not in ("event_id", "eventId")}
    edit = st.tuples(st.sampled_from(("flip", "cut", "insert", "repeat")), st.integers(0, 4000), st.binary(max_size=8))
    return Input(
        rpc,
        content,
        tuple(draw(st.lists(edit, max_size=3))) if draw(st.booleans()) else (),
        tuple(draw(st.lists(_HEADERS, max_size=2))),
        draw(st.booleans()),
        draw(st.integers(0, 7)),
    )


def _tamper(draw: st.DrawFn, content: Any) -> Any:
    """Replace, remove, add or descend into one member."""
    if isinstance(content, dict) and content:
        name = draw(st.sampled_from(sorted(content)))
        match draw(st.integers(0, 5)):
            case 0:
                return {key: value for key, value in content.items() if key != name}
            case 1:
                return content | {draw(st.sampled_from(("source", "received_at", "eventId", "x", "", "event_id"))): "x"}
            case 2 | 3:
                return content | {name: draw(_VALUES)}
            case _:
                return content | {name: _tamper(draw, content[name])}
    if isinstance(content, list) and content:
        index = draw(st.integers(0, len(content) - 1))
        return [*content[:index], _tamper(draw, content[index]), *content[index + 1 :]]
    return draw(_VALUES)


def edit_bytes(body: bytes, edits: tuple[tuple[str, int, bytes], ...]) -> bytes:
    """Do to the bytes what the input says."""
    for kind, where, what in edits:
        at = where % (len(body) + 1)
        match kind:
            case "flip":
                body = body[:at] + bytes(one ^ 0x20 for one in body[at : at + 1]) + body[at + 1 :]
            case "cut":
                body = body[:at]
            case "insert":
                body = body[:at] + what + body[at:]
            case _:
                body = body + body[at : at + 200]
    return body


def write_proto(thrown: Input) -> bytes:
    """The request as protobuf, as far as it fits the message; then edited."""
    module = {"IngestService": ingest_service_pb2, "PrivacyService": privacy_service_pb2}.get(
        REQUESTS[thrown.rpc][0], query_service_pb2
    )
    method = module.DESCRIPTOR.services_by_name[REQUESTS[thrown.rpc][0]].methods_by_name[thrown.rpc]
    message: Message = message_factory.GetMessageClass(method.input_type)()
    for name, value in _members(thrown):
        part = message_factory.GetMessageClass(method.input_type)()
        try:
            json_format.ParseDict({name: value}, part, ignore_unknown_fields=True)
            message.MergeFrom(part)
        except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError, SystemError):
            continue
    return edit_bytes(message.SerializeToString(), thrown.edits)


def write_json(thrown: Input) -> bytes:
    """The request as JSON, edited."""
    return edit_bytes(json.dumps(thrown.content).encode(), thrown.edits)


class HttpTarget:
    """REST, or Connect and gRPC-Web, on the HTTP port."""

    def __init__(self, port: int, key: str, make: Callable[[Input], "HttpRequest"]) -> None:
        self.tally = Tally()
        self._key, self._make = key, make
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)

    def send(self, thrown: Input) -> None:
        """Send an input over a connection that is kept. Raises AssertionError."""
        request = self._make(thrown)
        headers = {"authorization": f"Bearer {self._key}"} | dict(request.headers) | dict(thrown.headers)
        body = gzip.compress(request.body, 1) if thrown.variant % 4 == 1 else request.body
        headers |= {"content-encoding": "gzip"} if thrown.variant % 4 == 1 else {}
        try:
            self._connection.request(request.verb, request.path, body, headers)
            answer = self._connection.getresponse()
            status, raw = answer.status, answer.read()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self._connection.close()  # it was refused before its body was read
            self.tally.note("disconnected")
            return
        content = _unpack(raw, answer.headers.get("content-encoding", ""))
        _assert_harmless(f"{status}", content)
        allowed = (501, 504) if request.is_connect else ()
        assert status < 500 or status in allowed, (status, content[:300])
        if status == _DEADLINE_PASSED or answer.headers.get("grpc-status") == _GRPC_DEADLINE_PASSED:
            self.tally.unknown_events += _count_sent(thrown)
        elif status in (200, 202) and request.verb == "POST":
            self.tally.stored_events += request.count(content)
        self.tally.note(str(status))


@dataclass(frozen=True)
class HttpRequest:
    """What goes over HTTP; `count` reads how many events an answer says were stored."""

    verb: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    count: Callable[[bytes], int]
    is_connect: bool = False


def make_rest(thrown: Input) -> HttpRequest:
    """A request of the REST surface."""
    _, verb, path, _ = REQUESTS[thrown.rpc]
    if verb == "GET":
        pairs = [(name, str(one)) for name, value in _members(thrown) for one in _as_list(value)]
        query = urlencode(pairs, errors="surrogatepass")
        edited = edit_bytes(query.encode(), thrown.edits).decode("latin-1")
        path = f"{path}?{quote(edited, safe='=&%+')}"
        return HttpRequest(verb, path, {}, b"", lambda _: 0)
    headers = {"content-type": "application/json"}
    return HttpRequest(verb, path, headers, write_json(thrown), lambda body: _count(thrown.rpc, json.loads(body)))


def make_connect(thrown: Input) -> HttpRequest:
    """A unary Connect call by POST or GET, or a gRPC-Web one."""
    service, verb, _, _ = REQUESTS[thrown.rpc]
    path = f"/millimetric.v1.{service}/{thrown.rpc}"
    form = "proto" if thrown.is_proto else "json"
    body = write_proto(thrown) if thrown.is_proto else write_json(thrown)
    if thrown.variant == 2:
        headers = {"content-type": f"application/grpc-web+{form}", "x-grpc-web": "1"}
        framed = b"\0" + struct.pack(">I", len(body)) + body
        return HttpRequest("POST", path, headers, edit_bytes(framed, thrown.edits[:1]), _make_web_counter(thrown), True)  # noqa: FBT003
    if thrown.variant == 3 and verb == "GET":
        query = urlencode({"connect": "v1", "encoding": form, "base64": "1", "message": base64.urlsafe_b64encode(body)})
        return HttpRequest("GET", f"{path}?{query}", {}, b"", lambda _: 0, True)  # noqa: FBT003
    read = _make_proto_reader(thrown.rpc) if thrown.is_proto else json.loads
    headers = {"content-type": f"application/{form}"}
    return HttpRequest("POST", path, headers, body, lambda raw: _count(thrown.rpc, read(raw)), True)  # noqa: FBT003


class GrpcTarget:
    """Unary calls of the gRPC door, on raw bytes."""

    def __init__(self, address: str, key: str) -> None:
        self.tally = Tally()
        self._key = key
        self._channel = grpc.insecure_channel(address)

    def send(self, thrown: Input) -> None:
        """Send an input over a channel that is kept. Raises AssertionError."""
        method = f"/millimetric.v1.{REQUESTS[thrown.rpc][0]}/{thrown.rpc}"
        own = {"authorization": f"Bearer {self._key}"}
        sendable = {name: value for name, value in thrown.headers if _is_metadata(name, value)}
        compression = grpc.Compression.Gzip if thrown.variant % 4 == 1 else None
        try:
            body = self._channel.unary_unary(method)(
                write_proto(thrown),
                metadata=tuple((own | sendable).items()),
                timeout=_TIMEOUT_S,
                compression=compression,
            )
        except grpc.RpcError as error:
            self._note_refusal(error)
            return
        self.tally.stored_events += _count(thrown.rpc, _make_proto_reader(thrown.rpc)(body))
        self.tally.note("OK")

    def _note_refusal(self, error: Any) -> None:
        code = error.code().name
        _assert_harmless(code, str(error).encode())
        assert code not in ("INTERNAL", "UNKNOWN", "DATA_LOSS", "CANCELLED", "UNAVAILABLE"), error
        assert _read_reason(error), error
        self.tally.note(code)


class RawTarget:
    """The HTTP port as bytes on a connection: request lines, headers and framing that no library would send."""

    def __init__(self, port: int, key: str) -> None:
        self.tally = Tally()
        self._port, self._key = port, key

    def send(self, thrown: Input) -> None:
        """Send an input on a connection of its own, half-close it, and read what comes. Raises AssertionError."""
        request = make_rest(thrown) if thrown.is_proto else make_connect(thrown)
        names = {"authorization": f"Bearer {self._key}", "host": "test"} | dict(request.headers) | dict(thrown.headers)
        names |= {"content-length": str(len(request.body)), "connection": "close"}
        head = f"{request.verb} {request.path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in names.items())
        edited = edit_bytes(head.encode("latin-1", "replace") + b"\r\n", thrown.edits) + request.body
        answer = b""
        with socket.create_connection(("127.0.0.1", self._port), timeout=_TIMEOUT_S) as connection:
            try:
                connection.sendall(edited)
                connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(65536):
                    answer += piece
            except (BrokenPipeError, ConnectionResetError):
                pass  # it was refused before all was sent
        _assert_harmless("raw", answer)
        words = answer.split(b" ", 2)
        status = words[1].decode() if len(words) > 2 else "none"
        assert not status.startswith("5") or status in ("501", "504", "505"), answer[:300]
        self.tally.note(status)


TARGETS: dict[str, Callable[[ServerProcess, str], Target]] = {
    "rest": lambda server, key: HttpTarget(server.http_port, key, make_rest),
    "connect": lambda server, key: HttpTarget(server.http_port, key, make_connect),
    "grpc": lambda server, key: GrpcTarget(server.grpc_address, key),
    "http": lambda server, key: RawTarget(server.http_port, key),
}


def throw_inputs(target: Target, count: int) -> None:
    """Throw so many inputs at a target. Raises AssertionError, with the input."""

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs())
    def throw(thrown: Input) -> None:
        target.send(thrown)

    throw()


def _count(rpc: str, answer: Any) -> int:
    """How many events an answer says were stored now."""
    if rpc == "Track":
        return int(bool(answer.get("ok")) and not answer.get("duplicate") and not answer.get("dropped"))
    if rpc == "Identify":
        return int(bool(answer.get("ok")) and not answer.get("dropped"))
    if rpc == "Batch":
        return int(answer.get("count", 0)) - int(answer.get("duplicates", 0))
    return 0


def _count_sent(thrown: Input) -> int:
    if thrown.rpc != "Batch":
        return int(thrown.rpc in ("Track", "Identify"))
    events = thrown.content.get("events") if isinstance(thrown.content, dict) else None
    return len(events) if isinstance(events, list) else 0


def _make_proto_reader(rpc: str) -> Callable[[bytes], Any]:
    response = getattr(ingest_service_pb2, f"{rpc}Response", None)
    return (lambda body: json_format.MessageToDict(response.FromString(body))) if response else (lambda _: {})


def _make_web_counter(thrown: Input) -> Callable[[bytes], int]:
    read = _make_proto_reader(thrown.rpc) if thrown.is_proto else json.loads

    def count(framed: bytes) -> int:
        if len(framed) < 5 or framed[0] & 0x80:
            return 0
        (size,) = struct.unpack(">I", framed[1:5])
        return _count(thrown.rpc, read(framed[5 : 5 + size]))

    return count


def _read_reason(error: Any) -> str:
    """The reason among an error's details."""
    trailers = dict(error.trailing_metadata() or ())
    status = Status.FromString(trailers.get("grpc-status-details-bin", b""))
    for detail in status.details:
        info = ErrorInfo()
        if detail.Unpack(info):
            return info.reason
    return ""


def _assert_harmless(what: str, content: bytes) -> None:
    for leak in (b"Traceback", b'File "', b"millimetric_server", b"sqlite3.", b"DB::Exception"):
        assert leak not in content, (what, content[:300])


def _unpack(raw: bytes, encoding: str) -> bytes:
    return {"gzip": gzip.decompress, "zstd": zstd.decompress}.get(encoding, bytes)(raw)


def _is_metadata(name: str, value: str) -> bool:
    reserved = ("content-type", "content-encoding", "te", "connection", "grpc-timeout", "user-agent", "accept-encoding")
    return name not in reserved and value.isprintable() and value.isascii()


def _members(thrown: Input) -> list[tuple[str, Any]]:
    return list(thrown.content.items()) if isinstance(thrown.content, dict) else []


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
