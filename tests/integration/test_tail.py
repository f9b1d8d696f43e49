"""Tail through every door: live events, slow followers, followers who hang up, and the server's end."""

import contextlib
import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from integration.connect_calls import STREAM, call
from integration.following import DOORS, SseClient, Told, follow_grpc, follow_rest
from integration.reads import bearer, read_reason, wait_for_key
from millimetric.v1 import query_service_pb2, query_service_pb2_grpc
from millimetric_server.config import load_settings
from millimetric_server.control.store import open_control_store
from support.server_process import ORIGIN, ProjectKeys, ServerProcess
from support.waiting import wait_until

_FOLLOWERS = 100  # the share of one project, by the settings' defaults
_numbers = itertools.count()


@pytest.fixture(scope="module")
def live() -> Iterator[ServerProcess]:
    """A server without limits that gives a sign of life each second."""
    environ = {
        "MILLIMETRIC_RATE_LIMITS": "off",
        "MILLIMETRIC_LOG_LEVEL": "debug",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    with ServerProcess(environ=environ, module=("support.lively_server",)) as server:
        yield server


@pytest.fixture
def keys(live: ServerProcess) -> ProjectKeys:
    made = live.create_project(f"tail-{next(_numbers)}")
    wait_for_key(live, made)
    return made


def send(server: ServerProcess, keys: ProjectKeys, *events: dict[str, Any]) -> dict[str, Any]:
    answer = httpx.post(f"{server.base_url}/v1/batch", json={"events": events}, headers=bearer(keys.secret))
    assert answer.status_code == 202, answer.text
    sent: dict[str, Any] = answer.json()
    return sent


def count_followers(server: ServerProcess) -> int:
    lines = httpx.get(server.metrics_url).text.splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if 'places_taken{kind="followers"}' in line)


def count_missed(server: ServerProcess, keys: ProjectKeys) -> int:
    start = f'millimetric_followers_missed_total{{project="{keys.project_id}"}} '
    (line,) = (line for line in httpx.get(server.metrics_url).text.splitlines() if line.startswith(start))
    return int(float(line.split()[-1]))


def wait_for_nobody(server: ServerProcess) -> None:
    wait_until(lambda: count_followers(server) == 0, "all followers are forgotten")


def skip_signs(messages: Iterator[Told]) -> Iterator[Told]:
    return (told for told in messages if told.event_id or told.missed)


@pytest.mark.parametrize("door", DOORS)
def test_a_follower_sees_what_its_filters_let_through_once_it_is_durable(
    live: ServerProcess, keys: ProjectKeys, door: str
) -> None:
    where = {"or": [{"filter": {"column": "properties.plan", "op": "FILTER_OP_EQ", "values": ["team"]}}]}
    request: dict[str, Any] = {"event": "signup", "where": where}
    if door == "rest":
        request["where"] = {"or": [{"filter": {"column": "properties.plan", "op": "eq", "values": ["team"]}}]}
    with DOORS[door](live, keys.read, request) as messages:
        wanted = {"event": "signup", "properties": {"plan": "team", "seats": 3}, "user_id": "u1"}
        send(live, keys, wanted | {"event_id": "1"}, {"event": "login", "event_id": "2"}, {"event": "signup"})
        assert send(live, keys, wanted | {"event_id": "1"})["duplicates"] == 1
        send(live, keys, wanted | {"event_id": "3"})
        told = list(itertools.islice(skip_signs(messages), 2))
    assert [(one.event_id, one.missed) for one in told] == [("1", 0), ("3", 0)]
    assert told[0].row["user_id"] == "u1"
    properties = told[0].row["properties"]
    assert (json.loads(properties) if door == "rest" else properties) == {"plan": "team", "seats": 3}
    wait_for_nobody(live)


def test_a_live_row_is_the_row_that_query_answers(live: ServerProcess, keys: ProjectKeys) -> None:
    page = "https://shop.example/p?utm_source=google&utm_medium=cpc&email=a%40b.example"
    event = {"event": "view", "url": page, "timestamp": "2026-01-02T03:04:05.678901Z", "properties": {"n": 1.5}}
    with follow_rest(live, keys.read, {}) as messages:
        stored = {"events": [event], "ack": "stored"}
        assert httpx.post(f"{live.base_url}/v1/batch", json=stored, headers=bearer(keys.secret)).status_code == 202
        told = next(messages)
    (row,) = httpx.get(f"{live.base_url}/v1/query", headers=bearer(keys.read)).json()["rows"]
    assert told.row == row


