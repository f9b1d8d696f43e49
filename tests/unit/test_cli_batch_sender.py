"""How a batch is sent when the server asks to wait, is away, or says no. The server here says what it is told to."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.rpc.status_pb2 import Status

from millimetric.v1 import event_pb2, ingest_service_pb2, ingest_service_pb2_grpc
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.cli.load.batch_sender import BatchSender, SendError
from millimetric_server.doors.error_details import make_details

KEY = "sk_live_0123abcd_" + "s" * 43
EVENTS = [event_pb2.Event(event="signup", event_id="1")]
Answer = AppError | grpc.StatusCode


class Scripted(ingest_service_pb2_grpc.IngestServiceServicer):
    """Answers with each failure of its script once, then with success."""

    def __init__(self, script: list[Answer]) -> None:
        self.script = script
        self.calls = 0

    def Batch(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the method's name in the proto
        self.calls += 1
        if not self.script:
            return ingest_service_pb2.BatchResponse(ok=True, count=len(request.events))
        failure = self.script.pop(0)
        if isinstance(failure, AppError):
            status = Status(code=failure.failure.code.value[0], message=failure.message)
            for detail in make_details(failure):
                status.details.add().Pack(detail)
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(failure.failure.code, failure.message)
        return context.abort(failure, "an answer without details")


@contextlib.contextmanager
def serving(script: list[Answer]) -> Iterator[tuple[Scripted, str]]:
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = Scripted(script)
    ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield servicer, f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def send(script: list[Answer], patience_s: float = 5, tell: Callable[[str, float], None] | None = None) -> int:
    with serving(script) as (servicer, address):
        sender = BatchSender(address, KEY, tell or (lambda _reason, _seconds: None), patience_s)
        try:
            sender.connect()
            assert sender.send(EVENTS).count == 1
        finally:
            sender.close()
        return servicer.calls


def test_it_waits_as_long_as_it_is_asked_to_and_says_why() -> None:
    told: list[tuple[str, float]] = []
    script: list[Answer] = [
        AppError(Reason.RATE_LIMITED, "slow down", retry_after_s=0.02),
        AppError(Reason.OVERLOADED, "full", retry_after_s=0.03),
        grpc.StatusCode.UNAVAILABLE,
    ]
    calls = send(script, tell=lambda reason, seconds: told.append((reason, seconds)))
    assert calls == 4
    assert told == [("rate_limited", 0.02), ("overloaded", 0.03), ("no answer", 0.25)]


@pytest.mark.parametrize(
    "reason", [Reason.INVALID_API_KEY, Reason.PAYLOAD_TOO_LARGE, Reason.INSUFFICIENT_SCOPE, Reason.INTERNAL_ERROR]
)
def test_what_waiting_does_not_mend_is_told_at_once(reason: Reason) -> None:
    with pytest.raises(SendError, match=reason.value) as caught:
        send([AppError(reason, "the server's sentence")])
    assert KEY not in str(caught.value)


def test_patience_ends() -> None:
    with pytest.raises(SendError, match="has not answered for 0 s"):
        send([grpc.StatusCode.UNAVAILABLE], patience_s=0.1)
    with pytest.raises(SendError, match="overloaded"):
        send([AppError(Reason.OVERLOADED, "full", retry_after_s=60)], patience_s=5)


def test_another_kind_of_server_is_told_apart() -> None:
    with pytest.raises(SendError, match="is not a Millimetric server"):
        send([grpc.StatusCode.UNIMPLEMENTED])
