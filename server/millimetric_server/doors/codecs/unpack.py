"""Unpacks compressed bodies within a bound: all members of a gzip file and all frames of a zstd one.

RFC 1952 2.2, RFC 8878 3.
"""

import sys
import zlib
from collections.abc import Callable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from millimetric_server.api.errors import AppError, Reason, Violation, invalid_payload, unsupported_encoding

ENCODINGS = ("gzip", "zstd")
_GZIP = 16 + zlib.MAX_WBITS
# A member costs us some work even when it is empty, and 20 bytes of the body: 16 MiB would hold 800,000.
MEMBERS_MAX = 1000
# RFC 9659: what HTTP may ask of a decoder, 8 MiB. zstd's own bound is 128 MiB for each call.
_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}
_PIECE_BYTES = 64 * 1024  # what lies behind a member is copied, so it must not be the whole rest of the body
_OUTPUT_BYTES = 1024 * 1024


def unpack(
    body: bytes, encoding: str, bytes_max: int, grow: Callable[[int], None] = lambda _size: None
) -> bytes | AppError:
    """Return a packed body's content, or an error instead: payload_too_large, invalid_payload.

    `grow` is called with each piece of the output, and may raise.
    """
    if encoding not in ENCODINGS:
        return unsupported_encoding("content-encoding", ENCODINGS)
    try:
        return (_unpack_gzip if encoding == "gzip" else _unpack_zstd)(body, bytes_max, grow)
    except (zlib.error, zstd.ZstdError):
        return _bad_body(f"is not {encoding}, although its headers say so")


def _unpack_gzip(body: bytes, bytes_max: int, grow: Callable[[int], None]) -> bytes | AppError:
    parts: list[bytes] = []
    room, members, start = bytes_max, 0, 0
    while start < len(body) or not members:
        members += 1
        if members > MEMBERS_MAX:
            return _bad_body(f"must contain at most {MEMBERS_MAX} gzip members")
        stream = zlib.decompressobj(_GZIP)
        while not stream.eof:
            piece = body[start : start + _PIECE_BYTES]
            if not piece:
                return _bad_body("is a truncated gzip stream")
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


def _unpack_zstd(body: bytes, bytes_max: int, grow: Callable[[int], None]) -> bytes | AppError:
    parts: list[bytes] = []
    room, frames, start = bytes_max, 0, 0
    while start < len(body) or not frames:
        frames += 1
        if frames > MEMBERS_MAX:
            return _bad_body(f"must contain at most {MEMBERS_MAX} zstd frames")
        stream = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)
        while not stream.eof:
            piece = body[start : start + _PIECE_BYTES] if stream.needs_input else b""
            if stream.needs_input and not piece:
                return _bad_body("is a truncated zstd stream")
            start += len(piece)
            part = stream.decompress(piece, min(room + 1, _OUTPUT_BYTES))
            if len(part) > room:
                return too_large(bytes_max)
            grow(len(part))
            parts.append(part)
            room -= len(part)
        start -= len(stream.unused_data)
    return b"".join(parts)


def _bad_body(message: str) -> AppError:
    return invalid_payload((Violation("body", message),))


def too_large(bytes_max: int) -> AppError:
    """Make the error for a body over its bound, as sent or unpacked."""
    return AppError(Reason.PAYLOAD_TOO_LARGE, f"the body is larger than {bytes_max} bytes: send fewer events at once")
