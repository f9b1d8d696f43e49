"""kill -9 under load: every answered event is stored exactly once, and events, roll-up and sessions agree."""

import contextlib
import random
import threading
import time
import uuid
from dataclasses import dataclass, field

import grpc
from reads import count_everywhere, wait_for_key, wait_until

from millimetric.v1 import event_pb2, ingest_service_pb2, ingest_service_pb2_grpc
from support.server_process import ProjectKeys, ServerProcess

ROUNDS = 4
_CALLERS = 4
_BATCH = 50


@dataclass
class Load:
    """Sends batches until it is told to stop; an unanswered batch is kept, to be sent again with the same ids."""

    keys: ProjectKeys
    answered: set[str] = field(default_factory=set)
    unanswered: list[ingest_service_pb2.BatchRequest] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
            while not self.stop.is_set():
                request = make_batch()
                try:
                    self.send(stub, request)
                except grpc.RpcError:
                    self.unanswered.append(request)
                    return

    def send(self, stub: ingest_service_pb2_grpc.IngestServiceStub, request: ingest_service_pb2.BatchRequest) -> None:
        stub.Batch(request, metadata=(("authorization", f"Bearer {self.keys.secret}"),), timeout=20)
        self.answered.update(event.event_id for event in request.events)

    def retry(self, address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
            while self.unanswered:
                wait_until(lambda: self._try(stub, self.unanswered[-1]), "the batch is taken")
                self.unanswered.pop()

    def _try(self, stub: ingest_service_pb2_grpc.IngestServiceStub, request: ingest_service_pb2.BatchRequest) -> bool:
        with contextlib.suppress(grpc.RpcError):
            self.send(stub, request)
            return True
        return False


def make_batch() -> ingest_service_pb2.BatchRequest:
    events = [
        event_pb2.Event(event="tick", event_id=str(uuid.uuid4()), user_id=f"u{number % 7}", session_id=f"s{number % 5}")
        for number in range(_BATCH)
    ]
    return ingest_service_pb2.BatchRequest(events=events)


def test_killed_under_load_again_and_again() -> None:
    randomness = random.Random(7)
    environ = {
        "MILLIMETRIC_RATE_LIMITS": "off",
        "MILLIMETRIC_FLUSH_INTERVAL_MS": "30",
        "MILLIMETRIC_BLOCK_ROWS_MAX": "300",
    }
    with ServerProcess(environ=environ) as server:
        load = Load(server.create_project("crash"))
        wait_for_key(server, load.keys)
        for _ in range(ROUNDS):
            load.stop.clear()
            callers = [threading.Thread(target=load.run, args=(server.grpc_address,)) for _ in range(_CALLERS)]
            for caller in callers:
                caller.start()
            time.sleep(randomness.uniform(0.3, 1.2))
            server.kill()
            load.stop.set()
            for caller in callers:
                caller.join()
            server.start()
            load.retry(server.grpc_address)
        assert len(load.answered) > ROUNDS * _BATCH
        wait_until(
            lambda: (
                count_everywhere(server, load.keys)
                == dict.fromkeys(("events", "rollup", "sessions"), len(load.answered))
            ),
            lambda: f"{len(load.answered)} answered, {count_everywhere(server, load.keys)} stored",
        )


def test_sigterm_under_load_keeps_every_answered_event() -> None:
    with ServerProcess(environ={"MILLIMETRIC_RATE_LIMITS": "off"}) as server:
        load = Load(server.create_project("stop"))
        wait_for_key(server, load.keys)
        callers = [threading.Thread(target=load.run, args=(server.grpc_address,)) for _ in range(_CALLERS)]
        for caller in callers:
            caller.start()
        time.sleep(1)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 20
        for caller in callers:
            caller.join()
        server.start()
        answered = len(load.answered)
        assert answered > 0
        counts = count_everywhere(server, load.keys)
        assert counts == dict.fromkeys(("events", "rollup", "sessions"), counts["events"])
        # A call that was cut off unanswered may be stored, never one that was refused.
        assert answered <= counts["events"] <= answered + len(load.unanswered) * _BATCH
