"""HTTP requests and responses as the doors see them, free of ASGI's details."""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from millimetric_server.api.errors import AppError
from millimetric_server.doors.boundary import REQUEST_ID_HEADER, make_request_id

log = logging.getLogger(__name__)

JSON_TYPE = b"application/json"
_UNAUTHENTICATED = 401
STALLED_S = 60.0  # a caller who does not take a piece of a long body for so long is gone


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; header names are in lower case, repeated headers are joined by commas."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    peer: str
    receive: Receive
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response."""

    status: int
    body: bytes = b""
    content_type: bytes = JSON_TYPE
    headers: Sequence[tuple[bytes, bytes]] = ()
    pieces: AsyncGenerator[bytes, None] | None = None  # of a long body; an empty one says that it breaks off


def read_content_type(headers: Mapping[str, str]) -> str:
    """The media type of a body in lower case, without parameters; empty if the header is missing."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def make_error_headers(error: AppError) -> list[tuple[bytes, bytes]]:
    """The headers that go with a planned error: when to try again, in whole seconds, and how to authenticate."""
    headers = []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(math.ceil(error.retry_after_s)).encode()))
    if error.failure.http_status == _UNAUTHENTICATED:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


def make_allow(verbs: Sequence[str]) -> tuple[bytes, bytes]:
    """The header that names the verbs of a route."""
    return b"allow", ", ".join(verbs).encode()


def make_accept_post(media_types: Sequence[str]) -> tuple[bytes, bytes]:
    """The header that names the kinds of body that a route reads."""
    return b"accept-post", ", ".join(media_types).encode()


def read_request(scope: Scope, receive: Receive) -> Request:
    """Make a Request of an ASGI scope."""
    headers: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name in headers:
            repeated.setdefault(name, [headers[name]]).append(value)
        else:
            headers[name] = value
    for name, values in repeated.items():
        headers[name] = ",".join(values)
    client = scope.get("client")
    return Request(
        scope["method"],
        scope["path"],
        scope["query_string"].decode("latin-1"),
        headers,
        client[0] if client else "",
        receive,
        make_request_id(headers.get(REQUEST_ID_HEADER, "")),
    )


async def send_response(response: Response, send: Send, *, is_head: bool = False) -> None:
    """Send a Response as ASGI messages; of an answer to HEAD the headers alone."""
    if response.pieces is not None:
        await _send_pieces(response, response.pieces, send, is_head=is_head)
        return
    headers = [
        (b"content-type", response.content_type),
        (b"content-length", str(len(response.body)).encode()),
        *response.headers,
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if is_head else response.body})


async def _send_pieces(response: Response, pieces: AsyncGenerator[bytes, None], send: Send, *, is_head: bool) -> None:
    """Send a long body, chunked. An aborted one has no last chunk, so its client sees that the file is incomplete."""
    headers = [(b"content-type", response.content_type), *response.headers]
    async with contextlib.aclosing(pieces):
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        if is_head:
            await anext(pieces, b"")  # one that has not begun has nothing to close
            await send({"type": "http.response.body", "body": b""})
            return
        async for piece in pieces:
            if not piece:
                return
            message = {"type": "http.response.body", "body": piece, "more_body": True}
            try:
                await asyncio.wait_for(send(message), STALLED_S)
            except TimeoutError:
                log.warning("a long response is aborted: its caller read nothing for %g s", STALLED_S)
                return
    await send({"type": "http.response.body", "body": b""})
