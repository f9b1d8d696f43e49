"""Every wire form of Connect and gRPC-Web keeps the order of checks, the reasons, Retry-After, the log and the metrics.

Also: a deadline ends the waiting and not the write, Export streams over HTTP/1.1, TrackStream says where it is served.
"""

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from backports import zstd

from integration.connect_calls import CODES, GET, STREAM, TEXT, UNARY, WEB, Told, call, envelope, read_envelopes
from integration.reads import bearer, wait_for_key
from millimetric.v1 import query_service_connect, query_service_pb2
from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until

_TRACK, _STATS = "/millimetric.v1.IngestService/Track", "/millimetric.v1.QueryService/Stats"
_EXPORT = "/millimetric.v1.QueryService/Export"
_BYTES_MAX = 16 * 1024 * 1024


@pytest.fixture(scope="module")
def keys(server: ServerProcess) -> ProjectKeys:
    made = server.create_project("wires")
    wait_for_key(server, made)
    return made


@pytest.fixture(scope="module")
def waiting() -> Iterator[tuple[ServerProcess, ProjectKeys]]:
    """A server whose ClickHouse is away: a call that wants its event stored waits for seconds."""
    environ = {
        "MILLIMETRIC_CLICKHOUSE_URL": "http://127.0.0.1:1",
        "MILLIMETRIC_LOG_LEVEL": "debug",
        "MILLIMETRIC_RATE_LIMITS": "identify=1/1",
    }
    with ServerProcess(environ=environ) as server:
        made = server.create_project("waiting")
        wait_for_key(server, made)
        yield server, made


def count(server: ServerProcess, rpc: str, reason: str) -> float:
    """How many calls of this door ended so."""
    start = f'millimetric_requests_total{{door="connect",reason="{reason}",rpc="{rpc}"}} '
    lines = httpx.get(server.metrics_url).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start))


def assert_logged(server: ServerProcess, line: str) -> None:
    wait_until(lambda: line in server.log, f"{line} in the log")


def assert_code(told: Told, code: str) -> None:
    assert told.code in (code.lower(), str(CODES[code])), told


@pytest.mark.parametrize("wire", [UNARY, WEB, TEXT])
def test_a_deadline_ends_the_waiting_and_not_the_write(waiting: tuple[ServerProcess, ProjectKeys], wire: str) -> None:
    server, keys = waiting
    before = count(server, "Track", "deadline_exceeded")
    deadline = {"connect-timeout-ms": "60", "grpc-timeout": "60m"}
    for attempt in range(100):
        event = {"event": "x", "eventId": f"late-{wire}-{attempt}", "ack": "ACK_STORED"}
        told = call(server.base_url, _TRACK, wire, event, key=keys.secret, headers=deadline)
        if told.reason != "upstream_failed":  # the loader has just tried again
            break
    assert_code(told, "DEADLINE_EXCEEDED")
    assert told.reason == "deadline_exceeded"
    assert told.http_status == (504 if wire == UNARY else 200)
    assert count(server, "Track", "deadline_exceeded") == before + 1
    assert_logged(server, f"Track over connect: deadline_exceeded [{told.headers['x-request-id']}]")
    # The event went into the journal all the same, and so does whatever comes after it.
    again = call(server.base_url, _TRACK, wire, event | {"ack": "ACK_DURABLE"}, key=keys.secret)
    assert again.messages[0]["duplicate"] is True


@pytest.mark.parametrize("wire", [UNARY, WEB])
@pytest.mark.parametrize("deadline", ["0", "1"])
def test_a_deadline_of_nothing_harms_nobody(
    waiting: tuple[ServerProcess, ProjectKeys], wire: str, deadline: str
) -> None:
    server, keys = waiting
    headers = {"connect-timeout-ms": deadline, "grpc-timeout": f"{deadline}m"}
    for _ in range(20):
        told = call(server.base_url, _TRACK, wire, {"event": "x"}, key=keys.secret, headers=headers)
        assert told.code == "ok" or told.reason == "deadline_exceeded", told
    assert call(server.base_url, _TRACK, wire, {"event": "x"}, key=keys.secret).code == "ok"


