"""A person's events, and their erasure, over REST."""

import uuid
from datetime import UTC, datetime, timedelta

import httpx

from integration.reads import bearer
from support.server_process import ProjectKeys, ServerProcess

_SESSIONS = 5


def make_events(user_id: str, count: int) -> list[dict[str, str]]:
    now = datetime.now(UTC)
    return [
        {
            "event": "tick",
            "event_id": str(uuid.uuid4()),
            "user_id": user_id,
            "anonymous_id": f"device of {user_id}",
            "session_id": f"s{number % _SESSIONS}",
            "timestamp": (now - timedelta(days=number % 3, seconds=1)).isoformat(),
        }
        for number in range(count)
    ]


def send(
    server: ServerProcess, keys: ProjectKeys, events: list[dict[str, str]], ack: str = "durable"
) -> httpx.Response:
    return httpx.post(
        f"{server.base_url}/v1/batch",
        json={"events": events},
        headers=bearer(keys.secret) | {"Millimetric-Ack": ack},
        timeout=30,
    )


def ask_rows(server: ServerProcess, keys: ProjectKeys, **params: str) -> list[dict[str, object]]:
    answer = httpx.get(
        f"{server.base_url}/v1/query", params={"limit": "1000", **params}, headers=bearer(keys.read), timeout=30
    )
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, object]] = answer.json()["rows"]
    return rows


def send_person(server: ServerProcess, keys: ProjectKeys, user_id: str) -> None:
    """Store events of a person: named, and anonymous ones of a device that is known to be theirs."""
    anonymous = [{**event, "user_id": ""} for event in make_events(user_id, 10)]
    identify = {"event": "$identify", "user_id": user_id, "anonymous_id": f"device of {user_id}"}
    answer = send(server, keys, [*make_events(user_id, 20), *anonymous, identify], ack="stored")
    assert answer.status_code == 202, answer.text
    assert len(ask_rows(server, keys, anonymous_id=f"device of {user_id}")) == 31


def forget(server: ServerProcess, keys: ProjectKeys, user_id: str) -> str:
    """Ask to forget the person; returns the receipt's number."""
    answer = httpx.post(
        f"{server.base_url}/v1/forget", json={"user_id": user_id}, headers=bearer(keys.secret), timeout=30
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["erasure_id"])


def read_erasure(server: ServerProcess, keys: ProjectKeys, erasure_id: str) -> dict[str, object]:
    answer = httpx.get(f"{server.base_url}/v1/erasures/{erasure_id}", headers=bearer(keys.secret), timeout=30)
    assert answer.status_code == 200, answer.text
    receipt: dict[str, object] = answer.json()
    return receipt
