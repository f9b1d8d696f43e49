"""The server's log at its most talkative, after all cases: it names no visitor, no key, no content, and no fault."""

import re
from collections.abc import Mapping

import pytest

from contract.case_files import DOORS
from contract.doors import WireCall
from contract.projects import Tenant
from contract.stage import Stage

_CANARY = "canary-7f3a"
_IP = "203.0.113.77"
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
_LISTENING = "gRPC on 127.0.0.1:"


@pytest.fixture(scope="module")
def log(stage: Stage, tenants: Mapping[str, Tenant]) -> str:
    """The log after a few more calls, good and bad, whose content would be easy to find in it."""
    keys = next(iter(tenants.values())).keys
    event = {
        "event": f"{_CANARY}-event",
        "event_id": f"{_CANARY}-id",
        "anonymous_id": f"{_CANARY}-device",
        "user_id": f"{_CANARY}-user",
        "url": f"https://example.com/{_CANARY}?email={_CANARY}@example.com",
        "referrer": f"https://example.org/{_CANARY}",
        "properties": {f"{_CANARY}-name": f"{_CANARY}-value"},
        "context": {"ip": _IP, "user_agent": f"{_CANARY}-agent"},
    }
    conflict = event | {"event": f"{_CANARY}-other"}
    bad = event | {"url": f"{_CANARY} is no url", "timestamp": "1999-01-01T00:00:00Z"}
    for door in DOORS:
        for request in (event | {"ack": "stored"}, conflict, bad):
            for key in ("sk", "wrong_secret", "mismatched", "rk"):
                stage.doors.send(door, WireCall("Track", keys[key], {"x-forwarded-for": _IP}, request))
        stage.doors.send(door, WireCall("Query", keys["rk"], request={"user_id": f"{_CANARY}-user"}))
        stage.doors.send(door, WireCall("Query", keys["rk"], request={"page_token": _CANARY}))
    stage.doors.send("rest", WireCall("Forget", keys["sk"], request={"user_id": f"{_CANARY}-user"}))
    return stage.server.log


def test_the_log_is_at_its_most_talkative(log: str) -> None:
    assert " DEBUG " in log


def test_the_log_names_no_key(log: str, tenants: Mapping[str, Tenant]) -> None:
    texts = {text for tenant in tenants.values() for text in tenant.keys.values()}
    secrets = {text[17:] for text in texts}
    assert not [text for text in secrets if text in log]


def test_the_log_names_no_address(log: str) -> None:
    lines = [line for line in log.splitlines() if _ADDRESS.search(line) and _LISTENING not in line]
    assert not lines
    assert "::1" not in log


def test_the_log_names_nothing_that_a_visitor_sent(log: str) -> None:
    assert not [line for line in log.splitlines() if _CANARY in line]


def test_no_case_met_a_fault(log: str) -> None:
    assert not [line for line in log.splitlines() if " ERROR " in line or line.startswith("Traceback")]
