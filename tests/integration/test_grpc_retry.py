"""What a refused unary call looks like to gRPC's own clients: Trailers-Only, so that their retry policies act on it."""

import itertools
import json
import subprocess
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from integration.reads import read_reason, wait_for_key
from millimetric.v1 import event_pb2, ingest_service_pb2, ingest_service_pb2_grpc
from millimetric_server.control.records import RateLimit
from millimetric_server.control.store import open_control_store
from support.go_program import build_go_program
from support.server_process import ProjectKeys, ServerProcess

_TRACK = "/millimetric.v1.IngestService/Track"
_REQUEST = ingest_service_pb2.TrackRequest(event="tick").SerializeToString()
_POLICY = {
    "methodConfig": [
        {
            "name": [{"service": "millimetric.v1.IngestService"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
            },
        }
    ]
}
_numbers = itertools.count()


@pytest.fixture
def keys(server: ServerProcess) -> ProjectKeys:
    """A project that may track once, and again after half a second."""
    keys = server.create_project(f"retry-{next(_numbers)}")
    store = open_control_store(f"sqlite:///{server.data_dir / 'control.db'}")
    store.update_project(keys.project_id, rate_limits={"track": RateLimit(2, 1)})
    store.close()
    wait_for_key(server, keys)
    return keys


def track(server: ServerProcess, key: str, *, policy: Any = None, body: bytes = _REQUEST) -> Any:
    """Make one call as a service with this retry policy would."""
    options = (("grpc.service_config", json.dumps(policy or {})), ("grpc.enable_retries", int(policy is not None)))
    with grpc.insecure_channel(server.grpc_address, options=options) as channel:
        metadata = (("authorization", f"Bearer {key}"),)
        return channel.unary_unary(_TRACK)(body, metadata=metadata, timeout=20)


def expect_refusal(server: ServerProcess, key: str, body: bytes = _REQUEST) -> tuple[str, str, dict[str, Any]]:
    with pytest.raises(grpc.RpcError) as caught:
        track(server, key, body=body)
    return caught.value.code().name, read_reason(caught.value), dict(caught.value.trailing_metadata())


def test_a_client_with_a_retry_policy_outlasts_a_rate_limit(server: ServerProcess, keys: ProjectKeys) -> None:
    track(server, keys.secret)
    track(server, keys.secret, policy=_POLICY)  # waits for the next token, and is stored


def test_a_client_of_grpc_go_outlasts_a_rate_limit(server: ServerProcess, keys: ProjectKeys) -> None:
    program = build_go_program("grpc_retry")
    track(server, keys.secret)
    ended = subprocess.run(
        [
            program,
            *("-address", server.grpc_address, "-method", _TRACK, "-body", _REQUEST.hex()),
            *("-headers", f"authorization=Bearer {keys.secret}", "-config", json.dumps(_POLICY)),
        ],
        capture_output=True,
        check=True,
    )
    answer = json.loads(ended.stdout)
    assert answer["code"] == "OK"
    assert answer["attempts"] >= 2


def test_a_refusal_says_when_to_come_back_in_both_ways(server: ServerProcess, keys: ProjectKeys) -> None:
    track(server, keys.secret)
    code, reason, trailers = expect_refusal(server, keys.secret)
    assert (code, reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
    assert 0 < int(trailers["grpc-retry-pushback-ms"]) <= 500


def test_what_can_never_succeed_is_not_tried_again(server: ServerProcess, keys: ProjectKeys) -> None:
    """payload_too_large has the code of rate_limited, and a policy for that would send 16 MiB again and again."""
    code, reason, trailers = expect_refusal(server, keys.secret, body=bytes(16 * 1024 * 1024 + 1))
    assert (code, reason) == ("RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE")
    assert trailers["grpc-retry-pushback-ms"] == "-1"


def test_a_refusal_that_time_does_not_change_names_no_time(server: ServerProcess) -> None:
    code, reason, trailers = expect_refusal(server, "sk_live_00000000_" + "x" * 43)
    assert (code, reason) == ("UNAUTHENTICATED", "INVALID_API_KEY")
    assert "grpc-retry-pushback-ms" not in trailers


@pytest.mark.parametrize(
    ("is_bad", "bad_events"),
    [
        (lambda _number: True, "0-999"),
        (lambda number: number % 2 == 0, ",".join(str(number) for number in range(0, 1000, 2))),
        (lambda number: number < 3, ""),  # there is room for all fields
    ],
)
def test_bad_events_are_told_within_the_trailers_that_clients_take(
    server: ServerProcess, keys: ProjectKeys, is_bad: Callable[[int], bool], bad_events: str
) -> None:
    """Clients on grpc-core refuse more than 8 KiB, some at random: RESOURCE_EXHAUSTED, which a policy would repeat."""
    good, bad = event_pb2.Event(event="tick"), event_pb2.Event(url="no url")
    events = [bad if is_bad(number) else good for number in range(1000)]
    request, metadata = ingest_service_pb2.BatchRequest(events=events), (("authorization", f"Bearer {keys.secret}"),)
    with grpc.insecure_channel(server.grpc_address) as channel, pytest.raises(grpc.RpcError) as caught:
        ingest_service_pb2_grpc.IngestServiceStub(channel).Batch(request, metadata=metadata, timeout=20)
    assert (caught.value.code().name, read_reason(caught.value)) == ("INVALID_ARGUMENT", "INVALID_PAYLOAD")
    trailers = dict(caught.value.trailing_metadata())
    status = Status.FromString(trailers["grpc-status-details-bin"])
    info, violations = ErrorInfo(), BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(violations)
    assert info.metadata.get("bad_events", "") == bad_events
    assert [one.field for one in violations.field_violations][:2] == ["events[0].event", "events[0].url"]
