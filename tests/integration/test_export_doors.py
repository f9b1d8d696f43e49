"""Exports over REST and gRPC: the files, the places for them, and what happens when one end is gone in the middle."""

import contextlib
import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from integration.reads import bearer, read_reason, wait_for_key, wait_for_reads
from millimetric.v1 import query_service_pb2, query_service_pb2_grpc
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.read_pool import EXPORTS_MAX
from support.clickhouse_server import ClickHouseServer
from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until

_TYPES = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
_FORMATS = {
    "ndjson": query_service_pb2.EXPORT_FORMAT_NDJSON,
    "csv": query_service_pb2.EXPORT_FORMAT_CSV,
    "parquet": query_service_pb2.EXPORT_FORMAT_PARQUET,
}
_ROWS, _MANY_ROWS = 150_000, 300_000
_SHARE = EXPORTS_MAX // 2  # that one project gets
# About 700 bytes a line: many times what sockets and doors hold between them.
_SEED = """
INSERT INTO events (project_id, event, event_id, timestamp, received_at, anonymous_id, session_id, properties, source,
    medium, rule_set, retention_days)
SELECT '{project}', 'seeded', toString(number), toDateTime64('2026-09-01 00:00:00', 6, 'UTC') + intDiv(number, 3),
    now64(6), toString(number % 1000), toString(number % 5000),
    concat('{{"pad":"', repeat(hex(MD5(toString(number))), 8), '"}}'),
    'direct', 'direct', 'standard-1', 3650
FROM numbers({count})
"""
# The embedded engine is one process's: a stopped server's data is filled from another.
_FILL = """
import sys
from millimetric_server.store.clickhouse import ClickHouse
store = ClickHouse(sys.argv[1], "millimetric")
store.open()
for statement in sys.argv[2:]:
    store.command(statement)
store.close()
"""
_READ_PARQUET = """
import sys
from chdb import query
print(query(f"SELECT toString(groupArray(event_id)) FROM file('{sys.argv[1]}', 'Parquet')", "TabSeparatedRaw"), end="")
"""


def _seed(project: ProjectKeys, count: int) -> str:
    return _SEED.format(project=project.project_id, count=count)


@pytest.fixture(scope="module")
def small(server: ServerProcess) -> ProjectKeys:
    """A project with 2,500 events that came the usual way."""
    keys = server.create_project("export-small")
    wait_for_key(server, keys)
    for first in range(0, 2500, 500):
        events = [
            {
                "event": "odd" if number % 2 else "even",
                "event_id": f"e{number:05}",
                "timestamp": f"2026-09-01T00:{number // 60 % 60:02}:{number % 60:02}{'.001' if number % 7 else ''}Z",
                "anonymous_id": f"d{number % 10}",
                "properties": {"text": 'a "quoted", line\nbreak / 💶', "n": number},
            }
            for number in range(first, first + 500)
        ]
        _post(server, keys, events)
    return keys


def _post(server: ServerProcess, keys: ProjectKeys, events: list[dict[str, Any]]) -> None:
    body = {"events": events, "ack": "stored"}
    httpx.post(f"{server.base_url}/v1/batch", json=body, headers=bearer(keys.secret), timeout=60).raise_for_status()


@pytest.fixture(scope="module")
def full() -> Iterator[tuple[ServerProcess, ProjectKeys, ProjectKeys]]:
    """A server with two large projects."""
    with ServerProcess() as server:
        projects = [server.create_project(name) for name in ("export-large", "export-larger")]
        server.stop()
        fill(server, *(_seed(keys, count) for keys, count in zip(projects, (_ROWS, _MANY_ROWS), strict=True)))
        server.start()
        yield server, projects[0], projects[1]


def fill(server: ServerProcess, *statements: str) -> None:
    url = f"chdb://{server.data_dir / 'clickhouse'}"
    subprocess.run([sys.executable, "-c", _FILL, url, *statements], check=True, timeout=120)


