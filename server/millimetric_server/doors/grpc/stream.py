"""Streams over gRPC: events that arrive while a group is committed form the next group; answers are in order."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc

from millimetric_server.api.call import Call
from millimetric_server.api.errors import AppError, make_ending
from millimetric_server.api.messages import Message
from millimetric_server.api.rpc import AnyRpc
from millimetric_server.doors.boundary import (
    carry_out,
    is_backpressure,
    make_internal_error,
    read_group_max,
    wait_blocking,
)
from millimetric_server.doors.codecs.proto import encode_proto
from millimetric_server.doors.deps import DoorDeps
from millimetric_server.doors.grpc.call import decode_body, make_call, refuse
from millimetric_server.doors.grpc.ending import CallsInWork
from millimetric_server.doors.metrics import count_call
from millimetric_server.guards.caller import admit

log = logging.getLogger(__name__)

_REFUSING_THREADS = 4  # beyond the streams in work, to tell others that there is no room
_WAITING_MESSAGES_MAX = 1000
_WAITING_BYTES_MAX = 1024 * 1024
StreamBehaviour = Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]


class _Inbox:
    """Messages of one stream that wait. When it is full nobody reads on, and HTTP/2's flow control holds the sender."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._is_complete = False  # nothing more comes in
        self.is_abandoned = threading.Event()  # nobody wants answers any more, or may have them

    def fill(self, bodies: Iterator[bytes]) -> None:
        """Read the stream to its end, no faster than messages are taken out."""
        try:
            for body in bodies:
                with self._changed:
                    self._changed.wait_for(lambda: self._has_room() or self.is_abandoned.is_set())
                    self._waiting.append(body)
                    self._bytes += len(body)
                    self._changed.notify_all()
        except grpc.RpcError:  # cancelled, or past its deadline
            self.abandon()
        finally:
            with self._changed:
                self._is_complete = True
                self._changed.notify_all()

    def take(self, most: int) -> list[bytes]:
        """Wait for messages and take what is there; none when the stream is at its end or abandoned."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_complete or self.is_abandoned.is_set())
            if self.is_abandoned.is_set():
                return []
            taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            self._bytes -= sum(map(len, taken))
            self._changed.notify_all()
        return taken

    def abandon(self) -> None:
        """Take nothing more, and wake the waiting thread."""
        with self._changed:
            self.is_abandoned.set()
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return len(self._waiting) < _WAITING_MESSAGES_MAX and self._bytes < _WAITING_BYTES_MAX


class Streams:
    """The streams of the gRPC door, on threads of their own: two each, so that they take none from other calls."""

    def __init__(self, deps: DoorDeps, work: CallsInWork, streams_max: int, body_bytes_max: int) -> None:
        self._deps = deps
        self._work = work
        self._body_bytes_max = body_bytes_max
        self._pool = ThreadPoolExecutor(streams_max + _REFUSING_THREADS, thread_name_prefix="grpc-stream")
        self._lock = threading.Lock()
        self._inboxes: set[_Inbox] = set()
        self._is_closing = False

    def make_behaviour(self, rpc: AnyRpc) -> StreamBehaviour:
        """What grpcio calls for each stream of this method."""

        def answer(bodies: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            began = time.perf_counter()
            call = make_call(rpc, context, self._deps)
            inbox = _Inbox()
            error: AppError | None = None
            try:
                with self._work.one():
                    wait_blocking(admit(call, self._deps.guards))
                    error = self._enter(call, inbox)
                    if error is None:
                        error = yield from self._answer_groups(call, rpc, inbox, bodies, context)
            except AppError as refusal:  # of the guards, or of a door that is ending
                error = refusal
            except Exception:
                log.exception("%s over grpc: internal error [%s]", rpc.name, call.request_id)
                error = make_internal_error(call.request_id)
            finally:
                self._leave(call, inbox)
            count_call(call.rpc.name, call.door, error, began)
            if error is not None:
                refuse(context, error)

        # grpcio's way to give a method threads of its own; its health service uses it too.
        answer.experimental_thread_pool = self._pool  # type: ignore[attr-defined]
        return answer

    def close(self) -> None:
        """End all streams, each behind the group that it is at."""
        with self._lock:
            self._is_closing = True
            inboxes = list(self._inboxes)
        for inbox in inboxes:
            inbox.abandon()

    def _enter(self, call: Call, inbox: _Inbox) -> AppError | None:
        project_id = call.project.project_id
        with self._lock:
            if self._is_closing:
                return make_ending()
            if not self._deps.streams.take(project_id):
                return self._deps.streams.refuse(project_id)
            self._inboxes.add(inbox)
        return None

    def _leave(self, call: Call, inbox: _Inbox) -> None:
        inbox.abandon()
        with self._lock:
            if inbox in self._inboxes:
                self._inboxes.discard(inbox)
                self._deps.streams.give_back(call.project.project_id)

    def _answer_groups(
        self, call: Call, rpc: AnyRpc, inbox: _Inbox, bodies: Iterator[bytes], context: grpc.ServicerContext
    ) -> Generator[bytes, None, AppError | None]:
        """Answer group after group; returns why the stream ends before its sender ended it."""
        threading.Thread(target=inbox.fill, args=(bodies,), name="grpc-stream-reader", daemon=True).start()
        while taken := inbox.take(read_group_max(call, self._deps)):
            group, broken = self._decode(rpc.request, taken)
            if group:
                answers = self._carry_out(call, rpc, group, inbox)
                if isinstance(answers, AppError):
                    return answers
                for body in answers:
                    context.disable_next_message_compression()  # each is some bytes
                    yield body
            if broken is not None:
                return broken
        return make_ending() if self._is_closing else None

    def _decode(self, request: type[Message], bodies: list[bytes]) -> tuple[Sequence[Message], AppError | None]:
        """Decode the messages up to the first that can't be; with it the stream ends."""
        group: list[Message] = []
        for body in bodies:
            try:
                group.append(decode_body(request, body, self._body_bytes_max, self._deps.bodies))
            except AppError as error:
                return group, error
        return group, None

    def _carry_out(
        self, call: Call, rpc: AnyRpc, group: Sequence[Message], inbox: _Inbox
    ) -> Sequence[bytes] | AppError:
        """Carry out a group once there are tokens for it; meanwhile the sender is held up."""
        while True:
            call.received_at = self._deps.read_clock_us()
            answers = wait_blocking(carry_out(call, rpc, lambda: group, _encode, self._deps))
            if not isinstance(answers, AppError) or not is_backpressure(call, answers):
                return answers
            if inbox.is_abandoned.wait(answers.retry_after_s):
                return make_ending() if self._is_closing else ()


def _encode(responses: Sequence[Message]) -> Sequence[bytes]:
    return [encode_proto(response) for response in responses]