@pytest.mark.parametrize("door", [door for door in DOORS if door != "rest"])
def test_silence_is_broken_over_every_rpc_protocol(live: ServerProcess, keys: ProjectKeys, door: str) -> None:
    with DOORS[door](live, keys.read, {}) as messages:
        assert [(told.event_id, told.missed) for told in itertools.islice(messages, 2)] == [("", 0)] * 2


def test_head_tells_what_a_tail_would_be_and_follows_nothing(live: ServerProcess, keys: ProjectKeys) -> None:
    answer = httpx.head(f"{live.base_url}/v1/tail", headers=bearer(keys.read))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    wait_for_nobody(live)
    assert httpx.head(f"{live.base_url}/v1/tail").status_code == 401


def test_other_projects_and_browsers_who_opt_out_are_not_seen(live: ServerProcess, keys: ProjectKeys) -> None:
    other = live.create_project(f"other-{next(_numbers)}")
    wait_for_key(live, other)
    with follow_rest(live, keys.read, {}) as messages:
        send(live, other, {"event": "theirs"})
        visit = bearer(keys.public) | {"origin": ORIGIN, "user-agent": "Googlebot/2.1"}
        for headers in (visit | {"sec-gpc": "1"}, visit):
            httpx.post(f"{live.base_url}/v1/track", json={"event": "mine"}, headers=headers).raise_for_status()
        send(live, keys, {"event": "last"})
        rows = [next(messages).row for _ in range(2)]
    assert [(row["event"], row["is_bot"]) for row in rows] == [("mine", True), ("last", False)]


def test_an_account_key_follows_the_project_that_it_names(live: ServerProcess, keys: ProjectKeys) -> None:
    account = live.create_account_key()
    with follow_rest(live, account, {"project": keys.project_id}) as messages:
        send(live, keys, {"event": "e", "event_id": "1"})
        assert next(messages).event_id == "1"


def test_server_sent_events_as_they_are_written(live: ServerProcess, keys: ProjectKeys) -> None:
    with contextlib.closing(SseClient(live, keys.read, "filter=properties.n%20%3E%201")) as client:
        assert client.status == 200
        assert client.headers["content-type"] == "text/event-stream"
        assert client.headers["cache-control"] == "no-store"
        assert "content-encoding" not in client.headers
        assert client.headers["x-request-id"]
        assert client.read_block() == "retry: 3000"
        assert client.read_block() == ":"  # nothing happens
        send(live, keys, {"event": "e", "event_id": "1", "properties": {"n": 2, "text": "a\n\ndata: b\u2028"}})
        lines = next(block for block in iter(client.read_block, "") if block != ":").split("\n")
        assert [line.partition(": ")[0] for line in lines] == ["id", "data"]
        assert lines[0] == "id: 1"
        assert json.loads(json.loads(lines[1].removeprefix("data: "))["properties"])["text"] == "a\n\ndata: b\u2028"


@pytest.mark.parametrize("mark", ["\n", "\r", "\r\n\r\n"])
def test_an_event_id_can_not_write_lines_of_its_own(live: ServerProcess, keys: ProjectKeys, mark: str) -> None:
    with follow_rest(live, keys.read, {}) as messages:
        bad = f"1{mark}data: {{}}{mark}{mark}"
        send(live, keys, {"event": "e", "event_id": bad})
        send(live, keys, {"event": "e", "event_id": "2"})
        assert [next(messages).event_id for _ in range(2)] == [bad, "2"]


def flood(server: ServerProcess, keys: ProjectKeys, batches: int) -> int:
    """Send far more than sockets and the queue hold; returns how many events."""
    for number in range(batches):
        text = f"{number}-" + "x" * 4000
        send(server, keys, *({"event": "e", "properties": {"text": text}} for _ in range(500)))
    return batches * 500


@pytest.mark.parametrize("door", ["rest", "grpc"])
def test_a_slow_follower_is_told_how_many_events_it_missed(live: ServerProcess, keys: ProjectKeys, door: str) -> None:
    with contextlib.ExitStack() as opened:
        if door == "rest":
            client = opened.enter_context(contextlib.closing(SseClient(live, keys.read, buffer_bytes=65536)))
            messages = client.read_messages()
            client.read_block()
        else:
            messages = opened.enter_context(follow_grpc(live, keys.read, {}))
        sent = flood(live, keys, 10)
        rows = missed = 0
        while rows + missed < sent:
            told = next(messages)
            rows, missed = rows + bool(told.event_id), missed + told.missed
        send(live, keys, {"event": "last", "event_id": "last"})
        assert next(skip_signs(messages)).event_id == "last"
    assert rows + missed == sent
    assert missed > 0
    assert count_missed(live, keys) == missed
    wait_for_nobody(live)


