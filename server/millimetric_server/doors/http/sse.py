"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from collections.abc import AsyncGenerator

import msgspec
from msgspec import UNSET

from millimetric_server.api.errors import AppError
from millimetric_server.api.messages import TailResponse
from millimetric_server.doors.codecs.json import encode_rest
from millimetric_server.doors.http.response import Response
from millimetric_server.doors.http.server_stream import Pieces

RETRY_MS = 3000
_BEGIN = b"retry: %d\n\n" % RETRY_MS
_SIGN_OF_LIFE = b":\n\n"
# No cache may keep it, and nginx not hold it back.
_HEADERS = ((b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"))
_UNFIT = "\r\n\0"  # what an id can't hold


def make_event_stream(pieces: Pieces) -> Response:
    """The messages of a Tail as server-sent events; the stream ends without a word when the server does."""
    return Response(200, content_type=b"text/event-stream", headers=_HEADERS, pieces=_write_all(pieces))


async def _write_all(pieces: Pieces) -> AsyncGenerator[bytes, None]:
    try:
        yield _BEGIN
        async for piece in pieces:
            if isinstance(piece, TailResponse):
                yield write_event(piece)
            elif isinstance(piece, AppError):
                return
    finally:
        await pieces.aclose()


def write_event(message: TailResponse) -> bytes:
    """Write a message: what was missed as an event `missed`, the row as an event without a name, or a sign of life."""
    missed = b"event: missed\ndata: %b\n\n" % msgspec.json.encode({"missed": message.missed}) if message.missed else b""
    if message.row is UNSET:
        return missed or _SIGN_OF_LIFE
    event_id = message.row.event_id
    name = "" if any(mark in event_id for mark in _UNFIT) else f"id: {event_id}\n"
    return b"%b%bdata: %b\n\n" % (missed, name.encode(), encode_rest(message.row))