@pytest.mark.parametrize(
    ("wire", "name", "longest"), [(UNARY, "connect-timeout-ms", "9" * 10), (WEB, "grpc-timeout", "9" * 8 + "H")]
)
def test_the_longest_deadline_is_one(
    server: ServerProcess, keys: ProjectKeys, wire: str, name: str, longest: str
) -> None:
    assert call(server.base_url, _TRACK, wire, {"event": "x"}, key=keys.secret, headers={name: longest}).code == "ok"


@pytest.mark.parametrize("wire", [UNARY, WEB, TEXT])
def test_a_refusal_for_its_rate_says_when_to_come_back(waiting: tuple[ServerProcess, ProjectKeys], wire: str) -> None:
    server, keys = waiting
    path, person = "/millimetric.v1.IngestService/Identify", {"anonymousId": "d1", "userId": "u1"}
    headers = {"connect-timeout-ms": "30000", "grpc-timeout": "30S"}
    told = [call(server.base_url, path, wire, person, key=keys.secret, headers=headers) for _ in range(5)]
    limited = next(one for one in told if one.code != "ok")
    assert_code(limited, "RESOURCE_EXHAUSTED")
    assert limited.reason == "rate_limited"
    assert int(limited.headers["retry-after"]) >= 1


_BAD: dict[str, tuple[str, str, dict[str, str], bytes | None]] = {
    "timeout": (UNARY, _TRACK, {"connect-timeout-ms": "soon"}, None),
    "timeout-of-11-digits": (UNARY, _TRACK, {"connect-timeout-ms": "12345678901"}, None),
    "timeout-of-grpc": (WEB, _TRACK, {"grpc-timeout": "5 s"}, None),
    "protocol-version": (UNARY, _TRACK, {"connect-protocol-version": "2"}, None),
    "compression": (UNARY, _TRACK, {"content-encoding": "br", "connect-timeout-ms": "5000"}, b"x"),
    "compression-of-grpc": (WEB, _TRACK, {"grpc-encoding": "br"}, None),
    "compression-of-stream": (STREAM, _EXPORT, {"connect-content-encoding": "br"}, None),
    "no-gzip": (UNARY, _TRACK, {"content-encoding": "gzip", "connect-timeout-ms": "5000"}, b"x"),
    "no-gzip-in-envelope": (WEB, _TRACK, {"grpc-encoding": "gzip"}, envelope(b"x", 1)),
    "envelope-cut-off": (WEB, _TRACK, {}, b"\0\0\0\0\x09x"),
    "envelope-without-head": (STREAM, _EXPORT, {}, b"\0\0"),
    "envelope-with-flags": (STREAM, _EXPORT, {}, envelope(b"{}", 4)),
    "envelopes-none": (WEB, _TRACK, {}, b""),
    "envelopes-two": (STREAM, _EXPORT, {}, envelope(b"{}") * 2),
    "no-base64": (TEXT, _TRACK, {}, b"*"),
}


@pytest.mark.parametrize("name", _BAD)
def test_what_breaks_the_protocol_is_refused_in_our_words(server: ServerProcess, keys: ProjectKeys, name: str) -> None:
    wire, path, headers, raw = _BAD[name]
    rpc = path.rpartition("/")[2]
    before = count(server, rpc, "invalid_payload"), count(server, rpc, "missing_bearer_token")
    stranger = call(server.base_url, path, wire, {"event": "x"}, headers=headers, raw=raw)
    assert stranger.reason == "missing_bearer_token"
    told = call(server.base_url, path, wire, {"event": "x"}, key=keys.secret, headers=headers, raw=raw)
    assert told.reason == "invalid_payload"
    assert told.http_status in (200, 400, 501)
    assert (count(server, rpc, "invalid_payload"), count(server, rpc, "missing_bearer_token")) == (
        before[0] + 1,
        before[1] + 1,
    )
    assert_logged(server, f"{rpc} over connect: invalid_payload [{told.headers['x-request-id']}]")


