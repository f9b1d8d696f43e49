"""Explain through every door: all steps told, nothing stored, a visitor's context from secret keys only."""

import grpc
import httpx
import pytest

from integration.cli_process import run_cli
from integration.reads import wait_for_key
from millimetric.v1 import attribution_pb2, event_pb2, query_service_pb2_grpc
from support.server_process import ORIGIN, ProjectKeys, ServerProcess
from support.waiting import wait_until_equal

_PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 "
    "Version/17.0 Mobile/15E148 Safari/604.1"
)
_EVENT = {"event": "signup", "url": "https://shop.example/?fbclid=1&utm_campaign=Spring&email=x#top"}


@pytest.fixture(scope="module")
def keys(server: ServerProcess) -> ProjectKeys:
    made = server.create_project("explain")
    wait_for_key(server, made)
    return made


def explain(server: ServerProcess, key: str, event: dict[str, object], **headers: str) -> httpx.Response:
    headers |= {"Authorization": f"Bearer {key}"}
    return httpx.post(f"{server.base_url}/v1/explain", json=event, headers=headers)


def test_every_step_is_told(server: ServerProcess, keys: ProjectKeys) -> None:
    context = {"ip": "192.0.2.1", "user_agent": _PHONE}
    told = explain(server, keys.secret, _EVENT | {"context": context}).json()
    attribution = told["attribution"]
    assert attribution["rule_id"] == "fbclid_social"
    assert (attribution["source"], attribution["medium"]) == ("facebook", "social")
    assert attribution["parameters"] == [
        {"name": "fbclid", "value": "1"},
        {"name": "utm_campaign", "value": "Spring"},
    ]
    assert attribution["passed_over"][0] == {"rule_id": "gclid", "reason": "there is no gclid"}
    assert attribution["passed_over"][-1]["rule_id"] == "utm_source"
    assert told["device"] == {
        "device_type": "mobile",
        "browser": "safari",
        "os": "ios",
        "looks_like_bot": False,
        "is_bot": False,
    }
    assert told["redactions"] == [{"field": "url", "removed": ["fragment", "parameter email"]}]
    assert told["row"]["url"] == "https://shop.example/?fbclid=1&utm_campaign=Spring&email=redacted"
    assert told["row"]["source"] == "facebook"
    assert len(told["row"]["ip_hash"]) == 32


def test_the_row_is_the_one_that_track_stores(server: ServerProcess, keys: ProjectKeys) -> None:
    event = _EVENT | {"anonymous_id": "same", "event_id": "explained", "timestamp": "2026-01-31T12:00:00Z"}
    told = explain(server, keys.secret, event).json()["row"]
    headers = {"Authorization": f"Bearer {keys.secret}"}
    before = httpx.get(f"{server.base_url}/v1/query", headers=headers).json()["rows"]
    httpx.post(f"{server.base_url}/v1/track", json=event, headers=headers | {"Millimetric-Ack": "stored"})
    (stored,) = httpx.get(f"{server.base_url}/v1/query", headers=headers).json()["rows"]
    assert before == []
    assert {**stored, "received_at": told["received_at"]} == told


def test_another_rule_set_can_be_tried_and_an_unknown_one_is_refused(server: ServerProcess, keys: ProjectKeys) -> None:
    told = explain(server, keys.read, _EVENT | {"rule_set": "millimetric-1"}).json()
    assert told["attribution"]["rule_id"] == "fbclid"
    assert told["row"]["rule_set"] == "millimetric-1"
    returned = {"event": "paid", "url": "https://shop.example/", "referrer": "https://www.paypal.com/"}
    rules = {
        rule_set: explain(server, keys.read, returned | {"rule_set": rule_set}).json()["attribution"]["rule_id"]
        for rule_set in ("standard-2", "standard-1", "millimetric-1")
    }
    assert rules == {
        "standard-2": "referrer_service",
        "standard-1": "referrer_other",
        "millimetric-1": "referrer_other",
    }
    refused = explain(server, keys.read, {"rule_set": "best-9"})
    assert refused.status_code == 400
    assert refused.json()["details"]["fieldErrors"] == {
        "event": ["is required"],
        "rule_set": ["must be one of standard-2, standard-1, millimetric-1"],
    }


def test_a_running_server_follows_the_referrers_that_a_project_ignores(server: ServerProcess) -> None:
    keys = server.create_project("ignoring")
    wait_for_key(server, keys)
    returned = {"event": "paid", "url": "https://shop.example/", "referrer": "https://eu.pay.example/"}

    def find_rule() -> object:
        return explain(server, keys.read, returned).json()["attribution"]["rule_id"]

    assert find_rule() == "referrer_other"
    code, output, _ = run_cli(server, "project", "update", keys.name, "--ignored-referrers", "www.pay.example")
    assert (code, "pay.example" in output) == (0, True)
    wait_until_equal(find_rule, "referrer_service")
    headers = {"Authorization": f"Bearer {keys.secret}", "Millimetric-Ack": "stored"}
    httpx.post(f"{server.base_url}/v1/track", json=returned, headers=headers)
    (stored,) = httpx.get(f"{server.base_url}/v1/query", headers=headers).json()["rows"]
    assert (stored["source"], stored["source_rule_id"]) == ("internal", "referrer_service")


def test_a_read_key_has_no_visitor_to_speak_for(server: ServerProcess, keys: ProjectKeys) -> None:
    context = {"ip": "192.0.2.1", "user_agent": _PHONE}
    told = explain(server, keys.read, _EVENT | {"context": context}, **{"User-Agent": "curl/8.5.0"}).json()
    assert told["device"]["os"] == ""
    assert (told["device"]["looks_like_bot"], told["device"]["is_bot"]) == (True, False)


def test_a_public_key_may_not_ask(server: ServerProcess, keys: ProjectKeys) -> None:
    refused = explain(server, keys.public, _EVENT, Origin=ORIGIN)
    assert (refused.status_code, refused.json()["error"]) == (403, "insufficient_scope")


def test_grpc_and_connect_tell_the_same(server: ServerProcess, keys: ProjectKeys) -> None:
    wanted = explain(server, keys.secret, _EVENT).json()
    with grpc.insecure_channel(server.grpc_address) as channel:
        told = query_service_pb2_grpc.QueryServiceStub(channel).Explain(
            attribution_pb2.ExplainRequest(**_EVENT, context=event_pb2.EventContext(user_agent=_PHONE)),
            metadata=(("authorization", f"Bearer {keys.secret}"),),
        )
    connect = httpx.post(
        f"{server.base_url}/millimetric.v1.QueryService/Explain",
        json=_EVENT,
        headers={"Authorization": f"Bearer {keys.secret}"},
    ).json()
    assert told.attribution.rule_id == connect["attribution"]["ruleId"] == wanted["attribution"]["rule_id"]
    assert [rule.reason for rule in told.attribution.passed_over] == [
        rule["reason"] for rule in wanted["attribution"]["passed_over"]
    ]
    assert told.row.url == connect["row"]["url"] == wanted["row"]["url"]
    assert told.device.os == "ios"
