"""The server's log at its most talkative names no visitor, no key, no content, and no fault.

Of all other calls the fixture `server` says so when the last test has used it.
"""

import pytest

from contract.case_files import DOORS
from contract.doors import WireCall
from contract.stage import Stage
from support.discretion import find_indiscretions

_CANARY = "canary-7f3a"
_IP = "203.0.113.77"
_KEY = "sk_live_0123abcd_" + "s" * 43


@pytest.fixture(scope="module")
def log(stage: Stage) -> str:
    """The log after some calls, good and bad, whose content would be easy to find in it."""
    keys = stage.registry.create().keys
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


def test_the_log_names_no_key_and_no_address(stage: Stage, log: str) -> None:
    assert len(stage.server.keys_in_use) > len(stage.registry.keys)
    assert not find_indiscretions(log, stage.server.keys_in_use)


def test_the_log_names_nothing_that_a_visitor_sent(log: str) -> None:
    assert not [line for line in log.splitlines() if _CANARY in line]


@pytest.mark.parametrize(
    ("line", "held"),
    [
        (f"Track by {_KEY}", "a key"),
        (f"Track by {_KEY[17:]}", "a key"),
        ("Track from 203.0.113.77", "an address"),
        ("Track from ::1", "an address"),
        ("2026-11-25 ERROR it failed", "a fault"),
        ("Traceback (most recent call last):", "a fault"),
    ],
)
def test_what_a_log_must_not_hold_is_found(line: str, held: str) -> None:
    log = f"gRPC on 127.0.0.1:50051, HTTP on 127.0.0.1:8080\n{line}\nTrack by {_KEY[:17]}\n"
    assert find_indiscretions(log, [_KEY]) == [f"{held}: {line}"]
