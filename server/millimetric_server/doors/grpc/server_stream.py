"""Server streams over gRPC: each piece is read after the client has taken the previous one."""

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
from millimetric_server.api.rpc import AnyRpc, Piece, PieceReader
from millimetric_server.doors.boundary import carry_out, read_piece, wait_blocking
from millimetric_server.doors.codecs.proto import encode_proto
from millimetric_server.doors.deps import DoorDeps
from millimetric_server.doors.grpc.call import decode_body, refuse
from millimetric_server.doors.grpc.ending import CallsInWork
from millimetric_server.doors.grpc.pool import Admitted
from millimetric_server.doors.grpc.unary import COMPRESSED_FROM_BYTES, Doorkeeper
from millimetric_server.doors.http.response import STALLED_S
from millimetric_server.doors.metrics import count_call
from millimetric_server.store.faults import make_abandoned


class ServerStreamMethod(Doorkeeper):
    """Answers the calls of a method. grpcio drops the iterator when the caller disconnects, which closes the reader."""

    def __init__(
        self, rpc: AnyRpc, deps: DoorDeps, pool: ThreadPoolExecutor, work: CallsInWork, body_bytes_max: int
    ) -> None:
        super().__init__(rpc, deps, pool)
        self._work = work
        self._body_bytes_max = body_bytes_max
        self._endless: set[grpc.ServicerContext] = set()  # calls that end with their callers only

    def hang_up(self) -> None:
        """Cancel the calls without an end whose callers take nothing, not even that the server ends."""
        for context in tuple(self._endless):
            context.cancel()

    def __call__(self, request: Admitted, context: grpc.ServicerContext) -> Iterator[bytes]:
        """Carry out a call; all checks are made again, now that it is whole."""
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
                error = None if call.rpc.is_endless else make_abandoned()  # until it gets to the end
                with contextlib.closing(opened) as reader, self._until_end(context):
                    while (piece := wait_blocking(read_piece(call, reader, self._deps))) and not isinstance(
                        piece, AppError
                    ):
                        body = _encode(piece)
                        if reader.format is ExportFormat.PARQUET or len(body) < COMPRESSED_FROM_BYTES:
                            context.disable_next_message_compression()  # compressed as it is, or not worth it
                        with self._bounded_wait(context):
                            yield body
                    error = piece if isinstance(piece, AppError) else None
        finally:
            count_call(call.rpc.name, call.door, error, began)
        if error is not None:
            refuse(context, error)

    @contextlib.contextmanager
    def _until_end(self, context: grpc.ServicerContext) -> Iterator[None]:
        """Let a call without an end know its caller at once that it has begun, and be hung up by `hang_up`."""
        if not self._rpc.is_endless:
            yield
            return
        context.send_initial_metadata(())
        self._endless.add(context)
        try:
            yield
        finally:
            self._endless.discard(context)

    @contextlib.contextmanager
    def _bounded_wait(self, context: grpc.ServicerContext) -> Iterator[None]:
        """End a call if what is yielded within is not taken in time. One without an end may take its time."""
        if self._rpc.is_endless:
            yield
            return
        timer = threading.Timer(STALLED_S, context.cancel)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _keep(reader: PieceReader) -> PieceReader:
    return reader


def _encode(piece: Piece) -> bytes:
    return encode_proto(ExportResponse(piece) if isinstance(piece, bytes) else piece)
