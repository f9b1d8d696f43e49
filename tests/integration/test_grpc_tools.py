"""What tools and balancers ask of the gRPC door: reflection in both versions, by every kind of name, pings, health."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from integration.reads import read_reason
from support.server_process import ServerProcess
from support.waiting import wait_until

_READY, _IDLE = grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.IDLE
_VERSIONS = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
_SYMBOLS = {
    "millimetric.v1.IngestService": "millimetric/v1/ingest_service.proto",
    "millimetric.v1.IngestService.Track": "millimetric/v1/ingest_service.proto",
    "millimetric.v1.QueryService.Export": "millimetric/v1/query_service.proto",
    "millimetric.v1.TrackRequest": "millimetric/v1/ingest_service.proto",
    "millimetric.v1.TrackRequest.event": "millimetric/v1/ingest_service.proto",
    "millimetric.v1.Ack": "millimetric/v1/ingest_service.proto",
    "millimetric.v1.ACK_STORED": "millimetric/v1/ingest_service.proto",
    "millimetric.v1.ErrorReason": "millimetric/v1/error_reason.proto",
    "millimetric.v1.ERROR_REASON_RATE_LIMITED": "millimetric/v1/error_reason.proto",
    "google.rpc.ErrorInfo": "google/rpc/error_details.proto",
    "google.api.http": "google/api/annotations.proto",
    "grpc.health.v1.Health.Check": "grpc_health/v1/health.proto",
    "grpc.reflection.v1.ServerReflection": "grpc/reflection/v1/reflection.proto",
    "grpc.reflection.v1.ServerReflection.ServerReflectionInfo": "grpc/reflection/v1/reflection.proto",
    "grpc.reflection.v1.ServerReflectionRequest": "grpc/reflection/v1/reflection.proto",
}


def ask(server: ServerProcess, package: str, *requests: reflection_pb2.ServerReflectionRequest) -> list[Any]:
    with grpc.insecure_channel(server.grpc_address) as channel:
        stream = channel.stream_stream(
            f"/{package}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        return list(stream(iter(requests), timeout=30))


@pytest.mark.parametrize("package", _VERSIONS)
def test_everything_is_found_by_its_name(server: ServerProcess, package: str) -> None:
    requests = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in (*_SYMBOLS, "no.such")]
    *found, missing = ask(server, package, *requests)
    files = [_read_files(answer) for answer in found]
    assert [file.name for file, *_ in files] == list(_SYMBOLS.values())
    assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    for group in files:  # a client can build each with what came along
        names = {file.name for file in group}
        assert {name for file in group for name in file.dependency} <= names


def _read_files(answer: Any) -> list[descriptor_pb2.FileDescriptorProto]:
    serialized = answer.file_descriptor_response.file_descriptor_proto
    return [descriptor_pb2.FileDescriptorProto.FromString(one) for one in serialized]


@pytest.mark.parametrize("package", _VERSIONS)
def test_each_listed_service_is_described(server: ServerProcess, package: str) -> None:
    (answer,) = ask(server, package, reflection_pb2.ServerReflectionRequest(list_services=""))
    services = {service.name for service in answer.list_services_response.service}
    assert services == {
        *(f"millimetric.v1.{name}Service" for name in ("Ingest", "Privacy", "Query")),
        *(f"{version}.ServerReflection" for version in _VERSIONS),
        "grpc.health.v1.Health",
    }
    requests = [reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in services]
    assert all(_read_files(answer) for answer in ask(server, package, *requests))


def test_the_client_of_grpcio_and_buf_curl_read_it(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.grpc_address) as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        method = pool.FindServiceByName("millimetric.v1.QueryService").methods_by_name["Stats"]
        assert method.input_type.full_name == "millimetric.v1.StatsRequest"
    buf = [Path(sys.executable).with_name("buf"), "curl", "--protocol", "grpc", "--http2-prior-knowledge"]
    url = f"http://{server.grpc_address}"
    listed = subprocess.run([*buf, "--list-methods", url], capture_output=True, text=True, check=True).stdout
    assert "millimetric.v1.IngestService/TrackStream" in listed
    called = subprocess.run(
        [*buf, "-d", '{"event": "x"}', f"{url}/millimetric.v1.IngestService/Track"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "google.rpc.ErrorInfo" in called.stderr, called.stderr


def test_reflection_can_be_off_and_connections_can_be_renewed() -> None:
    environ = {"MILLIMETRIC_GRPC_REFLECTION": "off", "MILLIMETRIC_GRPC_CONNECTION_AGE_S": "1"}
    with ServerProcess(environ=environ) as server, grpc.insecure_channel(server.grpc_address) as channel:
        for package in _VERSIONS:
            with pytest.raises(grpc.RpcError) as caught:
                ask(server, package, reflection_pb2.ServerReflectionRequest(list_services=""))
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        states: list[grpc.ChannelConnectivity] = []
        channel.subscribe(states.append, try_to_connect=True)
        wait_until(lambda: states[-2:] == [_READY, _IDLE], lambda: str(states))
        request = health_pb2.HealthCheckRequest()
        assert health_pb2_grpc.HealthStub(channel).Check(request, timeout=10).status  # over the next connection


@pytest.mark.slow
def test_a_quiet_client_may_ping(server: ServerProcess) -> None:
    """With and without a call. Who takes a ping in 5 minutes cuts a client off at the third, here after 13.5 s."""
    options = (
        ("grpc.keepalive_time_ms", 4500),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.use_local_subchannel_pool", 1),
    )
    with (
        grpc.insecure_channel(server.grpc_address, options=options) as quiet,
        grpc.insecure_channel(server.grpc_address, options=options) as watching,
    ):
        states: list[grpc.ChannelConnectivity] = []
        quiet.subscribe(states.append, try_to_connect=True)
        watch = health_pb2_grpc.HealthStub(watching).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        time.sleep(16)
        assert watch.is_active()
        assert states[-1] is _READY, states
        watch.cancel()


def test_a_body_that_is_none_is_the_callers_fault(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.grpc_address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/grpc.health.v1.Health/Check")(b"\xff", timeout=10)
    assert (caught.value.code().name, read_reason(caught.value)) == ("INVALID_ARGUMENT", "INVALID_PAYLOAD")


@pytest.mark.parametrize("path", ["IngestService/Nothing", "AdminService/CreateProject", "NoService/Track"])
def test_an_unknown_method_of_ours_is_unimplemented_and_says_why(server: ServerProcess, path: str) -> None:
    with grpc.insecure_channel(server.grpc_address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"/millimetric.v1.{path}")(b"", timeout=10)
    assert (caught.value.code().name, read_reason(caught.value)) == ("UNIMPLEMENTED", "NOT_FOUND")
