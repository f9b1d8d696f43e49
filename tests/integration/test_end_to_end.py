"""The main job through every door: an event goes in and comes out of the reads."""

import grpc
import httpx
import pytest

from integration.reads import bearer, wait_for_key
from millimetric.v1 import (
    ingest_service_pb2,
    ingest_service_pb2_grpc,
)
from support.server_process import ProjectKeys, ServerProcess

_STORED = {"Millimetric-Ack": "stored"}


@pytest.fixture
def project(server: ServerProcess, request: pytest.FixtureRequest) -> ProjectKeys:
    keys = server.create_project(request.node.name)
    wait_for_key(server, keys)
    return keys


def query(server: ServerProcess, keys: ProjectKeys, **params: str) -> list[dict[str, object]]:
    answer = httpx.get(f"{server.base_url}/v1/query", params=params, headers=bearer(keys.read))
    assert answer.status_code == 200, answer.text
    return list(answer.json()["rows"])


def test_the_minimum_event_is_the_same_row_through_every_door(server: ServerProcess, project: ProjectKeys) -> None:
    headers = bearer(project.secret) | {"User-Agent": "curl/8.5.0"}
    rest = httpx.post(f"{server.base_url}/v1/track", json={"event": "signup"}, headers=headers | _STORED)
    connect = httpx.post(
        f"{server.base_url}/millimetric.v1.IngestService/Track",
        json={"event": "signup", "ack": "ACK_STORED"},
        headers=headers,
    )
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
        response = stub.Track(
            ingest_service_pb2.TrackRequest(event="signup", ack="ACK_STORED"),
            metadata=(("authorization", f"Bearer {project.secret}"),),
        )
    assert rest.status_code == 202
    assert rest.json()["ok"] is True
    assert rest.json()["duplicate"] is False
    assert connect.status_code == 200
    assert response.ok

    rows = query(server, project)
    own = {"event_id", "anonymous_id", "session_id", "timestamp", "received_at"}
    assert len(rows) == 3
    assert {row["event_id"] for row in rows} == {
        rest.json()["event_id"],
        connect.json()["eventId"],
        response.event_id,
    }
    first, *others = ({name: value for name, value in row.items() if name not in own} for row in rows)
    assert all(other == first for other in others)
