"""Exports over gRPC: a stream of the file's pieces, each read after the client has taken the previous one."""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import grpc

from millimetric_server.api.call import Call
from millimetric_server.api.errors import AppError
from millimetric_server.api.messages import ExportFormat, ExportResponse
from millimetric_server.api.rpc import AnyRpc
from millimetric_server.doors.boundary import carry_out, read_piece, wait_blocking
from millimetric_server.doors.codecs.proto import encode_proto
from millimetric_server.doors.deps import DoorDeps
from millimetric_server.doors.grpc.call import decode_body, refuse
from millimetric_server.doors.grpc.ending import CallsInWork
from millimetric_server.doors.grpc.pool import Admitted
from millimetric_server.doors.grpc.unary import Doorkeeper
from millimetric_server.doors.http.response import STALLED_S
from millimetric_server.doors.metrics import count_call
from millimetric_server.reads.exports import ExportReader
from millimetric_server.store.faults import make_abandoned


class ExportMethod(Doorkeeper):
    """Answers exports. grpcio drops the iterator when the caller disconnects, which closes the reader."""

    def __init__(
        self, rpc: AnyRpc, deps: DoorDeps, pool: ThreadPoolExecutor, work: CallsInWork, body_bytes_max: int
    ) -> None:
        super().__init__(rpc, deps, pool)
        self._work = work
        self._body_bytes_max = body_bytes_max

    def __call__(self, request: Admitted, context: grpc.ServicerContext) -> Iterator[bytes]:
        """Carry out an export; all checks are made again, now that the call is whole."""
        try:
            with self._work.one():
                yield from self._send(request, context)
        except AppError as ending:
            refuse(context, ending)

    def _send(self, request: Admitted, context: grpc.ServicerContext) -> Iterator[bytes]:
        began = time.perf_counter()
        call: Call = request.caller
        decode = partial(decode_body, self._rpc.request, request.message, self._body_bytes_max, self._deps.bodies)
        if not context.add_callback(call.cancellation.cancel):
            call.cancellation.cancel()
        opened = wait_blocking(carry_out(call, self._rpc, decode, _keep, self._deps))
        error = opened if isinstance(opened, AppError) else None
        try:
            if not isinstance(opened, AppError):
                error = make_abandoned()  # until it gets to the end
                with contextlib.closing(opened) as reader:
                    while (piece := wait_blocking(read_piece(call, reader))) and not isinstance(piece, AppError):
                        if reader.format is ExportFormat.PARQUET:  # compressed as it is
                            context.disable_next_message_compression()
                        with _bounded_wait(context):
                            yield encode_proto(ExportResponse(piece))
                    error = piece if isinstance(piece, AppError) else None
        finally:
            count_call(call.rpc.name, call.door, error, began)
        if error is not None:
            refuse(context, error)


def _keep(reader: ExportReader) -> ExportReader:
    return reader


@contextlib.contextmanager
def _bounded_wait(context: grpc.ServicerContext) -> Iterator[None]:
    """End the call if what is yielded within is not taken in time."""
    timer = threading.Timer(STALLED_S, context.cancel)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
