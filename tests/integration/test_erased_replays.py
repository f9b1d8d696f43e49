"""A late replay of a forgotten person is told, over every way in, and its id stays free."""

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import httpx
import pytest

from integration.reads import bearer, wait_for_key, wait_until_everywhere
from millimetric.v1 import event_pb2, ingest_service_pb2, ingest_service_pb2_grpc
from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until

_OLD = (datetime.now(UTC) - timedelta(days=5)).isoformat()


@pytest.fixture
def project(server: ServerProcess, request: pytest.FixtureRequest) -> ProjectKeys:
    keys = server.create_project(request.node.name[:64])
    wait_for_key(server, keys)
    return keys


def post(server: ServerProcess, keys: ProjectKeys, route: str, **content: Any) -> dict[str, Any]:
    answer = httpx.post(f"{server.base_url}/v1/{route}", json=content, headers=bearer(keys.secret), timeout=30)
    assert answer.is_success, answer.text
    return dict(answer.json())


def forget(server: ServerProcess, keys: ProjectKeys, **person: str) -> None:
    erasure_id = post(server, keys, "forget", **person)["erasure_id"]
    url = f"{server.base_url}/v1/erasures/{erasure_id}"
    wait_until(lambda: httpx.get(url, headers=bearer(keys.secret)).json()["state"] == "done", "the person is forgotten")


def test_a_late_replay_is_told_and_what_is_new_is_stored(server: ServerProcess, project: ProjectKeys) -> None:
    post(server, project, "track", event="a", user_id="u", event_id="first", timestamp=_OLD, ack="stored")
    forget(server, project, user_id="u")
    replay = {"event": "a", "user_id": "u", "timestamp": _OLD}

    assert post(server, project, "track", **replay) == {"ok": True, "dropped": "erased"}
    assert post(server, project, "track", **replay, event_id="first", ack="stored") == {"ok": True, "dropped": "erased"}
    link = {"anonymous_id": "d", "user_id": "u", "timestamp": _OLD}
    assert post(server, project, "identify", **link) == {"ok": True, "dropped": "erased"}
    assert post(server, project, "explain", **replay)["dropped"] == "erased"

    others = [{"event": "b", "event_id": "b1"}, replay | {"event_id": "a1"}, {"event": "c", "user_id": "u"}]
    answer = post(server, project, "batch", events=others, mode="per_event")
    assert (answer["count"], answer["dropped"], answer["dropped_count"]) == (2, "erased", 1)
    assert [(one["outcome"], one.get("reason")) for one in answer["outcomes"]] == [
        ("stored", None),
        ("dropped", "erased"),
        ("stored", None),
    ]
    assert answer["outcomes"][1]["event_id"] == "a1"
    # The id of what was dropped is not used up.
    assert post(server, project, "track", event="a", event_id="a1")["duplicate"] is False
    wait_until_everywhere(server, project, 3)


def test_a_stream_tells_each(server: ServerProcess, project: ProjectKeys) -> None:
    forget(server, project, anonymous_id="d")
    moment = event_pb2.Event().timestamp
    moment.FromDatetime(datetime.fromisoformat(_OLD))
    events = [
        event_pb2.Event(event="a", anonymous_id="d", timestamp=moment),
        event_pb2.Event(event="a", anonymous_id="d"),
        event_pb2.Event(event="a", anonymous_id="e", timestamp=moment),
    ]
    requests = [ingest_service_pb2.TrackStreamRequest(event=event, sequence=n) for n, event in enumerate(events)]
    stub: Any = ingest_service_pb2_grpc
    with grpc.insecure_channel(server.grpc_address) as channel:
        answers = stub.IngestServiceStub(channel).TrackStream(
            iter(requests), metadata=(("authorization", f"Bearer {project.secret}"),), timeout=30
        )
        reasons = [answer.outcome.reason for answer in answers]
    assert reasons == ["erased", "", ""]
    wait_until_everywhere(server, project, 2)
