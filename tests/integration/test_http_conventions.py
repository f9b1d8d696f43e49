"""What HTTP itself asks of every route: verbs, 405 with Allow, HEAD, 415, WWW-Authenticate, request ids, compression.

And what pages need beyond that: a preflight that allows whatever headers they send.
"""

import gzip
import json
import re

import httpx
import pytest
from backports import zstd

from integration.reads import bearer, wait_for_key
from support.server_process import ORIGIN, ProjectKeys, ServerProcess
from support.waiting import wait_until

_TRACK = "/millimetric.v1.IngestService/Track"
_STATS = "/millimetric.v1.QueryService/Stats"
_ID = re.compile(r"[0-9a-f-]{36}")


@pytest.fixture(scope="module")
def keys(server: ServerProcess) -> ProjectKeys:
    made = server.create_project("conventions")
    wait_for_key(server, made)
    events = [{"event": "x", "properties": {"pad": f"{number}" * 200}} for number in range(500)]
    with httpx.Client(base_url=server.base_url, headers=bearer(made.secret), timeout=60) as client:
        client.post("/v1/batch", json={"events": events, "ack": "stored"}).raise_for_status()
    return made


@pytest.fixture(scope="module")
def writer(server: ServerProcess) -> ProjectKeys:
    """A project for what is written: the tests that read know the events of theirs."""
    made = server.create_project("conventions_writes")
    wait_for_key(server, made)
    return made


@pytest.fixture(scope="module")
def http(server: ServerProcess) -> httpx.Client:
    return httpx.Client(base_url=server.base_url, timeout=60)


@pytest.mark.parametrize(
    ("verb", "path", "allowed"),
    [
        ("GET", "/v1/track", "POST"),
        ("DELETE", "/v1/batch", "POST"),
        ("HEAD", "/v1/identify", "POST"),
        ("PATCH", "/v1/funnel", "POST"),
        ("POST", "/v1/query", "GET, HEAD"),
        ("PUT", "/v1/erasures/e1", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("DELETE", "/readyz", "GET, HEAD"),
        ("GET", _TRACK, "POST"),
        ("PUT", _STATS, "GET, HEAD, POST"),
    ],
)
def test_another_verb_is_405_and_the_right_ones_are_named(
    http: httpx.Client, verb: str, path: str, allowed: str
) -> None:
    answer = http.request(verb, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    if verb != "HEAD":
        content = answer.json()
        assert content.get("error", "not_found") == "not_found"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/query", "/v1/stats", "/v1/export"])
def test_head_is_get_without_a_body(http: httpx.Client, keys: ProjectKeys, path: str) -> None:
    for headers in (bearer(keys.read), {}):
        got, head = http.get(path, headers=headers), http.head(path, headers=headers)
        assert head.status_code == got.status_code
        assert head.content == b""
        assert head.headers["content-type"] == got.headers["content-type"]
        if path in ("/healthz", "/v1/query"):
            assert head.headers.get("content-length") == got.headers.get("content-length")
    assert http.head("/v1/nothing").status_code == 404


def test_head_works_for_connects_get(http: httpx.Client, keys: ProjectKeys) -> None:
    query = {"connect": "v1", "encoding": "json", "message": "{}"}
    answer = http.head(_STATS, params=query, headers=bearer(keys.read))
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    "content_type", ["image/png", "application/xml", "application/grpc", "application/grpc-web+foo"]
)
def test_another_kind_of_body_is_415_and_the_right_ones_are_named(
    http: httpx.Client, keys: ProjectKeys, content_type: str
) -> None:
    for path, kind in (("/v1/track", "application/json"), (_TRACK, "application/proto")):
        headers = {"content-type": content_type, **bearer(keys.secret)}
        answer = http.post(path, content=b"x", headers=headers)
        assert answer.status_code == 415
        assert kind in answer.headers["accept-post"].split(", ")
        assert http.post(path, content=b"x", headers={"content-type": content_type}).status_code in (401, 200)


@pytest.mark.parametrize("path", ["/v1/track", _TRACK])
def test_a_stranger_is_told_how_to_authenticate(http: httpx.Client, path: str) -> None:
    for headers in ({}, {"authorization": "Basic eDp5"}, bearer("sk_live_00000000_" + "x" * 32)):
        answer = http.post(path, json={"event": "x"}, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("POST", "/v1/track"),
        ("POST", _TRACK),
        ("GET", "/v1/query"),
        ("GET", "/v1/nothing"),
        ("DELETE", "/v1/track"),
        ("OPTIONS", "/v1/track"),
        ("POST", "/millimetric.v1.IngestService/Nothing"),
        ("GET", "/healthz"),
        ("HEAD", "/readyz"),
    ],
)
def test_every_answer_has_a_request_id(http: httpx.Client, keys: ProjectKeys, verb: str, path: str) -> None:
    for headers in (bearer(keys.secret), {}):
        first, second = (http.request(verb, path, headers=headers).headers["x-request-id"] for _ in range(2))
        assert _ID.fullmatch(first)
        assert first != second
        own = {"x-request-id": "trace-7/a:b=c", **headers}
        assert http.request(verb, path, headers=own).headers["x-request-id"] == "trace-7/a:b=c"


@pytest.mark.parametrize("sent", ["", "x" * 129, "a b", 'a"b', "a,b", "ü", "a]", "a\tb"])
def test_an_id_that_could_harm_a_log_is_not_taken(http: httpx.Client, sent: str) -> None:
    answer = http.post("/v1/track", headers=[(b"x-request-id", sent.encode("latin-1"))])
    assert _ID.fullmatch(answer.headers["x-request-id"])