@pytest.mark.parametrize("wire", [UNARY, WEB, TEXT])
@pytest.mark.parametrize("is_packed", [False, True], ids=["as-sent", "decompressed"])
def test_too_large_is_told_with_its_reason(
    server: ServerProcess,
    keys: ProjectKeys,
    wire: str,
    is_packed: bool,  # noqa: FBT001
) -> None:
    message = b" " * (_BYTES_MAX + 1)
    headers = {"connect-timeout-ms": "60000"}
    if is_packed:
        message = gzip.compress(message)
        headers |= {"content-encoding": "gzip"} if wire == UNARY else {"grpc-encoding": "gzip"}
    raw = message if wire == UNARY else envelope(message, int(is_packed))
    raw = base64.b64encode(raw) if wire == TEXT else raw
    told = call(server.base_url, _TRACK, wire, {}, key=keys.secret, headers=headers, raw=raw)
    assert_code(told, "RESOURCE_EXHAUSTED")
    assert told.reason == "payload_too_large"
    assert call(server.base_url, _TRACK, wire, {}, headers=headers, raw=raw).reason == "missing_bearer_token"


@pytest.mark.parametrize("wire", [UNARY, WEB, TEXT, GET])
def test_every_form_asks_the_same_of_a_reader(server: ServerProcess, keys: ProjectKeys, wire: str) -> None:
    asked = {"groupBy": ["source"], "limit": "5"}
    assert call(server.base_url, _STATS, wire, asked, key=keys.read).code == "ok"
    assert call(server.base_url, _STATS, wire, asked).reason == "missing_bearer_token"
    assert call(server.base_url, _STATS, wire, asked, key=keys.public).reason == "insufficient_scope"
    assert call(server.base_url, _STATS, wire, {"limit": 1001}, key=keys.read).reason == "invalid_params"


@pytest.mark.parametrize(
    ("wire", "headers"),
    [
        (UNARY, {"connect-timeout-ms": "5000"}),
        (WEB, {}),
        (TEXT, {}),
        (GET, {}),
    ],
    ids=[UNARY, WEB, TEXT, GET],
)
def test_repeated_headers_are_joined_in_every_form(
    server: ServerProcess, keys: ProjectKeys, wire: str, headers: dict[str, str]
) -> None:
    key = keys.read if wire == GET else keys.secret
    path = _STATS if wire == GET else _TRACK
    lines = [*headers.items(), ("authorization", f"Bearer {key}")]
    for repeated, reason in (
        ([("authorization", f"Bearer {key}")], "malformed_api_key"),
        ([("origin", "https://a.example"), ("origin", "https://b.example")], "origin_not_allowed"),
    ):
        told = call(server.base_url, path, wire, {"event": "x"}, headers=[*lines, *repeated])
        assert told.reason == reason


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("wire", [UNARY, WEB])
def test_compressed_requests_are_read(server: ServerProcess, keys: ProjectKeys, wire: str, encoding: str) -> None:
    pack = gzip.compress if encoding == "gzip" else zstd.compress
    message = json.dumps({"event": "x", "properties": {"a": "y" * 5000}}).encode()
    raw = pack(message) if wire == UNARY else envelope(pack(message), 1)
    name = "content-encoding" if wire == UNARY else "grpc-encoding"
    told = call(server.base_url, _TRACK, wire, {}, key=keys.secret, headers={name: encoding}, raw=raw)
    assert told.code == "ok", told


@pytest.fixture(scope="module")
def file(server: ServerProcess, keys: ProjectKeys) -> bytes:
    """What REST sends of the project, which has events of a day long gone."""
    events: list[dict[str, Any]] = [
        {"event": "kept", "event_id": f"e{number}", "timestamp": "2026-09-01", "properties": {"pad": "x" * 800}}
        for number in range(900)
    ]
    body = {"events": events, "ack": "stored"}
    httpx.post(f"{server.base_url}/v1/batch", json=body, headers=bearer(keys.secret), timeout=60).raise_for_status()
    answer = httpx.get(f"{server.base_url}/v1/export", params=_RANGE, headers=bearer(keys.read), timeout=60)
    assert answer.content.count(b"\n") == 900
    return answer.content