@contextlib.contextmanager
def follow_by_a_hundred(server: ServerProcess, key: str) -> Iterator[list[Any]]:
    """Half of them by server-sent events, half over gRPC on one connection; each with its messages."""
    with contextlib.ExitStack() as opened:
        channel = opened.enter_context(grpc.insecure_channel(server.grpc_address))
        stub = query_service_pb2_grpc.QueryServiceStub(channel)
        calls = [
            stub.Tail(query_service_pb2.TailRequest(), metadata=(("authorization", f"Bearer {key}"),))
            for _ in range(_FOLLOWERS // 2)
        ]
        rest = [opened.enter_context(follow_rest(server, key, {})) for _ in range(_FOLLOWERS // 2)]
        for call in calls:
            list(call.initial_metadata())
        yield [*rest, *((Told(one.row.event_id, one.missed, {}) for one in call) for call in calls)]


def test_a_hundred_followers_see_every_event_and_hang_up(live: ServerProcess, keys: ProjectKeys) -> None:
    other = live.create_project(f"other-{next(_numbers)}")
    wait_for_key(live, other)
    with follow_by_a_hundred(live, keys.read) as followers:
        assert count_followers(live) == _FOLLOWERS
        refused = httpx.get(f"{live.base_url}/v1/tail", headers=bearer(keys.read))
        assert (refused.status_code, refused.json()["error"]) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) > 0
        with pytest.raises(grpc.RpcError) as caught, follow_grpc(live, keys.read, {}) as messages:
            next(messages)
        assert read_reason(caught.value) == "OVERLOADED"
        with follow_rest(live, other.read, {}):
            pass
        ids = [str(number) for number in range(20)]
        for event_id in ids:
            event = {"event": "e", "event_id": event_id}
            httpx.post(f"{live.base_url}/v1/track", json=event, headers=bearer(keys.secret)).raise_for_status()
        with ThreadPoolExecutor(_FOLLOWERS) as readers:
            for seen in readers.map(
                lambda one: [told.event_id for told in itertools.islice(skip_signs(one), 20)], followers
            ):
                assert seen == ids
    wait_for_nobody(live)
    assert "internal error" not in live.log
    assert "upstream_failed" not in live.log  # to hang up is how a tail ends


def test_a_revoked_key_follows_no_further(live: ServerProcess, keys: ProjectKeys) -> None:
    settings = load_settings({"MILLIMETRIC_DATA_DIR": str(live.data_dir), **live.environ})
    with follow_rest(live, keys.read, {}) as rest, follow_grpc(live, keys.read, {}) as over_grpc:
        with contextlib.closing(open_control_store(settings.resolved_database_url)) as store:
            store.revoke_key(keys.read.split("_")[2])
        assert not list(rest)
        with pytest.raises(grpc.RpcError) as caught:
            list(over_grpc)
    assert read_reason(caught.value) == "INVALID_API_KEY"
    wait_for_nobody(live)


def test_a_deadline_ends_a_tail_over_connect(live: ServerProcess, keys: ProjectKeys) -> None:
    told = call(
        live.base_url,
        "/millimetric.v1.QueryService/Tail",
        STREAM,
        {},
        key=keys.read,
        headers={"connect-timeout-ms": "300"},
    )
    assert (told.code, told.reason) == ("deadline_exceeded", "deadline_exceeded")
    wait_for_nobody(live)


def test_the_servers_end_ends_every_tail_in_time() -> None:
    with ServerProcess(environ={"MILLIMETRIC_RATE_LIMITS": "off"}) as server, contextlib.ExitStack() as opened:
        keys = server.create_project("end")
        wait_for_key(server, keys)
        sse = opened.enter_context(contextlib.closing(SseClient(server, keys.read)))
        sse.read_block()
        followed = opened.enter_context(follow_grpc(server, keys.read, {}))
        connect = opened.enter_context(DOORS["connect_proto"](server, keys.read, {}))
        stalled = opened.enter_context(follow_grpc(server, keys.read, {}))
        send(server, keys, {"event": "e", "event_id": "1"})
        assert [next(messages).event_id for messages in (sse.read_messages(), followed, connect)] == ["1"] * 3
        flood(server, keys, 10)
        with ThreadPoolExecutor(3) as readers:
            rest = readers.submit(lambda: list(sse.read_messages()))
            over_grpc = readers.submit(list, followed)
            over_connect = readers.submit(list, connect)
            assert server.stop() == 0
        assert "ending the calls that take longer" not in server.log
        assert len(rest.result()) > 0
        error = over_grpc.exception()
        assert isinstance(error, grpc.RpcError)
        assert (error.code(), read_reason(error)) == (grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
        assert len(over_connect.result()) > 0
        with pytest.raises(grpc.RpcError):
            list(stalled)
