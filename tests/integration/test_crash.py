"""kill -9 and SIGTERM under load: every answered event is stored exactly once, and all figures agree."""

import contextlib
import itertools
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from integration.reads import count_everywhere, read_reason, wait_for_key, wait_until_everywhere
from millimetric.v1 import event_pb2, ingest_service_pb2, ingest_service_pb2_grpc
from support.clickhouse_server import ClickHouseServer
from support.crashing_server import INGESTION_POINTS, Crash
from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until_equal, wait_until_none

_TESTS = Path(__file__).parents[1]
_CALLERS = 4
_BATCH = 50
_DIE_S = 120
_RANDOM = "random"  # the test kills, at some moment
_RANDOM_ROUNDS = 10
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
_ENDLESS = {"MILLIMETRIC_RATE_LIMITS": "off", "MILLIMETRIC_SHUTDOWN_TIMEOUT_S": "600"}
_numbers = itertools.count()


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
            while not self.stop.is_set():
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


@pytest.fixture(params=["chdb", "http"])
def store(request: pytest.FixtureRequest) -> Store:
    """Both kinds of store; a database of its own."""
    clickhouse: ClickHouseServer | None = (
        request.getfixturevalue("clickhouse_server") if request.param == "http" else None
    )
    return Store(clickhouse.url if clickhouse else "", f"crash_{next(_numbers)}")


def make_batch() -> ingest_service_pb2.BatchRequest:
    events = [
        event_pb2.Event(event="tick", event_id=str(uuid.uuid4()), user_id=f"u{number % 7}", session_id=f"s{number % 5}")
        for number in range(_BATCH)
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


def make_rounds(randomness: random.Random) -> list[tuple[str, bool]]:
    """Points, each once under load and once from the start on, while the crash before is being healed."""
    rounds = [(point, heals) for point in INGESTION_POINTS for heals in (False, True)]
    rounds += [(_RANDOM, False)] * _RANDOM_ROUNDS
    randomness.shuffle(rounds)
    return rounds


def run_round(server: ServerProcess, crash: Crash, load: Load, point: str, passes: int) -> None:
    """Start, send what was unanswered, go on under load, and die at a pass of the point, or at some moment."""
    assert start(server, crash)
    assert load.retry(server.grpc_address), server.log
    check_conservation(read_ledger(server, load.keys))
    with load.run_callers(server.grpc_address):
        if point == _RANDOM:
            time.sleep(passes / 10)
            server.kill()
        else:
            crash.arm(point, passes)
            wait_for_death(server, crash, point)


def run_healing_round(server: ServerProcess, crash: Crash, load: Load, point: str) -> None:
    """Start, and die at the first pass of the point: while the crash before is being healed, if that passes it."""
    crash.arm(point)
    if start(server, crash) and load.retry(server.grpc_address):
        with load.run_callers(server.grpc_address):
            wait_for_death(server, crash, point)
    else:
        wait_for_death(server, crash, point)


def test_killed_at_every_point_and_at_random_under_load(store: Store, tmp_path: Path) -> None:
    randomness, crash = random.Random(7), Crash(tmp_path)
    environ = store.environ | {
        "MILLIMETRIC_RATE_LIMITS": "off",
        "MILLIMETRIC_FLUSH_INTERVAL_MS": "30",
        "MILLIMETRIC_BLOCK_ROWS_MAX": "300",
        "PYTHONPATH": str(_TESTS),
    }
    with ServerProcess(environ=environ, module=("support.crashing_server", str(tmp_path))) as server:
        load = Load(server.create_project("crash"))
        wait_for_key(server, load.keys)
        server.kill()
        for point, heals in make_rounds(randomness):
            if heals:
                run_healing_round(server, crash, load, point)
            else:
                run_round(server, crash, load, point, passes=randomness.randint(1, 8))
        server.start()
        assert load.retry(server.grpc_address)
        answered = len(load.answered)
        assert answered > 2 * _RANDOM_ROUNDS * _BATCH
        wait_until_none(
            lambda: int(read_ledger(server, load.keys).get("millimetric_journal_events", 0)), "the journal is empty"
        )
        wait_until_everywhere(server, load.keys, answered)
        wait_until_equal(lambda: read_ledger(server, load.keys)["millimetric_events_stored"], answered)
        check_conservation(read_ledger(server, load.keys))
        assert server.stop() == 0
        assert sorted(store.read_ids(server, load.keys)) == sorted(load.answered)


def test_sigterm_under_load_keeps_every_answered_event(store: Store) -> None:
    with ServerProcess(environ=store.environ | _ENDLESS) as server:
        load = Load(server.create_project("stop"))
        wait_for_key(server, load.keys)
        with load.run_callers(server.grpc_address):
            time.sleep(1)
            assert server.stop() == 0  # which does not wait until all of its time to end has passed
        stored = store.read_ids(server, load.keys)  # before a restart could load anything
        unanswered = {event.event_id for request in load.unanswered for event in request.events}
        assert load.answered
        assert len(stored) == len(set(stored))
        # A call that was cut off unanswered may be stored, never one that was refused.
        assert load.answered <= set(stored) <= load.answered | unanswered
        assert not load.refused & set(stored)
        server.start()
        assert count_everywhere(server, load.keys) == dict.fromkeys(("events", "rollup", "sessions"), len(stored))
        check_conservation(read_ledger(server, load.keys))
