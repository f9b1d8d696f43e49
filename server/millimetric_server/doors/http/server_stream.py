"""Server streams over HTTP: pieces as they are read, for REST, Connect and gRPC-Web alike."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from starlette.types import Receive

from millimetric_server.api.call import Call
from millimetric_server.api.errors import AppError, deadline_passed
from millimetric_server.api.messages import ExportFormat, Message
from millimetric_server.api.rpc import AnyRpc, Piece, PieceReader
from millimetric_server.doors.boundary import (
    carry_out,
    note_failure,
    read_piece,
    wait_async,
)
from millimetric_server.doors.deps import DoorDeps
from millimetric_server.doors.http.body import watch_client
from millimetric_server.doors.http.response import Response
from millimetric_server.doors.metrics import count_call
from millimetric_server.store.faults import make_abandoned

Pieces = AsyncGenerator[Piece | AppError, None]
_CONTENT_TYPES = {
    ExportFormat.NDJSON: b"application/x-ndjson",
    ExportFormat.CSV: b"text/csv; charset=utf-8",
    ExportFormat.PARQUET: b"application/vnd.apache.parquet",
}


@dataclass(frozen=True, slots=True)
class OpenStream:
    """An answer in many that is under way; its format if it is a file."""

    format: ExportFormat | None
    pieces: Pieces


async def open_stream(
    call: Call,
    rpc: AnyRpc,
    decode: Callable[[], Message],
    deps: DoorDeps,
    receive: Receive,
    ends_at: float | None = None,
    *,
    is_large: bool = False,
) -> OpenStream | AppError:
    """Open an answer in many; returns its pieces, or the error for its caller.

    `ends_at` is the caller's deadline by the event loop's clock; `is_large` tells of a request whose body is. The last
    piece is the error, if there is one. Closing the iterator ends the call.
    """
    began = time.perf_counter()
    try:
        async with asyncio.timeout_at(ends_at), watch_client(receive, call):
            opening = carry_out(call, rpc, decode, _keep, deps)
            begun = await deps.bodies.begin(call.owner, opening) if is_large else None
            opened = await wait_async(opening, call, begun)
    except TimeoutError:
        opened = note_failure(call, deadline_passed())
    if isinstance(opened, AppError):
        count_call(call.rpc.name, call.door, opened, began)
        return opened
    pieces = _read_pieces(call, opened, deps, receive, began, ends_at)
    await anext(pieces)  # one that has not begun would release nothing when it is closed
    return OpenStream(opened.format, pieces)


def _keep(reader: PieceReader) -> PieceReader:
    return reader


async def _read_pieces(
    call: Call, reader: PieceReader, deps: DoorDeps, receive: Receive, began: float, ends_at: float | None
) -> Pieces:
    error = None if call.rpc.is_endless else make_abandoned()  # until it gets to the end
    try:
        yield b""
        async with watch_client(receive, call):
            while True:
                try:
                    async with asyncio.timeout_at(ends_at):
                        piece = await wait_async(read_piece(call, reader, deps), call)
                except TimeoutError:
                    piece = note_failure(call, deadline_passed())
                if not piece or isinstance(piece, AppError):
                    break
                yield piece
            error = piece if isinstance(piece, AppError) else None
            if error is not None:
                yield error
    finally:
        reader.close()
        count_call(call.rpc.name, call.door, error, began)


def make_file_response(call: Call, pieces: Pieces, written: ExportFormat) -> Response:
    """The pieces as a file to download; one that breaks off is chunked without an end."""
    name = f"events-{call.project.project_id}.{written.value}"
    disposition = (b"content-disposition", f'attachment; filename="{name}"'.encode())
    return Response(
        call.rpc.http_status,
        content_type=_CONTENT_TYPES[written],
        headers=(disposition,),
        pieces=_take_bodies(pieces),
    )


async def _take_bodies(pieces: Pieces) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in pieces:
            yield piece if isinstance(piece, bytes) else b""  # empty where it breaks off
    finally:
        await pieces.aclose()
