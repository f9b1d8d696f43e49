"""Every answer over gRPC has the request's id behind it: the caller's own if it is well formed. So has the log."""

import re
from typing import Any

import grpc
import pytest

from integration.reads import bearer, wait_for_key
from millimetric.v1 import (
    event_pb2,
    ingest_service_pb2,
    ingest_service_pb2_grpc,
    query_service_pb2,
    query_service_pb2_grpc,
)
from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until

_NAME = "x-request-id"
_MADE = re.compile(r"[0-9a-f-]{36}")


@pytest.fixture(scope="module")
def keys(server: ServerProcess) -> ProjectKeys:
    made = server.create_project("request-ids")
    wait_for_key(server, made)
    return made


def find_id(call: Any) -> str:
    """The one id behind a call that has ended, well or not."""
    (request_id,) = [value for name, value in call.trailing_metadata() if name == _NAME]
    return str(request_id)


def test_every_end_of_a_call_tells_the_id(server: ServerProcess, keys: ProjectKeys) -> None:
    key = ("authorization", bearer(keys.secret)["Authorization"])
    with grpc.insecure_channel(server.grpc_address) as channel:
        ingest, query = (
            ingest_service_pb2_grpc.IngestServiceStub(channel),
            query_service_pb2_grpc.QueryServiceStub(channel),
        )
        unknown = channel.unary_unary("/millimetric.v1.IngestService/Nothing")
        event = ingest_service_pb2.TrackRequest(event="x")
        for sent in ((), ((_NAME, "trace-7/a:b"),), ((_NAME, "not well formed"),)):
            metadata = (key, *sent)
            ended = [ingest.Track.with_call(event, metadata=metadata)[1]]
            stream = query.Export(query_service_pb2.ExportRequest(), metadata=metadata)
            list(stream)
            items = [ingest_service_pb2.TrackStreamRequest(sequence=1, event=event_pb2.Event(event="x"))]
            events = ingest.TrackStream(iter(items), metadata=metadata)
            list(events)
            ended += [stream, events]
            for refused in (
                lambda metadata=metadata: ingest.Track(ingest_service_pb2.TrackRequest(), metadata=metadata),
                lambda sent=sent: ingest.Track(event, metadata=sent),
                lambda sent=sent: list(query.Export(query_service_pb2.ExportRequest(), metadata=sent)),
                lambda sent=sent: unknown(b"", metadata=sent),
            ):
                with pytest.raises(grpc.RpcError) as caught:
                    refused()
                ended.append(caught.value)
            ids = [find_id(call) for call in ended]
            if sent == ((_NAME, "trace-7/a:b"),):
                assert ids == ["trace-7/a:b"] * 7
            else:
                assert all(_MADE.fullmatch(one) for one in ids)
                assert len(set(ids)) == 7


def test_the_log_has_the_same_id(server: ServerProcess, keys: ProjectKeys) -> None:
    metadata = (("authorization", bearer(keys.secret)["Authorization"]), (_NAME, "grpc-find-me"))
    with grpc.insecure_channel(server.grpc_address) as channel, pytest.raises(grpc.RpcError):
        ingest_service_pb2_grpc.IngestServiceStub(channel).Track(ingest_service_pb2.TrackRequest(), metadata=metadata)
    wanted = "Track over grpc: invalid_payload [grpc-find-me]"
    wait_until(lambda: wanted in server.log, f"{wanted} in the log")
