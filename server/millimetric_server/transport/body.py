"""Reads an HTTP request's body within bounds, and notices when its client is gone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from millimetric_server.call import Call
from millimetric_server.errors import AppError
from millimetric_server.transport.unpack import too_large, unpack

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
_SKIP_FACTOR = 8
# What is read of a body whose key stands in it, and nobody knows yet whose it is. Browsers send no larger beacon.
BEACON_BYTES_MAX = 64 * 1024


class ClientGoneError(Exception):
    """The client hung up before its request was complete."""


async def read_body(headers: Mapping[str, str], receive: Receive, bytes_max: int) -> bytes | AppError:
    """Return the whole body, unpacked, or the error that stands in its place: payload_too_large, invalid_payload."""
    body = await read_plain(headers, receive, bytes_max)
    if isinstance(body, AppError):
        return body
    return unpack(body, headers.get("content-encoding", "identity"), bytes_max)


async def read_plain(headers: Mapping[str, str], receive: Receive, bytes_max: int) -> bytes | AppError:
    """Return the whole body as it was sent, or payload_too_large, which is known as soon as too much is announced."""
    parts = []
    size = _read_length(headers)
    coming = _read_parts(receive)
    if size <= bytes_max:
        size = 0
        async for part in coming:
            size += len(part)
            if size > bytes_max:
                break
            parts.append(part)
    if size > bytes_max:
        parts.clear()
        await _skip(headers, coming, bytes_max)
        return too_large(bytes_max)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def skip_body(headers: Mapping[str, str], receive: Receive, bytes_max: int) -> None:
    """Read the body of a refused call, and keep nothing of it, if the connection ends with the answer.

    A client that is still sending when its connection is closed may not get to read the refusal. Where the connection
    goes on, the HTTP server reads the body behind the answer.
    """
    await _skip(headers, _read_parts(receive), bytes_max)


async def _skip(headers: Mapping[str, str], coming: AsyncIterator[bytes], bytes_max: int) -> None:
    if "close" not in headers.get("connection", "").lower() or "expect" in headers:
        return
    size = 0
    async for part in coming:
        size += len(part)
        if size > bytes_max * _SKIP_FACTOR:
            return


def _read_length(headers: Mapping[str, str]) -> int:
    text = headers.get("content-length", "")
    return int(text) if text.isdecimal() else 0


async def _read_parts(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        more = message.get("more_body", False)
        yield message.get("body", b"")


@contextlib.asynccontextmanager
async def watch_client(receive: Receive | None, call: Call) -> AsyncIterator[None]:
    """Cancel a read when its client hangs up before it is answered. The request's body was taken before."""
    if receive is None or not call.rpc.is_read:
        yield
        return
    watching = asyncio.create_task(_wait_until_gone(receive, call))
    try:
        yield
    finally:
        watching.cancel()


async def _wait_until_gone(receive: Receive, call: Call) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    call.cancellation.cancel()
