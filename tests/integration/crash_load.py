"""Load on a server that dies of it, and what is held against what was answered."""

import contextlib
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import grpc
import httpx
from prometheus_client.parser import text_string_to_metric_families

from integration.reads import read_reason
from millimetric.v1 import event_pb2, ingest_service_pb2, ingest_service_pb2_grpc
from support.crashing_server import Crash
from support.server_process import ProjectKeys, ServerProcess

BATCH = 50
_CALLERS = 4
_DIE_S = 120
_PAUSE_S = 0.02  # a caller that sends without one makes more than a slow machine stores
_READ_IDS = """
import sys
from millimetric_server.store.clickhouse import ClickHouse
store = ClickHouse(sys.argv[1], sys.argv[2])
store.open()
statement = "SELECT event_id FROM events WHERE project_id = {project:String}"
for (event_id,) in store.query(statement, {"project": sys.argv[3]}):
    print(event_id)
store.close()
"""


@dataclass
class Load:
    """Sends batches until it is told to stop; an unanswered batch is kept, to be sent again with the same ids."""

    keys: ProjectKeys
    answered: set[str] = field(default_factory=set)
    unanswered: list[ingest_service_pb2.BatchRequest] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def run_callers(self, address: str) -> Iterator[None]:
        """Send meanwhile."""
        self.stop.clear()
        callers = [threading.Thread(target=self.run, args=(address,)) for _ in range(_CALLERS)]
        for caller in callers:
            caller.start()
        try:
            yield
        finally:
            self.stop.set()
            for caller in callers:
                caller.join()

    def run(self, address: str) -> None:
        """Send until the first call that fails."""
        with grpc.insecure_channel(address) as channel:
            stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
            while not self.stop.wait(_PAUSE_S):
                request = make_batch()
                try:
                    self.send(stub, request)
                except grpc.RpcError as error:
                    if read_reason(error) == "OVERLOADED":
                        self.refused.update(event.event_id for event in request.events)
                    else:
                        self.unanswered.append(request)
                    return

    def send(self, stub: ingest_service_pb2_grpc.IngestServiceStub, request: ingest_service_pb2.BatchRequest) -> None:
        stub.Batch(request, metadata=(("authorization", f"Bearer {self.keys.secret}"),), timeout=60)
        self.answered.update(event.event_id for event in request.events)

    def retry(self, address: str) -> bool:
        """Send what is unanswered; False when the server does not answer again."""
        with grpc.insecure_channel(address) as channel:
            stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
            while self.unanswered:
                try:
                    self.send(stub, self.unanswered[-1])
                except grpc.RpcError:
                    return False
                self.unanswered.pop()
        return True


@dataclass(frozen=True)
class Store:
    """Where a test's server keeps its events."""

    url: str  # empty: embedded
    database: str

    @property
    def environ(self) -> dict[str, str]:
        return {"MILLIMETRIC_CLICKHOUSE_URL": self.url, "MILLIMETRIC_CLICKHOUSE_DATABASE": self.database}

    def read_ids(self, server: ServerProcess, keys: ProjectKeys) -> list[str]:
        """The ids of the project's events, asked of the store itself. The server is stopped."""
        url = self.url or f"chdb://{server.data_dir}/clickhouse"
        words = [sys.executable, "-c", _READ_IDS, url, self.database, keys.project_id]
        return subprocess.run(words, capture_output=True, check=True, text=True, timeout=60).stdout.split()


def make_batch() -> ingest_service_pb2.BatchRequest:
    events = [
        event_pb2.Event(event="tick", event_id=str(uuid.uuid4()), user_id=f"u{number % 7}", session_id=f"s{number % 5}")
        for number in range(BATCH)
    ]
    return ingest_service_pb2.BatchRequest(events=events)


def read_ledger(server: ServerProcess, keys: ProjectKeys) -> dict[str, int]:
    """What /metrics says of the project's events, by metric; reasons are summed up."""
    ledger: dict[str, int] = {}
    for family in text_string_to_metric_families(httpx.get(server.metrics_url, timeout=30).text):
        for sample in family.samples:
            if sample.labels.get("project") == keys.project_id and "kind" not in sample.labels:
                ledger[family.name] = ledger.get(family.name, 0) + int(sample.value)
    return ledger


def check_conservation(ledger: dict[str, int]) -> None:
    """Whatever was received is known to be somewhere."""
    received = ledger.get("millimetric_events_received", 0)
    assert 2 * received == sum(ledger.values()), ledger


def start(server: ServerProcess, crash: Crash) -> bool:
    """Start; False when the armed point was reached before the server was up."""
    try:
        server.start()
    except AssertionError:
        if not crash.hit.exists():
            raise
        return False
    return True


def wait_for_death(server: ServerProcess, crash: Crash, point: str) -> None:
    """Wait until the server has killed itself at the point."""
    assert server.process is not None
    assert server.process.wait(_DIE_S) == -signal.SIGKILL, server.log
    assert crash.take_hit() == point
    server.process = None
