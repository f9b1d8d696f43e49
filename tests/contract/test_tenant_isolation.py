"""No key of one project ever reads or deletes a row of another, whatever it puts in a parameter."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from contract.case_files import DOORS
from contract.doors import Answer, WireCall
from contract.projects import Tenant
from contract.stage import Stage, assert_no_leak
from support.waiting import wait_until

_MINE, _THEIRS = "mine-4711", "theirs-0815"
_READS = ("Query", "Stats", "Sources")
_KEYS = ("sk", "rk")


def _make_events(word: str) -> list[dict[str, Any]]:
    """Two events that share their ids and their person with the other project's, but name themselves."""
    return [
        {
            "event": word,
            "event_id": f"shared-{number}",
            "anonymous_id": "shared-device",
            "user_id": "shared-user",
            "session_id": "shared-session",
            "url": f"https://shop.example.com/{word}?utm_source={word}&utm_medium=email&utm_campaign={word}",
            "properties": {"word": word},
        }
        for number in range(2)
    ]


@pytest.fixture(scope="module")
def pair(stage: Stage) -> Iterator[tuple[Tenant, Tenant]]:
    """My project and theirs, each with its own two events under the same ids."""
    mine, theirs = stage.registry.create(), stage.registry.create()
    for tenant, word in ((mine, _MINE), (theirs, _THEIRS)):
        request = {"events": _make_events(word), "ack": "stored"}
        answer = stage.doors.send("rest", WireCall("Batch", tenant.keys["sk"], request=request))
        assert answer.response == {"ok": True, "count": 2, "duplicates": 0}
    yield mine, theirs
    assert _read_words(stage, theirs) == [_THEIRS] * 2


def _read_words(stage: Stage, tenant: Tenant) -> list[str]:
    return [row["event"] for row in stage.read_rows(tenant)]


def _assert_mine_alone(answer: Answer) -> None:
    assert _THEIRS not in json.dumps(answer.response)
    assert _THEIRS not in answer.raw
    assert_no_leak(answer)


def _name_them(theirs: Tenant) -> list[str]:
    """Everything that could mean the other project, and what people try in its place."""
    return [
        theirs.project_id,
        theirs.project_id.upper(),
        f" {theirs.project_id}",
        f"{theirs.project_id}' OR '1'='1",
        "' OR 1=1 --",
        "x') OR project_id != ('",
        "1 UNION ALL SELECT * FROM events",
        "{project:String}",
        "%",
        "*",
        "\\' OR 1=1 --",
        _THEIRS,
    ]


@pytest.mark.parametrize("door", DOORS)
def test_reads_answer_ones_own_rows_alone(stage: Stage, pair: tuple[Tenant, Tenant], door: str) -> None:
    mine, _ = pair
    for key in _KEYS:
        for rpc in _READS:
            request = {"group_by": ["event_name", "source", "campaign"]} if rpc == "Stats" else {}
            answer = stage.doors.send(door, WireCall(rpc, mine.keys[key], request=request))
            assert not answer.reason, answer
            assert _MINE in json.dumps(answer.response)
            _assert_mine_alone(answer)


@pytest.mark.parametrize("door", DOORS)
def test_no_project_parameter_reaches_another(stage: Stage, pair: tuple[Tenant, Tenant], door: str) -> None:
    mine, theirs = pair
    for rpc in _READS:
        for project in _name_them(theirs):
            for key in (*_KEYS, "foreign_ak"):
                answer = stage.doors.send(door, WireCall(rpc, mine.keys[key], request={"project": project}))
                assert answer.reason == "not_found", answer
                assert_no_leak(answer)


@pytest.mark.parametrize("door", DOORS)
def test_no_filter_reaches_another(stage: Stage, pair: tuple[Tenant, Tenant], door: str) -> None:
    mine, theirs = pair
    for text in _name_them(theirs):
        filters = [
            {"column": "event", "op": "eq", "values": [text]},
            {"column": "properties.word", "op": "contains", "values": [text]},
            {"column": "event_id", "op": "ne", "values": [text]},
        ]
        queries: list[dict[str, Any]] = [{"filter": [one]} for one in filters]
        queries += [{name: text} for name in ("event", "source", "medium", "user_id", "anonymous_id")]
        for request in queries:
            _assert_mine_alone(stage.doors.send(door, WireCall("Query", mine.keys["rk"], request=request)))
        for request in queries[:4]:
            _assert_mine_alone(stage.doors.send(door, WireCall("Stats", mine.keys["rk"], request=request)))


