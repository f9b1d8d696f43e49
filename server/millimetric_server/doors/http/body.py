"""Reads an HTTP request's body within bounds, and notices when its client disconnects."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from starlette.types import Receive

from millimetric_server.api.call import Call
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.api.messages import Message
from millimetric_server.doors.codecs.unpack import too_large, unpack
from millimetric_server.shares.body_room import SMALL_BYTES, Hold

_SKIP_FACTOR = 8
# The limit for a body that contains its key, before the key is checked. Browsers send no larger beacon.
BEACON_BYTES_MAX = 64 * 1024


class ClientGoneError(Exception):
    """The client disconnected before its request was complete."""


@dataclass(frozen=True, slots=True)
class Body:
    """A body as it was sent."""

    packed: bytes
    encoding: str
    bytes_max: int
    hold: Hold

    def is_large(self) -> bool:
        """Tell whether to unpack and decode it is too much work for the event loop."""
        if len(self.packed) > SMALL_BYTES or self.encoding == "identity":
            return len(self.packed) > SMALL_BYTES
        plain = unpack(self.packed, self.encoding, SMALL_BYTES)
        return isinstance(plain, AppError) and plain.reason is Reason.PAYLOAD_TOO_LARGE

    def decode(self, call: Call, decode: Callable[[bytes], Message]) -> Message:
        """Unpack and decode the message; a refused call pays for its size.

        Raises AppError payload_too_large, invalid_payload, overloaded, and what `decode` raises.
        """
        plain: bytes | AppError = self.packed
        if self.encoding != "identity":
            plain = unpack(self.packed, self.encoding, self.bytes_max, self.hold.grow)
        if isinstance(plain, AppError):
            raise plain
        call.body_bytes = len(plain)
        return decode(plain)


async def read_plain(headers: Mapping[str, str], receive: Receive, bytes_max: int, hold: Hold | None = None) -> bytes:
    """Return the whole body as it was sent. Raises AppError payload_too_large, overloaded.

    Too much is refused as soon as it is announced.
    """
    coming = _read_parts(receive)
    try:
        announced = headers.get("content-length", "")
        size, parts = int(announced) if announced.isdecimal() else 0, []
        if size <= bytes_max:
            size = 0
            async for part in coming:
                size += len(part)
                if size > bytes_max:
                    break
                if hold is not None:
                    hold.grow(len(part))
                parts.append(part)
        if size > bytes_max:
            raise too_large(bytes_max)
    except AppError:
        del parts
        if hold is not None:
            hold.close()
        await _skip(headers, coming, bytes_max)
        raise
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
    """Cancel a read when its client disconnects before the answer. The request's body was read before."""
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
