"""Unary calls over gRPC: the caller is checked by the metadata, before the message is read."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc

from millimetric_server.api.call import Call
from millimetric_server.api.errors import AppError
from millimetric_server.api.rpc import AnyRpc
from millimetric_server.doors.boundary import (
    charge_refusal,
    make_internal_error,
    refuse,
    run,
    wait_blocking,
)
from millimetric_server.doors.codecs.proto import encode_proto
from millimetric_server.doors.deps import DoorDeps
from millimetric_server.doors.grpc.call import decode_body, make_call
from millimetric_server.doors.grpc.call import refuse as end
from millimetric_server.doors.grpc.ending import CallsInWork
from millimetric_server.doors.grpc.pool import Admitted
from millimetric_server.doors.metrics import count_call
from millimetric_server.guards.caller import admit

log = logging.getLogger(__name__)

COMPRESSED_FROM_BYTES = 8 * 1024


class Doorkeeper:
    """What a CallPool asks before the message of a call, for any method of ours with one request message."""

    def __init__(self, rpc: AnyRpc, deps: DoorDeps, pool: ThreadPoolExecutor) -> None:
        self._rpc = rpc
        self._deps = deps
        self.experimental_thread_pool = pool

    def admit(self, context: grpc.ServicerContext) -> Call:
        """Check key, scope and origin. Raises AppError."""
        call = make_call(self._rpc, context, self._deps)
        try:
            wait_blocking(admit(call, self._deps.guards))
        except AppError as error:
            raise refuse(call, charge_refusal(call, error, self._deps)) from None
        return call

    def note_refusal(self, error: AppError) -> None:
        """Count a call whose message was not read."""
        count_call(self._rpc.name, "grpc", error, time.perf_counter())


class UnaryMethod(Doorkeeper):
    """Answers the calls of one unary method."""

    def __init__(
        self, rpc: AnyRpc, deps: DoorDeps, pool: ThreadPoolExecutor, work: CallsInWork, body_bytes_max: int
    ) -> None:
        super().__init__(rpc, deps, pool)
        self._work = work
        self._body_bytes_max = body_bytes_max

    def __call__(self, request: Admitted, context: grpc.ServicerContext) -> bytes:
        """Carry out a call; whatever goes wrong, its caller learns no text of an exception."""
        call: Call = request.caller
        try:
            call.body_bytes = len(request.message)
            call.received_at = self._deps.read_clock_us()
            # Called at the end in any case.
            if self._rpc.is_read and not context.add_callback(call.cancellation.cancel):
                call.cancellation.cancel()
            decode = partial(decode_body, self._rpc.request, request.message, self._body_bytes_max, self._deps.bodies)
            with self._work.one():
                answer = wait_blocking(run(call, self._rpc, decode, encode_proto, self._deps))
            if isinstance(answer, AppError):
                end(context, answer)
            if len(answer) < COMPRESSED_FROM_BYTES:
                context.disable_next_message_compression()
        except AppError as ending:
            end(context, ending)
        except Exception:
            if context.code() is not None:  # type: ignore[attr-defined]  # refused, which is no fault
                raise
            log.exception("%s over grpc: internal error [%s]", self._rpc.name, call.request_id)
            end(context, make_internal_error(call.request_id))
        return answer