_RANGE = {"from": "2026-09-01", "to": "2026-09-02"}


@pytest.mark.parametrize("wire", [STREAM, WEB, TEXT])
def test_export_streams_over_http(server: ServerProcess, keys: ProjectKeys, file: bytes, wire: str) -> None:
    told = call(server.base_url, _EXPORT, wire, _RANGE, key=keys.read)
    assert told.code == "ok"
    assert len(told.messages) > 1
    assert b"".join(base64.b64decode(message["data"]) for message in told.messages) == file
    refused = call(server.base_url, _EXPORT, wire, {"format": "EXPORT_FORMAT_XML"}, key=keys.read)
    assert refused.reason in ("invalid_params", "invalid_payload")
    assert call(server.base_url, _EXPORT, wire, {}).reason == "missing_bearer_token"


def test_a_generated_client_exports_over_connect(server: ServerProcess, keys: ProjectKeys, file: bytes) -> None:
    request = query_service_pb2.ExportRequest(**{"from": _instant(1), "to": _instant(2)})
    with query_service_connect.QueryServiceClientSync(server.base_url) as client:
        pieces = list(client.export(request, headers=bearer(keys.read), timeout_ms=60_000))
    assert b"".join(piece.data for piece in pieces) == file


def _instant(day: int) -> Any:
    from google.protobuf.timestamp_pb2 import Timestamp

    moment = Timestamp()
    moment.FromJsonString(f"2026-09-{day:02}T00:00:00Z")
    return moment


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_streams_messages_are_compressed_for_who_accepts_it(
    server: ServerProcess, keys: ProjectKeys, file: bytes, encoding: str
) -> None:
    answer = httpx.post(
        f"{server.base_url}{_EXPORT}",
        content=envelope(json.dumps(_RANGE).encode()),
        headers={
            "content-type": "application/connect+json",
            "connect-accept-encoding": encoding,
            **bearer(keys.read),
        },
        timeout=60,
    )
    assert answer.headers["connect-content-encoding"] == encoding
    *messages, _ = read_envelopes(answer.content)
    unpack = gzip.decompress if encoding == "gzip" else zstd.decompress
    data = [json.loads(unpack(message) if flags & 1 else message)["data"] for flags, message in messages]
    assert b"".join(map(base64.b64decode, data)) == file
    assert len(answer.content) < len(file) / 4


@pytest.mark.parametrize("wire", [STREAM, WEB, UNARY])
@pytest.mark.parametrize("name", ["IngestService/TrackStream", "IngestService/Nothing"])
def test_what_is_not_served_over_http_is_unimplemented(server: ServerProcess, wire: str, name: str) -> None:
    told = call(server.base_url, f"/millimetric.v1.{name}", wire, {})
    assert_code(told, "UNIMPLEMENTED")
    assert told.reason == "not_found"
    assert told.http_status == (501 if wire == UNARY else 200)


@pytest.mark.parametrize("wire", [STREAM, WEB, UNARY])
@pytest.mark.parametrize("service", ["millimetric.v1.NoService", "millimetric.v1.AdminService"])
def test_a_service_that_the_protos_do_not_have_is_unimplemented_and_not_found(
    server: ServerProcess, wire: str, service: str
) -> None:
    told = call(server.base_url, f"/{service}/CreateProject", wire, {})
    assert_code(told, "UNIMPLEMENTED")
    assert told.reason == "not_found"
    assert told.http_status == (200 if wire == STREAM else 404)


def test_a_stream_of_a_caller_who_leaves_gives_its_place_back(server: ServerProcess, keys: ProjectKeys) -> None:
    headers = {"content-type": "application/connect+json", **bearer(keys.read)}
    for _ in range(6):
        with httpx.stream(
            "POST", f"{server.base_url}{_EXPORT}", content=envelope(b"{}"), headers=headers, timeout=60
        ) as answer:
            assert answer.status_code == 200

    def is_free() -> bool:
        return call(server.base_url, _EXPORT, STREAM, _RANGE, key=keys.read).code == "ok"

    wait_until(is_free, "a place for an export")
