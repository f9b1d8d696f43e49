"""Large gRPC answers are compressed for who accepts it, and for nobody else; small ones are not."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import httpx
import pytest

from integration.reads import bearer, wait_for_key
from millimetric.v1 import ingest_service_pb2, ingest_service_pb2_grpc, query_service_pb2, query_service_pb2_grpc
from support.server_process import ProjectKeys, ServerProcess

_ACCEPTS_NOTHING = (("grpc.compression_enabled_algorithms_bitset", 1),)
_EVENTS = 500


class CountingProxy:
    """Passes bytes on, and counts those that the server sends."""

    def __init__(self, port: int) -> None:
        self.received = 0
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            threading.Thread(target=self._pass_on, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, True), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, is_counted: bool) -> None:  # noqa: FBT001
        try:
            while data := source.recv(65536):
                self.received += len(data) if is_counted else 0
                target.sendall(data)
        except OSError:
            pass
        target.close()


@pytest.fixture(scope="module")
def keys(server: ServerProcess) -> ProjectKeys:
    keys = server.create_project("compression")
    wait_for_key(server, keys)
    events = [{"event": "x", "event_id": f"e{number}", "url": "https://example.com/"} for number in range(_EVENTS)]
    body = {"events": events, "ack": "stored"}
    httpx.post(f"{server.base_url}/v1/batch", json=body, headers=bearer(keys.secret), timeout=30).raise_for_status()
    return keys


@contextmanager
def connect(server: ServerProcess, *options: tuple[str, int]) -> Iterator[tuple[CountingProxy, grpc.Channel]]:
    proxy = CountingProxy(server.grpc_port)
    with grpc.insecure_channel(proxy.address, options=[*options, ("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield proxy, channel
    proxy.close()


def test_large_answers_are_compressed_for_who_accepts_it(server: ServerProcess, keys: ProjectKeys) -> None:
    sizes = []
    for options in ((), _ACCEPTS_NOTHING):
        with connect(server, *options) as (proxy, channel):
            stub = query_service_pb2_grpc.QueryServiceStub(channel)
            metadata = (("authorization", f"Bearer {keys.read}"),)
            query = stub.Query(query_service_pb2.QueryRequest(limit=1000), metadata=metadata, timeout=30)
            assert len(query.rows) == _EVENTS
            queried = proxy.received
            export = stub.Export(query_service_pb2.ExportRequest(), metadata=metadata, timeout=30)
            plain = sum(len(piece.data) for piece in export)
            sizes.append((queried, proxy.received - queried, query.ByteSize(), plain))
    compressed, plain = sizes
    assert plain[0] >= plain[2]
    assert plain[1] >= plain[3]
    assert compressed[0] < plain[0] / 3
    assert compressed[1] < plain[1] / 3


def test_small_answers_are_sent_as_they_are(server: ServerProcess) -> None:
    """Compressing some 200 bytes costs more than it saves. What is repeated in the answer shows that it was not."""
    keys, event_id = server.create_project("small answers"), "a" * 128
    with connect(server) as (proxy, channel):
        stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
        request = ingest_service_pb2.TrackRequest(event="x", event_id=event_id, anonymous_id=event_id)
        metadata = (("authorization", f"Bearer {keys.secret}"),)
        before = proxy.received
        answer = stub.Track(request, metadata=metadata, timeout=30)
        assert answer.event_id == event_id
        assert proxy.received - before > 2 * len(event_id)