@pytest.mark.parametrize("door", ["grpc", "connect_proto", "connect_json"])
def test_no_column_reaches_another(stage: Stage, pair: tuple[Tenant, Tenant], door: str) -> None:
    mine, theirs = pair
    columns = ("project_id", "1=1 OR event", "event) OR (project_id", "properties.a') OR ('1'='1", "properties.`")
    for column in columns:
        request = {"filter": [{"column": column, "op": "ne", "values": [theirs.project_id]}]}
        for rpc in ("Query", "Stats"):
            _assert_mine_alone(stage.doors.send(door, WireCall(rpc, mine.keys["sk"], request=request)))
        answer = stage.doors.send(door, WireCall("Stats", mine.keys["sk"], request={"group_by": [column]}))
        assert answer.reason == ("" if column.startswith("properties.") else "invalid_group_by"), column
        _assert_mine_alone(answer)


@pytest.mark.parametrize("door", DOORS)
def test_a_page_token_is_of_its_project(stage: Stage, pair: tuple[Tenant, Tenant], door: str) -> None:
    mine, theirs = pair
    page = stage.doors.send(door, WireCall("Query", theirs.keys["rk"], request={"limit": 1}))
    request = {"limit": 1, "page_token": page.response["next_page_token"]}
    answer = stage.doors.send(door, WireCall("Query", mine.keys["rk"], request=request))
    assert answer.reason == "invalid_params"
    assert answer.fields == ("page_token",)
    _assert_mine_alone(answer)


@pytest.mark.parametrize("door", DOORS)
def test_ids_are_of_their_project(stage: Stage, door: str) -> None:
    request = {"event": "x", "event_id": "e1", "user_id": "u1"}
    first, again = (
        stage.doors.send(door, WireCall("Track", stage.registry.create().keys["sk"], request=request)) for _ in range(2)
    )
    assert first.response["duplicate"] is again.response["duplicate"] is False
    assert first.response["anonymous_id"] != again.response["anonymous_id"]


@pytest.mark.parametrize("door", DOORS)
def test_keys_without_the_right_forget_nobody(stage: Stage, pair: tuple[Tenant, Tenant], door: str) -> None:
    mine, theirs = pair
    for key in ("pk", "rk", "ak", "foreign_ak"):
        call = WireCall("Forget", mine.keys[key], {"origin": "https://app.example.com"}, {"user_id": "shared-user"})
        assert stage.doors.send(door, call).reason in ("forget_requires_secret_key", "insufficient_scope")
    assert _read_words(stage, theirs) == [_THEIRS] * 2


def test_forget_removes_ones_own_rows_alone(stage: Stage, pair: tuple[Tenant, Tenant]) -> None:
    _, theirs = pair
    doomed = stage.registry.create()
    batch = {"events": _make_events("doomed"), "ack": "stored"}
    stage.doors.send("rest", WireCall("Batch", doomed.keys["sk"], request=batch))
    sql = {"user_id": f"shared-user' OR project_id = '{theirs.project_id}"}
    for request in ({"user_id": "shared-user"}, {"anonymous_id": "shared-device"}, sql):
        receipt = stage.doors.send("rest", WireCall("Forget", doomed.keys["sk"], request=request))
        erasure = _wait_until_done(stage, doomed, receipt.response["erasure_id"])
        assert erasure["residual"] == 0
    assert _read_words(stage, doomed) == []
    assert _read_words(stage, theirs) == [_THEIRS] * 2
    for rpc in _READS:
        answer = stage.doors.send("rest", WireCall(rpc, theirs.keys["rk"], request={"limit": 10}))
        assert answer.response["rows"]


@pytest.mark.parametrize("door", DOORS)
def test_an_erasure_is_of_its_project(stage: Stage, pair: tuple[Tenant, Tenant], door: str) -> None:
    mine, theirs = pair
    receipt = stage.doors.send("rest", WireCall("Forget", theirs.keys["sk"], request={"user_id": "nobody"}))
    request = {"erasure_id": receipt.response["erasure_id"]}
    assert not stage.doors.send(door, WireCall("GetErasure", theirs.keys["sk"], request=request)).reason
    answer = stage.doors.send(door, WireCall("GetErasure", mine.keys["sk"], request=request))
    assert answer.reason == "not_found"
    _assert_mine_alone(answer)


def _wait_until_done(stage: Stage, tenant: Tenant, erasure_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    call = WireCall("GetErasure", tenant.keys["sk"], request={"erasure_id": erasure_id})

    def is_done() -> bool:
        answer.update(stage.doors.send("rest", call).response)
        return bool(answer["state"] == "done")

    wait_until(is_done, lambda: f"the erasure is done: {answer}")
    return answer
