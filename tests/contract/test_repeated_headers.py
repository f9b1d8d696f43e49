"""A header that is sent twice is its values joined by a comma, at every door; two keys or two origins are refused."""

import base64
from collections.abc import Sequence

import grpc
import httpx
import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from contract.projects import Tenant
from contract.stage import Stage
from integration.reads import read_reason
from millimetric.v1 import ingest_service_pb2
from support.server_process import ORIGIN

_METHOD = "/millimetric.v1.IngestService/Track"
_OTHER_ORIGIN = "https://evil.example"


def track(stage: Stage, door: str, *headers: tuple[str, str]) -> str:
    """Make a call with a line for each of these headers; returns the reason of its refusal, or `ok`."""
    if door == "grpc":
        return _track_over_grpc(stage, headers)
    path = "/v1/track" if door == "rest" else _METHOD
    content_type = ("content-type", "application/json")
    answer = httpx.post(f"{stage.server.base_url}{path}", json={"event": "x"}, headers=[*headers, content_type])
    if answer.is_success:
        return "ok"
    if door == "rest":
        return str(answer.json()["error"])
    value: str = answer.json()["details"][0]["value"]
    return ErrorInfo.FromString(base64.b64decode(value + "==")).reason.lower()


def _track_over_grpc(stage: Stage, metadata: Sequence[tuple[str, str]]) -> str:
    body = ingest_service_pb2.TrackRequest(event="x").SerializeToString()
    with grpc.insecure_channel(stage.server.grpc_address) as channel:
        try:
            channel.unary_unary(_METHOD)(body, metadata=metadata, timeout=30)
        except grpc.RpcError as error:
            return read_reason(error).lower()
    return "ok"


@pytest.mark.parametrize("door", ["grpc", "rest", "connect"])
def test_two_keys_are_no_key_and_two_origins_are_none(stage: Stage, tenant: Tenant, door: str) -> None:
    public, secret = (("authorization", f"Bearer {tenant.keys[name]}") for name in ("pk", "sk"))
    good, evil = ("origin", ORIGIN), ("origin", _OTHER_ORIGIN)
    assert track(stage, door, public, good) == "ok"
    assert track(stage, door, secret) == "ok"
    assert track(stage, door, secret, evil) == "ok"  # a server has no origin; one line of it is nobody's business
    for twice in ((secret, secret), (public, secret), (("authorization", "Bearer x"), secret)):
        assert track(stage, door, *twice, good) == "malformed_api_key"
    for key in (public, secret):
        for origins in ((good, good), (evil, good), (good, evil)):
            assert track(stage, door, key, *origins) == "origin_not_allowed"


@pytest.mark.parametrize("door", ["grpc", "rest", "connect"])
def test_a_list_on_two_lines_is_one_list(stage: Stage, tenant: Tenant, door: str) -> None:
    key = ("authorization", f"Bearer {tenant.keys['sk']}")
    assert track(stage, door, key, ("millimetric-ack", "durable")) == "ok"
    assert track(stage, door, key, ("millimetric-ack", "nonsense"), ("millimetric-ack", "durable")) == "invalid_payload"
