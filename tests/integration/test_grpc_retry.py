"""What a refused unary call looks like to gRPC's own clients: Trailers-Only, so that their retry policies act on it."""

import itertools
import json
import subprocess
from typing import Any

import grpc
import pytest
from reads import read_reason, wait_for_key

from millimetric.v1 import ingest_service_pb2
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
