"""Sends batches over gRPC until they are acknowledged, and waits when the server asks it to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_before_delay
from tenacity.wait import wait_base

from millimetric.v1 import event_pb2, ingest_service_pb2, ingest_service_pb2_grpc
from millimetric_server.cli.addresses import open_channel

_CALL_TIMEOUT_S = 60.0
_CONNECT_TIMEOUT_S = 5.0
_FIRST_PAUSE_S = 0.25
_PAUSE_MAX_S = 10.0
_DETAILS = "grpc-status-details-bin"
_CODE = grpc.StatusCode
# The batch may or may not have been stored: that is why every event carries an id of its own.
_UNANSWERED = (_CODE.UNAVAILABLE, _CODE.DEADLINE_EXCEEDED)

BatchResponse = ingest_service_pb2.BatchResponse
WaitTeller = Callable[[str, float], None]


class SendError(Exception):
    """The batch was not acknowledged; the message is a sentence and contains no key."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A failed call: its gRPC code, and our reason and wait if it was our server that answered."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    retry_after_s: float | None = None

    @property
    def is_worth_waiting(self) -> bool:
        """Whether the same call may succeed later."""
        return self.retry_after_s is not None or self.code in _UNANSWERED


class BatchSender:
    """A channel to one server under one key.

    `tell_wait` gets the reason and the seconds of each pause; `send` gives up after `patience_s` seconds without an
    acknowledged batch.
    """

    def __init__(self, address: str, key: str, tell_wait: WaitTeller, patience_s: float) -> None:
        self._address = address
        self._metadata = (("authorization", f"Bearer {key}"),)
        self._tell_wait = tell_wait
        self._patience_s = patience_s
        self._channel = open_channel(address)
        stub: Any = ingest_service_pb2_grpc
        self._send: Callable[..., BatchResponse] = stub.IngestServiceStub(self._channel).Batch

    def connect(self) -> None:
        """Make sure that something listens. Raises SendError."""
        try:
            grpc.channel_ready_future(self._channel).result(_CONNECT_TIMEOUT_S)
        except grpc.FutureTimeoutError:
            raise SendError(
                f"No server answers at {self._address}. Start one with `millimetric serve` or `make run`, "
                "or give its address with --server."
            ) from None

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def send(self, events: Sequence[event_pb2.Event], *, is_stored: bool = False) -> BatchResponse:
        """Send up to 1,000 events, each for itself, and return what became of them. Raises SendError.

        `is_stored` waits until the next read sees them.
        """
        request = ingest_service_pb2.BatchRequest(
            events=events,
            mode=ingest_service_pb2.BATCH_MODE_PER_EVENT,
            ack=ingest_service_pb2.ACK_STORED if is_stored else ingest_service_pb2.ACK_DURABLE,
        )
        retrying = Retrying(
            retry=retry_if_exception(_is_worth_waiting),
            wait=_Wait(),
            stop=stop_before_delay(self._patience_s),
            before_sleep=self._report_wait,
            reraise=True,
        )
        try:
            return retrying(self._send, request, metadata=self._metadata, timeout=_CALL_TIMEOUT_S)
        except grpc.RpcError as error:
            raise SendError(self._explain(read_refusal(error))) from None

    def _report_wait(self, state: RetryCallState) -> None:
        self._tell_wait(_read_failure(state).reason or "no answer", state.upcoming_sleep)

    def _explain(self, refusal: Refusal) -> str:
        if refusal.code in _UNANSWERED and not refusal.reason:
            return f"The server at {self._address} has not answered for {self._patience_s:.0f} s."
        if not refusal.reason:
            return f"The server at {self._address} is not a Millimetric server (gRPC {refusal.code.name})."
        return f"The server refused the events: {refusal.message} ({refusal.reason})."


def read_refusal(error: grpc.RpcError) -> Refusal:
    """Read our reason and the wait out of the google.rpc details of a failed call."""
    call: Any = error
    reason, retry_after_s = "", None
    for name, value in call.trailing_metadata() or ():
        if name != _DETAILS:
            continue
        info, retry = ErrorInfo(), RetryInfo()
        for detail in Status.FromString(value).details:
            if detail.Unpack(info):
                reason = info.reason.lower()
            elif detail.Unpack(retry):
                retry_after_s = max(retry.retry_delay.ToTimedelta().total_seconds(), 0.01)
    return Refusal(call.code(), call.details() or "", reason, retry_after_s)


def _is_worth_waiting(error: BaseException) -> bool:
    return isinstance(error, grpc.RpcError) and read_refusal(error).is_worth_waiting


def _read_failure(state: RetryCallState) -> Refusal:
    """Read why the last attempt failed."""
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, grpc.RpcError)  # noqa: S101 - nothing else is retried
    return read_refusal(error)


class _Wait(wait_base):
    """Waits as long as the server asks to, and longer each time that it says nothing."""

    def __init__(self) -> None:
        self._unanswered = 0

    def __call__(self, retry_state: RetryCallState) -> float:
        retry_after_s = _read_failure(retry_state).retry_after_s
        if retry_after_s is not None:
            return retry_after_s
        self._unanswered += 1
        return min(_FIRST_PAUSE_S * 2.0 ** (self._unanswered - 1), _PAUSE_MAX_S)
