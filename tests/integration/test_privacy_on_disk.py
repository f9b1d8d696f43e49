"""Nothing that identifies a visitor is left of a run: not in a file, a column, a log line or an answer."""

import ipaddress
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import grpc
import httpx
import pytest

from integration.reads import wait_for_key
from millimetric.v1 import (
    attribution_pb2,
    event_pb2,
    ingest_service_pb2,
    ingest_service_pb2_grpc,
    query_service_pb2_grpc,
)
from support.server_process import ORIGIN, ProjectKeys, ServerProcess
from support.waiting import wait_until

# Addresses of the ranges for documentation: nothing else on this machine has them.
_ADDRESSES = {
    "proxied": "203.0.113.77",
    "context": "198.51.100.203",
    "batch": "2001:db8:7a:51c3::9d41",
    "identify": "2001:db8:11d7:a8::5f02",
    "explain": "192.0.2.214",
    "grpc": "2001:db8:e4b1:3c::77aa",
    "bad": "198.51.100.119",
}
_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36 {}Eye/77.31"
_SECRETS = {
    "email": "priv.jane.7731@mail.example",
    "token": "tok-5f2b9c77e1d0",
    "password": "pw-91c3aa7e55",
    "userinfo": "usr-77d1b2:inf-77d1b3",
    "fragment": "frag-a81e77c2",
    "nested": "nest-c77e19f3",
    "session": "sess-4e77b0d9",
    "refresh": "refr-77aa01be",
}
_STATUSES = [202, 202, 202, 200, 200, 200, 200, 200] + [400] * 8 + [400, 400, 400, 401, 403, 202, 200]
_DUMP = """
import json, sys
from millimetric_server.store.clickhouse import ClickHouse
store = ClickHouse(sys.argv[1], "millimetric")
store.open()
columns = store.query("SELECT table, name, type FROM system.columns WHERE database = currentDatabase()")
for table, name, kind in columns:
    for (value,) in store.query(f"SELECT DISTINCT hex(toString({name})) FROM {table}"):
        print(table, name, bytes.fromhex(value).decode("utf-8", "backslashreplace"))
store.close()
"""


def _make_agent(name: str) -> str:
    return _AGENT.format(name.capitalize())


def _make_url(host: str) -> str:
    secrets = _SECRETS
    return (
        f"https://{secrets['userinfo']}@{host}/page;jsessionid={secrets['session']}?utm_source=news"
        f"&email={quote(secrets['email'])}&e_mail={secrets['email']}&Token={secrets['token']}&user[password]={secrets['password']}"
        f"&next={quote('https://a.example/?refresh_token=' + secrets['refresh'], safe='')}"
        f"&back=https://b.example/?code={secrets['nested']}#{secrets['fragment']}"
    )


_EVENT = {"event": "signup", "url": _make_url("shop.example"), "referrer": _make_url("news.example")}


@contextmanager
def _run_server() -> Iterator[tuple[ServerProcess, ProjectKeys]]:
    environ = {"MILLIMETRIC_LOG_LEVEL": "debug", "MILLIMETRIC_TRUSTED_PROXIES": "127.0.0.0/8"}
    with ServerProcess(environ=environ) as server:
        keys = server.create_project("private")
        wait_for_key(server, keys)
        yield server, keys


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _make_context(name: str) -> dict[str, str]:
    return {"ip": _ADDRESSES[name], "user_agent": _make_agent(name)}


def _send_over_http(server: ServerProcess, keys: ProjectKeys) -> Iterator[httpx.Response]:
    """Every write and Explain over REST and Connect, and calls that fail with the secrets in hand."""
    browser = _bearer(keys.public) | {
        "Origin": ORIGIN,
        "User-Agent": _make_agent("proxied"),
        "X-Forwarded-For": _ADDRESSES["proxied"],
        "Referer": _make_url("referer.example"),
    }
    backend = _bearer(keys.secret)
    connect = "/millimetric.v1.IngestService/Batch"
    batch = [_EVENT | {"context": {"ip": _ADDRESSES["batch"], "userAgent": _make_agent("batch")}}] * 3
    bad = _EVENT | {"context": _make_context("bad")}
    identify = {"anonymous_id": "a", "user_id": "u", "context": _make_context("identify")}
    with httpx.Client(base_url=server.base_url) as client:
        yield client.post("/v1/track", json=_EVENT, headers=browser | {"Millimetric-Ack": "stored"})
        yield client.post("/v1/track", json={"event": "no_referrer"}, headers=browser)
        yield client.post("/v1/track", json=_EVENT | {"context": _make_context("context")}, headers=backend)
        yield client.post("/v1/identify", json=identify, headers=backend)
        yield client.post(connect, json={"events": batch}, headers=backend)
        yield client.post("/v1/explain", json=_EVENT | {"context": _make_context("explain")}, headers=backend)
        yield client.post("/v1/explain", json=_EVENT, headers=browser | _bearer(keys.read))
        yield client.get("/v1/query", params={"limit": 1000}, headers=backend)
        for broken in ({"timestamp": "x"}, {"timestamp": "1999-01-01"}, {"session_id": 7}, {"properties": [1]}):
            yield client.post("/v1/track", json=bad | broken, headers=backend)
            yield client.post("/v1/batch", json={"events": [bad | broken]}, headers=backend)
        yield client.post("/v1/explain", json=bad | {"rule_set": "none"}, headers=backend)
        yield client.post("/v1/track", json=bad | {"url": f"no url {_SECRETS['token']}"}, headers=backend)
        yield client.post("/v1/track", content=str(bad).encode(), headers=browser)
        yield client.post("/v1/track", json=bad, headers=browser | _bearer("pk_live_00000000_" + "x" * 32))
        yield client.post("/v1/track", json=bad, headers=browser | {"Origin": "https://other.example"})
        yield client.post("/v1/track", json=bad, headers=browser | {"Sec-GPC": "1"})
        yield client.get(server.metrics_url)


