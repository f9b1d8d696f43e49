"""Callers who hang up, or whose deadline passes, at a random moment: at every door, with every kind of write."""

import contextlib
import itertools
import json
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from millimetric.v1 import event_pb2, ingest_service_pb2, ingest_service_pb2_grpc

from .server_process import ServerProcess

Ids = Sequence[str]
_TRACK, _BATCH = "/millimetric.v1.IngestService/Track", "/millimetric.v1.IngestService/Batch"
_EVENTS_A_BATCH = 20
_DEADLINES_MS = (1, 2, 5, 10, 20, 50, 60_000)
_PATIENCE_S = 0.05  # a commit and a load lie on both sides of it
_GIVE_UP_S = 30.0
_JSON, _WEB = "Content-Type: application/json", "Content-Type: application/grpc-web+proto"


@dataclass
class ImpatientCaller:
    """One client of a server, for one thread. Each call has a number, from which its kind and its events' ids follow.

    A number that is called again is a retry: its events have the same ids.
    """

    server: ServerProcess
    key: str
    channel: grpc.Channel | None = None
    grpc_address: str = ""

    def call(self, number: int) -> tuple[Ids, Ids]:
        """Make a call and leave at a random moment; returns the event ids that were sent, and the acknowledged ones.

        Raises OSError where the server is away.
        """
        chance = random.Random(f"{number} {time.monotonic_ns()}")
        make = KINDS[number % len(KINDS)]
        return make(self, [f"e{number}-{index}" for index in range(_EVENTS_A_BATCH)], chance)

    def close(self) -> None:
        """Hang up on everything."""
        if self.channel is not None:
            self.channel.close()

    @property
    def stub(self) -> Any:
        """The generated stub of the gRPC door, where the server listens now."""
        if self.channel is None or self.grpc_address != self.server.grpc_address:
            self.close()
            self.grpc_address = self.server.grpc_address
            self.channel = grpc.insecure_channel(self.grpc_address)
        return ingest_service_pb2_grpc.IngestServiceStub(self.channel)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What each gRPC call sends."""
        return (("authorization", f"Bearer {self.key}"),)

    def post(self, path: str, body: bytes, chance: random.Random, *headers: str) -> int:
        """Send a request and wait for its status line, but not for long; 0 is none."""
        length = f"Content-Length: {len(body)}"
        lines = (f"POST {path} HTTP/1.1", "Host: test", f"Authorization: Bearer {self.key}", *headers, length, "", "")
        with socket.create_connection(("127.0.0.1", self.server.http_port), timeout=_GIVE_UP_S) as connection:
            connection.sendall("\r\n".join(lines).encode() + body)
            connection.settimeout(_choose_patience_s(chance))
            try:
                words = connection.recv(64).split(b" ", 2)
            except TimeoutError:
                return 0
        return int(words[1]) if len(words) > 1 else 0


def _rest_track(caller: ImpatientCaller, ids: Ids, chance: random.Random) -> tuple[Ids, Ids]:
    body = {"event": "tick", "event_id": ids[0], "ack": _choose_ack(chance)}
    status = caller.post("/v1/track", json.dumps(body).encode(), chance, _JSON)
    return ids[:1], ids[:1] if status == 202 else ()


def _rest_batch(caller: ImpatientCaller, ids: Ids, chance: random.Random) -> tuple[Ids, Ids]:
    body = {"events": [{"event": "tick", "event_id": one} for one in ids], "ack": _choose_ack(chance)}
    status = caller.post("/v1/batch", json.dumps(body).encode(), chance, _JSON)
    return ids, ids if status == 202 else ()


def _connect_track(caller: ImpatientCaller, ids: Ids, chance: random.Random) -> tuple[Ids, Ids]:
    body = {"event": "tick", "eventId": ids[0], "ack": f"ACK_{_choose_ack(chance).upper()}"}
    deadline = f"Connect-Timeout-Ms: {chance.choice(_DEADLINES_MS)}"
    status = caller.post(_TRACK, json.dumps(body).encode(), chance, _JSON, deadline)
    return ids[:1], ids[:1] if status == 200 else ()


def _connect_batch(caller: ImpatientCaller, ids: Ids, chance: random.Random) -> tuple[Ids, Ids]:
    body = _make_batch(ids, chance).SerializeToString()
    deadline = f"Connect-Timeout-Ms: {chance.choice(_DEADLINES_MS)}"
    status = caller.post(_BATCH, body, chance, "Content-Type: application/proto", deadline)
    return ids, ids if status == 200 else ()


def _grpc_web_track(caller: ImpatientCaller, ids: Ids, chance: random.Random) -> tuple[Ids, Ids]:
    request = _make_track(ids[0], chance).SerializeToString()
    body = b"\0" + struct.pack(">I", len(request)) + request
    caller.post(_TRACK, body, chance, _WEB, "X-Grpc-Web: 1", f"grpc-timeout: {chance.choice(_DEADLINES_MS)}m")
    return ids[:1], ()  # the status line says 200 to a refusal, too


def _grpc_track(caller: ImpatientCaller, ids: Ids, chance: random.Random) -> tuple[Ids, Ids]:
    return ids[:1], ids[:1] if _leave_early(caller, caller.stub.Track, _make_track(ids[0], chance), chance) else ()


def _grpc_batch(caller: ImpatientCaller, ids: Ids, chance: random.Random) -> tuple[Ids, Ids]:
    return ids, ids if _leave_early(caller, caller.stub.Batch, _make_batch(ids, chance), chance) else ()


def _grpc_stream(caller: ImpatientCaller, ids: Ids, chance: random.Random) -> tuple[Ids, Ids]:
    def send() -> Iterator[Any]:
        for number, one in enumerate(ids):
            event = event_pb2.Event(event="tick", event_id=one)
            yield ingest_service_pb2.TrackStreamRequest(sequence=number, event=event)
            if chance.random() < 0.1:
                time.sleep(0.01)

    answers = caller.stub.TrackStream(send(), metadata=caller.metadata, timeout=_choose_deadline_s(chance))
    acknowledged: list[str] = []
    with contextlib.suppress(grpc.RpcError):  # its deadline passed, or the server is away
        some = itertools.islice(answers, chance.randrange(2 * len(ids)))
        acknowledged.extend(ids[answer.sequence] for answer in some)
    answers.cancel()
    return ids, acknowledged


def _rest_read(caller: ImpatientCaller, _ids: Ids, chance: random.Random) -> tuple[Ids, Ids]:
    caller.post("/v1/funnel", b'{"steps": [{"event": "tick"}, {"event": "tick"}], "window_seconds": 60}', chance, _JSON)
    return (), ()


KINDS: tuple[Callable[[ImpatientCaller, Ids, random.Random], tuple[Ids, Ids]], ...] = (
    _rest_track,
    _rest_batch,
    _connect_track,
    _connect_batch,
    _grpc_web_track,
    _grpc_track,
    _grpc_batch,
    _grpc_stream,
    _rest_read,
)


def _leave_early(caller: ImpatientCaller, method: Any, request: Any, chance: random.Random) -> bool:
    """Make a gRPC call; half of the callers have a deadline, half cancel. Returns whether it was answered well."""
    has_deadline = chance.random() < 0.5
    call = method.future(
        request, metadata=caller.metadata, timeout=_choose_deadline_s(chance) if has_deadline else _GIVE_UP_S
    )
    if not has_deadline:
        time.sleep(_choose_patience_s(chance))
        call.cancel()
    try:
        return bool(call.code() is grpc.StatusCode.OK)
    except grpc.FutureCancelledError:
        return False


def _make_track(event_id: str, chance: random.Random) -> ingest_service_pb2.TrackRequest:
    return ingest_service_pb2.TrackRequest(event="tick", event_id=event_id, ack=_choose_ack_number(chance))


def _make_batch(ids: Ids, chance: random.Random) -> ingest_service_pb2.BatchRequest:
    events = [event_pb2.Event(event="tick", event_id=one) for one in ids]
    return ingest_service_pb2.BatchRequest(events=events, ack=_choose_ack_number(chance))


def _choose_ack(chance: random.Random) -> str:
    return chance.choice(("durable", "stored"))


def _choose_ack_number(chance: random.Random) -> Any:
    return ingest_service_pb2.Ack.Value(f"ACK_{_choose_ack(chance).upper()}")


def _choose_deadline_s(chance: random.Random) -> float:
    return chance.choice(_DEADLINES_MS) / 1000


def _choose_patience_s(chance: random.Random) -> float:
    return chance.uniform(0.001, _PATIENCE_S)
