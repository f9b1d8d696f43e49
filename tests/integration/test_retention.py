"""Events older than the project's retention: told, counted as dropped, in no index, and in nobody's way."""

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import httpx
import pytest

from integration.cli_process import run_cli
from integration.reads import bearer, wait_for_key
from millimetric.v1 import event_pb2, ingest_service_pb2, ingest_service_pb2_grpc
from millimetric_server.config import load_settings
from millimetric_server.control.store import open_control_store
from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until

_METRIC = 'millimetric_events_dropped_total{{project="{}",reason="older_than_retention"}} '


@pytest.fixture
def keys(server: ServerProcess, request: pytest.FixtureRequest) -> ProjectKeys:
    keys = server.create_project(request.node.name[:64])
    wait_for_key(server, keys)
    return keys


def days_ago(days: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def track(server: ServerProcess, keys: ProjectKeys, days: int) -> dict[str, object]:
    event = {"event": "order", "event_id": "order-1", "timestamp": days_ago(days).isoformat()}
    answer = httpx.post(f"{server.base_url}/v1/track", json=event, headers=bearer(keys.secret), timeout=30)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def read_dropped(server: ServerProcess, keys: ProjectKeys) -> float:
    lines = httpx.get(server.metrics_url).text.splitlines()
    prefix = _METRIC.format(keys.project_id)
    return sum(float(line.removeprefix(prefix)) for line in lines if line.startswith(prefix))


def set_retention(server: ServerProcess, keys: ProjectKeys, days: int) -> None:
    settings = load_settings({"MILLIMETRIC_DATA_DIR": str(server.data_dir), **server.environ})
    with contextlib.closing(open_control_store(settings.resolved_database_url)) as store:
        store.update_project(keys.project_id, retention_days=days)


def test_a_dropped_event_is_counted_and_may_be_sent_again_once_the_retention_was_raised(
    server: ServerProcess, keys: ProjectKeys
) -> None:
    assert track(server, keys, 400) == {"ok": True, "dropped": "older_than_retention"}
    wait_until(lambda: read_dropped(server, keys) == 1, "the ledger has it")
    set_retention(server, keys, 500)
    wait_until(lambda: track(server, keys, 400).get("duplicate") is False, "the new retention holds")
    assert track(server, keys, 400)["duplicate"] is True
    set_retention(server, keys, 300)
    wait_until(lambda: "dropped" in track(server, keys, 400), "the shorter retention holds")


def test_a_stream_tells_of_old_events_in_order(server: ServerProcess, keys: ProjectKeys) -> None:
    def make(number: int) -> ingest_service_pb2.TrackStreamRequest:
        event = event_pb2.Event(event="tick", event_id=f"e{number}")
        event.timestamp.FromDatetime(days_ago(400 if number % 2 else 1))
        return ingest_service_pb2.TrackStreamRequest(sequence=number, event=event)

    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
        metadata = (("authorization", f"Bearer {keys.secret}"),)
        answers = list(stub.TrackStream(map(make, range(100)), metadata=metadata, timeout=60))
    assert [answer.sequence for answer in answers] == list(range(100))
    kept, dropped = ingest_service_pb2.OUTCOME_STORED, ingest_service_pb2.OUTCOME_DROPPED
    assert [answer.outcome.outcome for answer in answers] == [kept, dropped] * 50
    assert {answer.outcome.reason for answer in answers} == {"", "older_than_retention"}
    assert answers[1].outcome.event_id == "e1"


def test_a_load_says_how_many_rows_were_too_old(server: ServerProcess, keys: ProjectKeys, tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    lines = [f"order,{days_ago(days).isoformat()}" for days in (1, 2, 400, 800, 3)]
    path.write_text("\n".join(["event,timestamp", *lines]) + "\n")
    code, output, errors = run_cli(server, "load", str(path), MILLIMETRIC_KEY=keys.secret)
    assert code == 0, errors
    table = [line.strip("│").split("│") for line in output.splitlines() if line.startswith(("│", "┃"))]
    assert [cell.strip() for cell in table[-1]] == ["5", "3", "0", "0", "2"]
    assert "2 rows are older than the project's retention and were not stored" in output
    assert not list(tmp_path.glob("*.rejected.ndjson"))
