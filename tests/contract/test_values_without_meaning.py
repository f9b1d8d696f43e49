"""Unknown enum numbers and impossible times over protobuf have a reason and a field at every door that speaks it."""

import base64
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from contract.projects import Tenant
from contract.stage import Stage
from contract.wire import find_method
from millimetric.v1 import event_pb2, ingest_service_pb2, query_service_pb2

_BAD_TIME = Timestamp(seconds=1_764_000_000, nanos=1_999_999_999)
_REQUESTS: dict[str, tuple[Any, str, str]] = {
    "Track": (ingest_service_pb2.TrackRequest(event="x", ack=99), "INVALID_PAYLOAD", "ack"),
    "Batch": (
        ingest_service_pb2.BatchRequest(
            events=[event_pb2.Event(event="x"), event_pb2.Event(event="x", timestamp=_BAD_TIME)]
        ),
        "INVALID_PAYLOAD",
        "events[1].timestamp",
    ),
    "Stats": (query_service_pb2.StatsRequest(metric=99), "INVALID_PARAMS", "metric"),
    "Query": (
        query_service_pb2.QueryRequest(filter=[query_service_pb2.Filter(column="path", op=99, values=["/"])]),
        "INVALID_PARAMS",
        "filter[0].op",
    ),
    "Sources": (query_service_pb2.SourcesRequest(**{"from": _BAD_TIME}), "INVALID_PARAMS", "from"),
    "Funnel": (
        query_service_pb2.FunnelRequest(
            steps=[
                query_service_pb2.FunnelStep(event="a"),
                query_service_pb2.FunnelStep(
                    event="b", filter=[query_service_pb2.Filter(column="path", op=42, values=["/"])]
                ),
            ]
        ),
        "INVALID_PAYLOAD",
        "steps[1].filter[0].op",
    ),
}


@pytest.mark.parametrize("door", ["grpc", "connect", "connect_with_a_deadline", "grpc_web"])
@pytest.mark.parametrize("rpc", _REQUESTS)
def test_a_value_without_meaning_is_refused(stage: Stage, tenant: Tenant, rpc: str, door: str) -> None:
    request, reason, field = _REQUESTS[rpc]
    key = tenant.keys["sk"]
    body = request.SerializeToString()
    details = _send_grpc(stage, rpc, key, body) if door == "grpc" else _send_http(stage, rpc, key, body, door)
    info, violations = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    info.MergeFromString(details["google.rpc.ErrorInfo"])
    violations.MergeFromString(details["google.rpc.BadRequest"])
    assert (info.reason, [one.field for one in violations.field_violations]) == (reason, [field])


def test_a_bad_event_of_a_stream_has_its_own_outcome(stage: Stage, tenant: Tenant) -> None:
    requests = [
        ingest_service_pb2.TrackStreamRequest(sequence=number, event=event_pb2.Event(event="x", timestamp=timestamp))
        for number, timestamp in enumerate((None, _BAD_TIME, None))
    ]
    with grpc.insecure_channel(stage.server.grpc_address) as channel:
        stream = channel.stream_stream(find_method("TrackStream").path)
        metadata = (("authorization", f"Bearer {tenant.keys['sk']}"),)
        bodies = stream((one.SerializeToString() for one in requests), metadata=metadata, timeout=30)
        outcomes = [ingest_service_pb2.TrackStreamResponse.FromString(body).outcome for body in bodies]
    stored, rejected = ingest_service_pb2.OUTCOME_STORED, ingest_service_pb2.OUTCOME_REJECTED
    assert [one.outcome for one in outcomes] == [stored, rejected, stored]
    assert [error.field for error in outcomes[1].field_errors] == ["timestamp"]


def _send_grpc(stage: Stage, rpc: str, key: str, body: bytes) -> dict[str, bytes]:
    with grpc.insecure_channel(stage.server.grpc_address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(find_method(rpc).path)(body, metadata=(("authorization", f"Bearer {key}"),), timeout=30)
    return _read_status(dict(caught.value.trailing_metadata())["grpc-status-details-bin"])


def _send_http(stage: Stage, rpc: str, key: str, body: bytes, door: str) -> dict[str, bytes]:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/proto"}
    if door == "connect_with_a_deadline":
        headers["connect-timeout-ms"] = "30000"
    if door == "grpc_web":
        headers["content-type"] = "application/grpc-web+proto"
        body = b"\0" + len(body).to_bytes(4, "big") + body
    answer = httpx.post(f"{stage.server.base_url}{find_method(rpc).path}", content=body, headers=headers, timeout=30)
    if door == "grpc_web":
        return _read_status(_decode_base64(_read_trailer(answer, "grpc-status-details-bin")))
    return {detail["type"]: _decode_base64(detail["value"]) for detail in answer.json()["details"]}


def _read_trailer(answer: httpx.Response, name: str) -> str:
    """From the headers, where there is nothing but trailers, or from the last frame of the body."""
    if name in answer.headers:
        return answer.headers[name]
    lines = answer.content.decode("latin-1").splitlines()
    return next(line.partition(":")[2].strip() for line in lines if name in line)


def _read_status(serialized: bytes) -> dict[str, bytes]:
    status = status_pb2.Status.FromString(serialized)
    return {detail.type_url.rpartition("/")[2]: detail.value for detail in status.details}


def _decode_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
