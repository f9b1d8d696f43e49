"""Compresses HTTP responses as the caller accepts. Connect's streams and gRPC-Web compress each message instead."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

from millimetric_server.doors.codecs.compression import BYTES_MIN, choose_encoding, compress, start_stream
from millimetric_server.doors.http.response import Response

# Each compressor holds up to megabytes, and events that are sent as they come leave it little to work on.
_LIVE_TYPE = b"text/event-stream"
# Parquet is compressed already, and what has envelopes is compressed within them.
_TYPES = (b"application/json", b"application/proto", b"application/x-ndjson", b"text/")
_ON_LOOP_MAX = 64 * 1024  # a larger body is compressed in a thread: 64 KiB take about a millisecond
_VARY = (b"vary", b"Accept-Encoding")


async def encode_response(response: Response, accepted: str) -> Response:
    """Compress a response if that pays and its caller accepts it."""
    is_short = response.pieces is None and len(response.body) < BYTES_MIN
    if is_short or response.content_type == _LIVE_TYPE or not response.content_type.startswith(_TYPES):
        return response
    encoding = choose_encoding(accepted)
    if not encoding:
        return replace(response, headers=[*response.headers, _VARY])
    headers = [*response.headers, _VARY, (b"content-encoding", encoding.encode())]
    if response.pieces is not None:
        return replace(response, headers=headers, pieces=_encode_pieces(response.pieces, encoding))
    if len(response.body) <= _ON_LOOP_MAX:
        body = compress(response.body, encoding)
    else:
        body = await asyncio.to_thread(compress, response.body, encoding)
    return replace(response, headers=headers, body=body)


async def _encode_pieces(pieces: AsyncGenerator[bytes, None], encoding: str) -> AsyncGenerator[bytes, None]:
    """Compress piece by piece, flushing each. An empty piece stays empty: it means that the body is aborted."""
    pack, finish = start_stream(encoding)
    try:
        async for piece in pieces:
            if not piece:
                yield b""
                return
            yield await asyncio.to_thread(pack, piece) if len(piece) > _ON_LOOP_MAX else pack(piece)
        yield finish()
    finally:
        await pieces.aclose()
