"""Pages of Query end at 3 MiB too: a client with gRPC's default limit of 4 MiB reads all large events of a project."""

from typing import Any

import grpc
import pytest

from contract.doors import WireCall
from contract.projects import Tenant
from contract.stage import Stage
from millimetric.v1 import query_service_pb2, query_service_pb2_grpc

_PAGE_BYTES_MAX = 3 * 1024 * 1024


@pytest.mark.parametrize(
    ("properties", "events"),
    [('{"text":"' + "x" * 8000 + '"}', 600), ('{"digits":[' + "1," * 4000 + "1]}", 150)],
    ids=["text", "digits"],
)
def test_a_client_with_its_default_limit_reads_everything(
    stage: Stage, tenant: Tenant, properties: str, events: int
) -> None:
    names = [f"e{number:03}" for number in range(events)]
    request = {
        "events": [{"event": "x", "event_id": name, "properties_json": properties} for name in names],
        "ack": "stored",
    }
    stored = stage.doors.send("rest", WireCall("Batch", tenant.keys["sk"], request=request))
    assert stored.http_status == 202, stored

    over_grpc: list[str] = []
    asked = query_service_pb2.QueryRequest(limit=1000)
    with grpc.insecure_channel(stage.server.grpc_address) as channel:  # with the default limit
        stub = query_service_pb2_grpc.QueryServiceStub(channel)
        metadata = (("authorization", f"Bearer {tenant.keys['rk']}"),)
        while True:
            answer = stub.Query(asked, metadata=metadata, timeout=60)
            assert answer.ByteSize() <= _PAGE_BYTES_MAX
            assert 0 < len(answer.rows) < events
            over_grpc += [row.event_id for row in answer.rows]
            if not answer.next_page_token:
                break
            asked.page_token = answer.next_page_token
    assert sorted(over_grpc) == names

    over_rest, token = list[str](), ""
    while True:
        page: dict[str, Any] = {"limit": 1000} | ({"page_token": token} if token else {})
        answer = stage.doors.send("rest", WireCall("Query", tenant.keys["rk"], request=page))
        assert len(answer.raw) < 2 * _PAGE_BYTES_MAX
        over_rest += [row["event_id"] for row in answer.response["rows"]]
        if not (token := answer.response.get("next_page_token", "")):
            break
    assert over_rest == over_grpc
