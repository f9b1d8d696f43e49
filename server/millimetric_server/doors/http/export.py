"""Exports over HTTP: the file in pieces, as they are read, for REST, Connect and gRPC-Web alike."""

import asyncio
import time
from collections.abc import AsyncIterator

from starlette.types import Receive

from millimetric_server.api.call import Call, Deps
from millimetric_server.api.errors import AppError, deadline_passed
from millimetric_server.api.messages import ExportFormat
from millimetric_server.api.pending import PendingCoroutine
from millimetric_server.doors.boundary import (
    Reply,
    carry_out,
    count_call,
    note_failure,
    read_piece,
    wait_async,
)
from millimetric_server.doors.http.body import watch_client
from millimetric_server.doors.http.response import Response
from millimetric_server.reads.exports import ExportReader
from millimetric_server.store.faults import make_abandoned

Pieces = AsyncIterator[Reply[bytes]]
_CONTENT_TYPES = {
    ExportFormat.NDJSON: b"application/x-ndjson",
    ExportFormat.CSV: b"text/csv; charset=utf-8",
    ExportFormat.PARQUET: b"application/vnd.apache.parquet",
}


async def open_export(
    call: Call, deps: Deps, receive: Receive, ends_at: float | None = None, *, is_large: bool = False
) -> Pieces | AppError:
    """Open an export; returns its pieces, or the error that the caller is told.

    `ends_at` is the caller's deadline by the event loop's clock; `is_large` tells of a request whose body is. The last
    piece is the one that has an error, if any. Closing the iterator ends the export.
    """
    began = time.perf_counter()
    try:
        async with asyncio.timeout_at(ends_at), watch_client(receive, call):
            opening: PendingCoroutine[Reply[ExportReader | None]] = carry_out(call, deps, lambda reader: reader, None)
            begun = await deps.bodies.begin(call.owner, opening) if is_large else None
            opened = await wait_async(opening, call, begun)
    except TimeoutError:
        opened = Reply(None, note_failure(call, deadline_passed()))
    if opened.body is None:
        count_call(call, opened.error, began)
        return opened.error  # type: ignore[return-value]  # there is one, or there were a reader
    return _read_pieces(call, opened.body, receive, began, ends_at)


async def _read_pieces(
    call: Call, reader: ExportReader, receive: Receive, began: float, ends_at: float | None
) -> Pieces:
    error: AppError | None = make_abandoned()  # until it gets to the end
    try:
        async with watch_client(receive, call):
            while True:
                try:
                    async with asyncio.timeout_at(ends_at):
                        piece = await wait_async(read_piece(call, reader), call)
                except TimeoutError:
                    piece = Reply(b"", note_failure(call, deadline_passed()))
                if not piece.body:
                    break
                yield piece
            error = piece.error
            if error is not None:
                yield piece
    finally:
        reader.close()
        count_call(call, error, began)


def make_file_response(call: Call, pieces: Pieces) -> Response:
    """The export as a file to download; one that breaks off is chunked without an end."""
    written = call.request.format
    name = f"events-{call.project.project_id}.{written.value}"
    disposition = (b"content-disposition", f'attachment; filename="{name}"'.encode())
    return Response(
        call.rpc.http_status,
        content_type=_CONTENT_TYPES[written],
        headers=(disposition,),
        pieces=_take_bodies(pieces),
    )


async def _take_bodies(pieces: Pieces) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            yield piece.body  # empty where it breaks off
    finally:
        await pieces.aclose()  # type: ignore[attr-defined]  # a generator