def _send_over_grpc(server: ServerProcess, keys: ProjectKeys) -> Iterator[str]:
    metadata = (
        ("authorization", f"Bearer {keys.secret}"),
        ("x-forwarded-for", _ADDRESSES["grpc"]),
        ("referer", _make_url("referer.example")),
    )
    context = event_pb2.EventContext(user_agent=_make_agent("grpc"))
    with grpc.insecure_channel(server.grpc_address, (("grpc.primary_user_agent", _make_agent("grpc")),)) as channel:
        ingest = ingest_service_pb2_grpc.IngestServiceStub(channel)
        query = query_service_pb2_grpc.QueryServiceStub(channel)
        yield str(ingest.Track(ingest_service_pb2.TrackRequest(**_EVENT, context=context), metadata=metadata))
        yield str(query.Explain(attribution_pb2.ExplainRequest(**_EVENT), metadata=metadata))
        with pytest.raises(grpc.RpcError) as caught:
            ingest.Track(ingest_service_pb2.TrackRequest(url=_EVENT["url"], context=context), metadata=metadata)
        error = caught.value
        yield f"{error.details()}{error.trailing_metadata()}"


def _list_needles() -> dict[str, bytes]:
    """What must not be found, by what it is."""
    needles = {f"address {name}": address.encode() for name, address in _ADDRESSES.items()}
    needles |= {f"agent {name}": f"{name.capitalize()}Eye/".encode() for name in _ADDRESSES}
    needles |= {f"secret {name}": secret.encode() for name, secret in _SECRETS.items()}
    needles |= {f"encoded {name}": quote(secret, safe="").encode() for name, secret in _SECRETS.items()}
    packed = {f"packed {name}": ipaddress.ip_address(address).packed for name, address in _ADDRESSES.items()}
    return needles | packed


def _find(content: bytes, *, is_compressed: bool = False) -> list[str]:
    """Name what is found. Four bytes may stand in a compressed file by chance, so there they prove nothing."""
    return [
        what
        for what, needle in _list_needles().items()
        if needle in content and not (is_compressed and len(needle) == 4)
    ]


def _search_files(folder: Path) -> dict[str, list[str]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            is_compressed = "clickhouse" in path.relative_to(folder).parts
            if what := _find(path.read_bytes(), is_compressed=is_compressed):
                found[str(path.relative_to(folder))] = what
    return found


def test_no_address_agent_or_redacted_value_is_left_anywhere() -> None:
    with _run_server() as (server, keys):
        responses = list(_send_over_http(server, keys))
        assert [response.status_code for response in responses] == _STATUSES
        answers = [f"{response.headers}{response.text}" for response in responses]
        answers += _send_over_grpc(server, keys)
        server.kill()  # the journal's write-ahead log is still there
        assert _search_files(server.data_dir) == {}
        assert (server.data_dir / "journal.db-wal").stat().st_size > 0
        server.start()
        assert server.stop() == 0
        assert _search_files(server.data_dir) == {}

        dumped = subprocess.run(
            [sys.executable, "-c", _DUMP, f"chdb://{server.data_dir}/clickhouse"], capture_output=True, check=True
        ).stdout
        assert dumped.count(b"events url https://shop.example/page;jsessionid=redacted?utm_source=news&") == 1
        assert b"events browser chrome" in dumped
        assert b"sessions entry " in dumped
        assert _find(dumped) == []
        assert _find("".join(answers).encode()) == []
        wait_until(lambda: "Track over rest: invalid_payload" in server.log, "the log has the refusal")


def test_what_is_searched_for_would_be_found() -> None:
    url = _make_url("shop.example").encode()
    assert {what.split()[1] for what in _find(url)} == set(_SECRETS)
    assert _find(b"..\xc0\x00\x02\xd6..") == ["packed explain"]
    assert _find(_make_agent("grpc").encode()) == ["agent grpc"]