def read_query(server: ServerProcess, keys: ProjectKeys, **params: str) -> list[dict[str, Any]]:
    """Query's rows over all pages."""
    rows: list[dict[str, Any]] = []
    with httpx.Client(base_url=server.base_url, headers=bearer(keys.read), timeout=60) as client:
        while True:
            page = client.get("/v1/query", params={"limit": "1000", **params}).raise_for_status().json()
            rows += page["rows"]
            if not (token := page.get("next_page_token")):
                return rows
            params["page_token"] = token


def export_rest(server: ServerProcess, keys: ProjectKeys, **params: str) -> bytes:
    answer = httpx.get(f"{server.base_url}/v1/export", params=params, headers=bearer(keys.read), timeout=60)
    assert answer.status_code == 200, answer.text
    written = params.get("format", "ndjson")
    assert answer.headers["content-type"] == _TYPES[written]
    assert answer.headers["content-disposition"] == f'attachment; filename="events-{keys.project_id}.{written}"'
    return answer.content


def export_grpc(server: ServerProcess, keys: ProjectKeys, **params: str) -> bytes:
    written = _FORMATS[params.pop("format", "ndjson")]
    with open_grpc(server, keys.read, format=written, **params) as pieces:
        return b"".join(piece.data for piece in pieces)


@contextlib.contextmanager
def open_grpc(server: ServerProcess, key: str, **fields: Any) -> Iterator[Any]:
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = query_service_pb2_grpc.QueryServiceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.Export(
            query_service_pb2.ExportRequest(**fields), metadata=(("authorization", f"Bearer {key}"),), timeout=120
        )
        yield call
        call.cancel()


@contextlib.contextmanager
def open_rest(server: ServerProcess, key: str, **params: str) -> Iterator[httpx.Response]:
    url = f"{server.base_url}/v1/export"
    with httpx.stream(
        "GET", url, params=params, headers=bearer(key) | {"Accept-Encoding": "identity"}, timeout=60
    ) as answer:
        yield answer


Export = Callable[..., bytes]
_DOORS = pytest.mark.parametrize("export", [export_rest, export_grpc], ids=["rest", "grpc"])


@_DOORS
def test_ndjson_equals_querys_pages(server: ServerProcess, small: ProjectKeys, export: Export) -> None:
    rows = [json.loads(line) for line in export(server, small).splitlines()]
    assert len(rows) == 2500
    assert rows == read_query(server, small)


@_DOORS
def test_csv_equals_querys_pages(server: ServerProcess, small: ProjectKeys, export: Export) -> None:
    rows = list(csv.DictReader(io.StringIO(export(server, small, format="csv").decode(), newline="")))
    wanted = read_query(server, small)
    assert rows == [{**row, "is_bot": str(row["is_bot"]).lower()} for row in wanted]


