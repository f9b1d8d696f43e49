"""Exports over REST: the body is the file, sent in pieces as they are read."""

import time
from collections.abc import AsyncIterator

from millimetric_server.call import Call, Deps
from millimetric_server.errors import AppError
from millimetric_server.messages import ExportFormat
from millimetric_server.store.exports import ExportReader
from millimetric_server.store.faults import make_abandoned
from millimetric_server.transport.body import Receive, watch_client
from millimetric_server.transport.boundary import Reply, carry_out, count_call, read_piece, wait_async
from millimetric_server.transport.response import Response

_CONTENT_TYPES = {
    ExportFormat.NDJSON: b"application/x-ndjson",
    ExportFormat.CSV: b"text/csv; charset=utf-8",
    ExportFormat.PARQUET: b"application/vnd.apache.parquet",
}


async def answer_export(call: Call, deps: Deps, receive: Receive) -> Response | AppError:
    """Open an export and make the response that sends it, or the error that the caller is told."""
    began = time.perf_counter()
    async with watch_client(receive, call):
        opened: Reply[ExportReader | None] = await wait_async(carry_out(call, deps, lambda reader: reader, None), call)
    if opened.body is None:
        count_call(call, opened.error, began)
        return opened.error  # type: ignore[return-value]  # there is one, or there were a reader
    written = call.request.format
    name = f"events-{call.project.project_id}.{written.value}"
    disposition = (b"content-disposition", f'attachment; filename="{name}"'.encode())
    return Response(
        call.rpc.http_status,
        content_type=_CONTENT_TYPES[written],
        headers=(disposition,),
        pieces=_read_pieces(call, opened.body, receive, began),
    )


async def _read_pieces(call: Call, reader: ExportReader, receive: Receive, began: float) -> AsyncIterator[bytes]:
    """Yield the file; an empty piece says that it breaks off. Closing the iterator ends the export."""
    error: AppError | None = make_abandoned()  # until it gets to the end
    try:
        async with watch_client(receive, call):
            while (piece := await wait_async(read_piece(call, reader), call)).body:
                yield piece.body
            error = piece.error
            if error is not None:
                yield b""
    finally:
        reader.close()
        count_call(call, error, began)
