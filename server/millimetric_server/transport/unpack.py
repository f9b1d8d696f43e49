"""Unpacks compressed bodies within a bound: all members of a gzip file, as RFC 1952 2.2 wants."""

import zlib
from collections.abc import Callable

from millimetric_server.errors import AppError, Reason, Violation, invalid_payload

_GZIP = 16 + zlib.MAX_WBITS
# A member costs us some work even when it is empty, and 20 bytes of the body: 16 MiB would hold 800,000.
MEMBERS_MAX = 1000
_PIECE_BYTES = 64 * 1024  # what lies behind a member is copied, so it must not be the whole rest of the body
_OUTPUT_BYTES = 1024 * 1024


def unpack(
    body: bytes, encoding: str, bytes_max: int, grow: Callable[[int], None] = lambda _size: None
) -> bytes | AppError:
    """Return a body's content, or the error that stands in its place: payload_too_large, invalid_payload.

    `grow` is told of each piece of what comes out, and may raise.
    """
    if encoding == "identity":
        return body
    if encoding != "gzip":
        return invalid_payload((Violation("content-encoding", "must be gzip or identity"),))
    try:
        return _unpack_gzip(body, bytes_max, grow)
    except zlib.error:
        return _bad_body("is not gzip, as content-encoding says")


def _unpack_gzip(body: bytes, bytes_max: int, grow: Callable[[int], None]) -> bytes | AppError:
    parts: list[bytes] = []
    room, members, start = bytes_max, 0, 0
    while start < len(body) or not members:
        members += 1
        if members > MEMBERS_MAX:
            return _bad_body(f"must hold at most {MEMBERS_MAX} gzip members")
        stream = zlib.decompressobj(_GZIP)
        while not stream.eof:
            piece = body[start : start + _PIECE_BYTES]
            if not piece:
                return _bad_body("ends in the middle of its gzip stream")
            while piece and not stream.eof:
                part = stream.decompress(piece, min(room + 1, _OUTPUT_BYTES))
                if len(part) > room:
                    return too_large(bytes_max)
                grow(len(part))
                parts.append(part)
                room -= len(part)
                start += len(piece) - len(stream.unconsumed_tail) - len(stream.unused_data)
                piece = stream.unconsumed_tail
    return b"".join(parts)


def _bad_body(message: str) -> AppError:
    return invalid_payload((Violation("body", message),))


def too_large(bytes_max: int) -> AppError:
    """Make the error for a body over its bound, as sent or unpacked."""
    return AppError(Reason.PAYLOAD_TOO_LARGE, f"the body is larger than {bytes_max} bytes: send fewer events at once")