@_DOORS
def test_parquet_equals_querys_pages(server: ServerProcess, small: ProjectKeys, export: Export, tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    path.write_bytes(export(server, small, format="parquet"))
    command = [sys.executable, "-c", _READ_PARQUET, str(path)]
    found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert found.strip() == str([row["event_id"] for row in read_query(server, small)]).replace(" ", "")


def test_parameters_select(server: ServerProcess, small: ProjectKeys) -> None:
    params = {"from": "2026-09-01T00:05:00Z", "to": "2026-09-01T00:10:00Z", "event": "odd"}
    params["filter"] = "properties.n > 400"
    rows = [json.loads(line) for line in export_rest(server, small, **params).splitlines()]
    assert rows
    assert rows == read_query(server, small, **params)


@_DOORS
def test_another_project_is_not_in_it(server: ServerProcess, small: ProjectKeys, export: Export) -> None:
    stranger = server.create_project(f"stranger-{export.__name__}")
    wait_for_key(server, stranger)
    assert export(server, stranger) == b""
    assert len(export(server, stranger, format="csv").splitlines()) == 1
    with pytest.raises((AssertionError, grpc.RpcError)):
        export(server, stranger, project=small.project_id)


@pytest.mark.parametrize(
    ("params", "status", "reason"),
    [
        ({"from": "2026-02-01", "to": "2026-01-01"}, 400, "invalid_params"),
        ({"format": "xlsx"}, 400, "invalid_params"),
        ({"limit": "5"}, 400, "invalid_params"),
        ({"filter": "colour = red"}, 400, "invalid_params"),
        ({"project": "prj_unknown"}, 404, "not_found"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_refusals_over_rest_are_ordinary_errors(
    server: ServerProcess, small: ProjectKeys, params: dict[str, str], status: int, reason: str
) -> None:
    answer = httpx.get(f"{server.base_url}/v1/export", params=params, headers=bearer(small.read))
    assert (answer.status_code, answer.json()["error"]) == (status, reason)


def test_a_public_key_exports_nothing(server: ServerProcess, small: ProjectKeys) -> None:
    headers = {**bearer(small.public), "origin": "https://app.example.com"}
    answer = httpx.get(f"{server.base_url}/v1/export", headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")
    with open_grpc(server, small.public) as pieces, pytest.raises(grpc.RpcError) as caught:
        next(pieces)
    assert read_reason(caught.value) == "INSUFFICIENT_SCOPE"


def test_a_refusal_over_grpc_has_its_details(server: ServerProcess, small: ProjectKeys) -> None:
    filters = [query_service_pb2.Filter(column="colour", values=["red"])]
    with open_grpc(server, small.read, filter=filters) as pieces, pytest.raises(grpc.RpcError) as caught:
        next(pieces)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
    assert read_reason(caught.value) == "INVALID_PARAMS"


def _read_peak_mb(server: ServerProcess) -> float:
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _count_lines(server: ServerProcess, keys: ProjectKeys) -> int:
    with open_rest(server, keys.read) as answer:
        return sum(piece.count(b"\n") for piece in answer.iter_raw())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's peak")
def test_memory_does_not_grow_with_the_export(full: tuple[ServerProcess, ProjectKeys, ProjectKeys]) -> None:
    server, large, larger = full
    assert _count_lines(server, large) == _ROWS
    before = _read_peak_mb(server)
    assert _count_lines(server, larger) == _MANY_ROWS
    after = _read_peak_mb(server)
    print(f"peak {before:.0f} MB, then {after:.0f} MB")
    assert after - before < 60


def _hold_rest(server: ServerProcess, key: str) -> contextlib.ExitStack:
    stack = contextlib.ExitStack()
    answer = stack.enter_context(open_rest(server, key))
    if answer.status_code != 200:
        stack.close()
        raise _RefusedError
    pieces = answer.iter_raw()
    stack.callback(pieces.close)  # type: ignore[attr-defined]  # a generator, and one that is dropped hangs up
    next(pieces)
    return stack


def _hold_grpc(server: ServerProcess, key: str) -> contextlib.ExitStack:
    stack = contextlib.ExitStack()
    pieces = stack.enter_context(open_grpc(server, key))
    try:
        next(pieces)
    except grpc.RpcError as error:
        stack.close()
        if read_reason(error) != "OVERLOADED":
            raise
        raise _RefusedError from None
    return stack


class _RefusedError(Exception):
    """There is no place for an export."""


Hold = Callable[[ServerProcess, str], contextlib.ExitStack]


def _hold_all(server: ServerProcess, key: str, hold: Hold) -> contextlib.ExitStack:
    """Take every place for exports that the project may have, once they are free."""
    held = contextlib.ExitStack()

    def take() -> bool:
        with contextlib.suppress(_RefusedError):
            held.push(hold(server, key))
            return True
        return False

    for number in range(_SHARE):
        wait_until(take, f"place {number}")
    return held


@pytest.mark.parametrize("hold", [_hold_rest, _hold_grpc], ids=["rest", "grpc"])
def test_callers_who_leave_free_their_places(full: tuple[ServerProcess, ProjectKeys, ProjectKeys], hold: Hold) -> None:
    server, _, larger = full
    for _ in range(2):
        with _hold_all(server, larger.read, hold):
            answer = httpx.get(f"{server.base_url}/v1/export", headers=bearer(larger.read))
            assert (answer.status_code, answer.json()["error"]) == (503, "overloaded")
            assert int(answer.headers["retry-after"]) > 0
            with pytest.raises(_RefusedError):
                _hold_grpc(server, larger.read)
            assert httpx.get(f"{server.base_url}/v1/query", headers=bearer(larger.read)).status_code == 200


@pytest.fixture(scope="module")
def impatient(clickhouse_server: ClickHouseServer) -> Iterator[tuple[ServerProcess, ClickHouse]]:
    """A server that waits for a caller who reads nothing for a moment only, and its ClickHouse."""
    database = "stalled"
    environ = {
        "MILLIMETRIC_CLICKHOUSE_URL": clickhouse_server.url,
        "MILLIMETRIC_CLICKHOUSE_DATABASE": database,
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    with (
        ServerProcess(environ=environ, module=("support.impatient_server",)) as server,
        contextlib.closing(ClickHouse(clickhouse_server.url, database)) as store,
    ):
        store.open()
        yield server, store


@pytest.mark.parametrize("hold", [_hold_rest, _hold_grpc], ids=["rest", "grpc"])
def test_callers_who_stall_lose_their_places(impatient: tuple[ServerProcess, ClickHouse], hold: Hold) -> None:
    server, store = impatient
    keys = server.create_project(f"stalled{hold.__name__}")
    wait_for_reads(server, keys)
    store.command(_seed(keys, _ROWS))
    before = _count_metric(server, "upstream_failed")
    with _hold_all(server, keys.read, hold), _hold_all(server, keys.read, hold):
        assert _count_metric(server, "upstream_failed") - before >= _SHARE


def _count_metric(server: ServerProcess, reason: str) -> float:
    lines = httpx.get(server.metrics_url).text.splitlines()
    wanted = ("millimetric_requests_total", 'rpc="Export"', f'reason="{reason}"')
    return sum(float(line.split()[-1]) for line in lines if all(part in line for part in wanted))


def _read_to_its_end_over_rest(server: ServerProcess, key: str, break_it: Callable[[], None]) -> None:
    with open_rest(server, key) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        break_it()
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in pieces:
                pass


def _read_to_its_end_over_grpc(server: ServerProcess, key: str, break_it: Callable[[], None]) -> None:
    with open_grpc(server, key) as pieces:
        next(pieces)
        break_it()
        with pytest.raises(grpc.RpcError) as caught:
            for _ in pieces:
                pass
    assert read_reason(caught.value) == "UPSTREAM_FAILED"


@pytest.mark.parametrize("read", [_read_to_its_end_over_rest, _read_to_its_end_over_grpc], ids=["rest", "grpc"])
def test_a_failure_in_the_middle_is_seen(
    clickhouse_server: ClickHouseServer, read: Callable[[ServerProcess, str, Callable[[], None]], None]
) -> None:
    database = f"broken{read.__name__[-5:]}"
    environ = {"MILLIMETRIC_CLICKHOUSE_URL": clickhouse_server.url, "MILLIMETRIC_CLICKHOUSE_DATABASE": database}
    with (
        ServerProcess(environ=environ) as server,
        contextlib.closing(ClickHouse(clickhouse_server.url, database)) as store,
    ):
        keys = server.create_project("broken")
        wait_for_reads(server, keys)
        store.open()
        store.command(_seed(keys, _ROWS))
        read(server, keys.read, lambda: store.command("RENAME TABLE events TO gone"))
        assert _count_metric(server, "upstream_failed") == 1
