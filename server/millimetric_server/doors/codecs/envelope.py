"""Envelopes: a byte of flags, four of length, a message. Connect streams and gRPC-Web are made of them."""

import struct

from grpc import StatusCode

from millimetric_server.api.errors import AppError, Reason, Violation, unsupported_encoding
from millimetric_server.doors.codecs.compression import BYTES_MIN, ENCODINGS, choose_encoding, compress
from millimetric_server.doors.codecs.unpack import too_large

HEAD_BYTES = 5
_HEAD = struct.Struct(">BI")
_COMPRESSED = 0b1


def open_envelope(body: bytes, encoding: str, bytes_max: int) -> tuple[bytes, str]:
    """Return the one message of a body and its compression, which is `encoding` or none.

    Raises AppError invalid_payload, payload_too_large.
    """
    if not body:
        raise _wrong_count("contains no message")
    if len(body) < HEAD_BYTES:
        raise _bad("is truncated within the header of an envelope")
    flags, length = _HEAD.unpack_from(body)
    if flags & ~_COMPRESSED:
        raise _bad("has unknown flags in its envelope")
    if length > bytes_max:
        raise too_large(bytes_max)
    if len(body) < HEAD_BYTES + length:
        raise _bad("is truncated within its message")
    if len(body) > HEAD_BYTES + length:
        raise _wrong_count("contains more than one message")
    if not flags & _COMPRESSED:
        return body[HEAD_BYTES:], "identity"
    if encoding == "identity":
        raise _bad("has a compressed message, but the headers name no compression", StatusCode.INTERNAL)
    return body[HEAD_BYTES:], encoding if length else "identity"


def check_encoding(field: str, encoding: str) -> str:
    """Return the compression of a caller's messages, `identity` for an empty one. Raises AppError invalid_payload."""
    encoding = encoding or "identity"
    if encoding != "identity" and encoding not in ENCODINGS:
        raise unsupported_encoding(field, ENCODINGS)
    return encoding


class EnvelopeWriter:
    """Writes messages for a caller that accepts these compressions."""

    def __init__(self, accepted: str) -> None:
        self.encoding = choose_encoding(accepted)

    def write(self, message: bytes, flags: int = 0) -> bytes:
        """Put a message into its envelope, compressed if it is worth it."""
        if self.encoding and len(message) >= BYTES_MIN:
            message = compress(message, self.encoding)
            flags |= _COMPRESSED
        return _HEAD.pack(flags, len(message)) + message


def _bad(message: str, code: StatusCode | None = None) -> AppError:
    violation = Violation("body", message)
    return AppError(Reason.INVALID_PAYLOAD, f"body: {message}", violations=(violation,), code=code)


def _wrong_count(message: str) -> AppError:
    """The error that the protocols call a cardinality violation and answer with UNIMPLEMENTED."""
    return _bad(f"{message}, where this method takes one", StatusCode.UNIMPLEMENTED)
