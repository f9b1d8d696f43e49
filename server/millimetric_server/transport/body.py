"""Reads an HTTP request's body within bounds, also after decompression, and notices when its client is gone."""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from millimetric_server.call import Call
from millimetric_server.errors import AppError, Reason, Violation, invalid_payload

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
# A client that is still sending would not read a refusal, so this much too much is read and thrown away.
_DRAIN_FACTOR = 8
_GZIP = 16 + zlib.MAX_WBITS


class ClientGoneError(Exception):
    """The client hung up before its request was complete."""


async def read_body(headers: Mapping[str, str], receive: Receive, bytes_max: int) -> bytes | AppError:
    """Return the whole body, or the error that stands in its place: payload_too_large, invalid_payload.

    The error is returned and not raised because whoever calls is authenticated before it is told.
    """
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size <= bytes_max:
            parts.append(part)
        elif size > bytes_max * _DRAIN_FACTOR:
            break
    if size > bytes_max:
        return _too_large(bytes_max)
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    encoding = headers.get("content-encoding", "identity")
    return body if encoding == "identity" else _decompress(body, encoding, bytes_max)


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


def _decompress(body: bytes, encoding: str, bytes_max: int) -> bytes | AppError:
    if encoding != "gzip":
        return invalid_payload((Violation("content-encoding", "must be gzip or identity"),))
    stream = zlib.decompressobj(_GZIP)
    try:
        plain = stream.decompress(body, bytes_max + 1)
    except zlib.error:
        return invalid_payload((Violation("body", "is not gzip, as content-encoding says"),))
    if len(plain) > bytes_max:
        return _too_large(bytes_max)
    return plain if stream.eof else invalid_payload((Violation("body", "ends in the middle of its gzip stream"),))


def _too_large(bytes_max: int) -> AppError:
    return AppError(Reason.PAYLOAD_TOO_LARGE, f"the body is larger than {bytes_max} bytes: send fewer events at once")
