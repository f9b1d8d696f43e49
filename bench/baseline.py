"""Servers to compare with: grpcio's threaded server that parses and answers, alone or with a durable commit.

Run as `python -m bench.baseline parse` or `… commit FILE`; prints its port, ends when its stdin closes.
"""

import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from millimetric.v1 import ingest_service_pb2 as messages

_THREADS = 40
_SERVICE = "/millimetric.v1.IngestService/"


class Committer:
    """Writes each body in a transaction of its own and returns once it is on the disk."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("CREATE TABLE entries (seq INTEGER PRIMARY KEY, body BLOB)")

    def commit(self, body: bytes) -> None:
        """Store a body."""
        with self._lock:
            self._connection.execute("INSERT INTO entries (body) VALUES (?)", (body,))


def answer_nothing(_body: bytes) -> None:
    """Store nothing."""


def main(kind: str, path: str = "") -> None:
    """Serve until stdin closes."""
    commit = Committer(Path(path)).commit if kind == "commit" else answer_nothing

    def track(body: bytes, _context: grpc.ServicerContext) -> bytes:
        messages.TrackRequest.FromString(body)
        commit(body)
        return messages.TrackResponse(ok=True, event_id="0" * 36).SerializeToString()

    def batch(body: bytes, _context: grpc.ServicerContext) -> bytes:
        count = len(messages.BatchRequest.FromString(body).events)
        commit(body)
        return messages.BatchResponse(ok=True, count=count).SerializeToString()

    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        _SERVICE + "Track": grpc.unary_unary_rpc_method_handler(track),
        _SERVICE + "Batch": grpc.unary_unary_rpc_method_handler(batch),
    }

    class Methods(grpc.GenericRpcHandler):
        def service(
            self, handler_call_details: grpc.HandlerCallDetails
        ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
            return methods.get(handler_call_details.method)

    server = grpc.server(
        ThreadPoolExecutor(_THREADS), options=(("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0))
    )
    server.add_generic_rpc_handlers((Methods(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0).wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