def test_the_log_has_the_callers_id(server: ServerProcess, http: httpx.Client, keys: ProjectKeys) -> None:
    for number, path in enumerate(("/v1/track", _TRACK)):
        request_id = f"find-me-{number}"
        http.post(path, json={"event": ""}, headers={"x-request-id": request_id, **bearer(keys.secret)})
        wanted = f"invalid_payload [{request_id}]"
        wait_until(lambda: wanted in server.log, f"{wanted} in the log")  # noqa: B023 - called at once


def test_two_reads_with_one_id_do_not_end_each_other(http: httpx.Client, keys: ProjectKeys) -> None:
    """ClickHouse is told to end a query by its mark: a caller must not be able to choose it."""
    headers = {"x-request-id": "same", **bearer(keys.read)}
    with http.stream("GET", "/v1/export", headers=headers) as first:
        assert first.status_code == 200
    assert http.get("/v1/export", headers=headers).text.count("\n") == 500


@pytest.mark.parametrize("path", ["/v1/track", "/v1/export", _TRACK])
def test_a_preflight_allows_whatever_a_page_sends(http: httpx.Client, path: str) -> None:
    asked = "authorization,baggage,sentry-trace,traceparent,tracestate,x-datadog-parent-id,x-request-id,idempotency-key"
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }
    answer = http.options(path, headers=headers)
    assert answer.status_code == 204
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert allowed >= {*asked.split(","), "content-type", "content-encoding", "millimetric-ack"}
    methods = {name.strip() for name in answer.headers["access-control-allow-methods"].split(",")}
    assert methods == {"GET", "HEAD", "POST"}
    assert "access-control-request-headers" in answer.headers["vary"].lower()
    exposed = http.post(path).headers["access-control-expose-headers"].lower()
    assert {"retry-after", "x-request-id"} <= {name.strip() for name in exposed.split(",")}


def test_a_preflight_repeats_no_nonsense(http: httpx.Client) -> None:
    headers = {"Access-Control-Request-Headers": "good, b ad, <script>, " + ",".join(f"x{n}" for n in range(200))}
    answer = http.options("/v1/track", headers=headers)
    allowed = [name.strip() for name in answer.headers["access-control-allow-headers"].split(",")]
    assert "good" in allowed
    assert not {"b ad", "<script>"} & set(allowed)
    assert len(allowed) < 150


_DECODERS = {"gzip": gzip.decompress, "zstd": zstd.decompress}


def _read_raw(http: httpx.Client, path: str, accepted: str | None, keys: ProjectKeys, **params: str) -> httpx.Response:
    """Ask; the body is left as it came."""
    headers = {**bearer(keys.read), "accept-encoding": accepted} if accepted is not None else bearer(keys.read)
    request = http.build_request("GET", path, headers=headers, params=params)
    if accepted is None:
        del request.headers["accept-encoding"]
    answer = http.send(request, stream=True)
    answer._content = b"".join(answer.iter_raw())
    return answer


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("zstd;q=0, gzip;q=0.1", "gzip"),
        ("*", "zstd"),
        ("*;q=0.5, zstd;q=0", "gzip"),
        ("GZIP", "gzip"),
        ("gzip;q=0", ""),
        ("br, deflate", ""),
        ("identity", ""),
        ("gzip;q=nonsense", ""),
        ("", ""),
        (None, ""),
    ],
)
@pytest.mark.parametrize("path", ["/v1/query", "/v1/export"])
def test_answers_are_compressed_as_their_caller_accepts(
    http: httpx.Client, keys: ProjectKeys, path: str, accepted: str | None, encoding: str
) -> None:
    params = {"limit": "500"} if path == "/v1/query" else {}
    answer = _read_raw(http, path, accepted, keys, **params)
    assert answer.status_code == 200
    assert answer.headers.get("content-encoding", "") == encoding
    assert answer.headers["vary"] == "Accept-Encoding"
    plain = _DECODERS[encoding](answer.content) if encoding else answer.content
    assert plain == _read_raw(http, path, None, keys, **params).content
    assert not encoding or len(answer.content) < len(plain) / 4


def test_connects_answers_are_compressed_too(http: httpx.Client, keys: ProjectKeys) -> None:
    for content_type, body in (("application/json", b"{}"), ("application/proto", b"")):
        headers = {"content-type": content_type, "accept-encoding": "gzip", **bearer(keys.read)}
        answer = http.post("/millimetric.v1.QueryService/Query", content=body, headers=headers)
        assert answer.headers["content-encoding"] == "gzip"
        assert len(answer.content) > 20_000


def test_what_would_not_shrink_stays_as_it_is(http: httpx.Client, keys: ProjectKeys) -> None:
    headers = {"accept-encoding": "gzip, zstd", **bearer(keys.read)}
    assert "content-encoding" not in http.get("/v1/stats", headers=headers).headers
    assert "content-encoding" not in http.get("/v1/export", params={"format": "parquet"}, headers=headers).headers


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("path", ["/v1/track", _TRACK])
def test_compressed_bodies_are_read_within_the_bound(
    http: httpx.Client, writer: ProjectKeys, path: str, encoding: str
) -> None:
    pack = gzip.compress if encoding == "gzip" else zstd.compress
    headers = {"content-type": "application/json", "content-encoding": encoding, **bearer(writer.secret)}
    body = json.dumps({"event": "x", "properties": {"a": "y" * 5000}}).encode()
    assert http.post(path, content=pack(body), headers=headers).is_success
    bomb = http.post(path, content=pack(b" " * 100_000_000), headers=headers)
    assert bomb.status_code == (413 if path == "/v1/track" else 429)
    for broken in (pack(body)[:-10], body, pack(body) + b"x"):
        assert http.post(path, content=broken, headers=headers).status_code == 400
