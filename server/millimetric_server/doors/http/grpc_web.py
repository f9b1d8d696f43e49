"""gRPC-Web: gRPC's messages and trailers in the body of an HTTP answer, binary or as base64 text."""

import base64
import binascii
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from millimetric_server.api.errors import AppError, Violation, invalid_payload
from millimetric_server.doors.codecs.envelope import HEAD_BYTES, EnvelopeWriter, check_encoding, open_envelope
from millimetric_server.doors.error_details import make_status
from millimetric_server.doors.http.connect_wire import Encode, closing
from millimetric_server.doors.http.response import Request, Response, make_error_headers
from millimetric_server.doors.http.server_stream import Pieces

BINARY_TYPE, TEXT_TYPE = "application/grpc-web", "application/grpc-web-text"
_TRAILERS = 0x80  # the flag of the last envelope
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])", re.ASCII)
_SECONDS = {"H": 3600, "M": 60, "S": 1, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


@dataclass(frozen=True, slots=True)
class GrpcWeb:
    """A call by gRPC-Web."""

    codec: str
    request: Request
    is_text: bool = False

    def read_timeout_s(self) -> float | None:
        """See Wire."""
        text = self.request.headers.get("grpc-timeout")
        if text is None:
            return None
        if (match := _TIMEOUT.fullmatch(text)) is None:
            raise invalid_payload((Violation("grpc-timeout", "must be up to 8 digits and one of H, M, S, m, u, n"),))
        return int(match[1]) * _SECONDS[match[2]]

    def count_body_max(self, bytes_max: int) -> int:
        """See Wire."""
        size = bytes_max + HEAD_BYTES
        return -(-size // 3) * 4 if self.is_text else size

    def open_body(self, body: bytes, bytes_max: int) -> tuple[bytes, str]:
        """See Wire."""
        encoding = check_encoding("grpc-encoding", self.request.headers.get("grpc-encoding", ""))
        if self.is_text:
            try:
                body = base64.b64decode(body, validate=True)
            except binascii.Error:
                raise invalid_payload((Violation("body", f"must be base64, because it is {TEXT_TYPE}"),)) from None
        return open_envelope(body, encoding, bytes_max)

    def answer(self, message: bytes) -> Response:
        """See Wire."""
        writer, headers = self._start()
        body = writer.write(message) + _write_trailers(writer)
        return Response(200, self._write_text(body), self._content_type, headers)

    def answer_stream(self, pieces: Pieces, encode: Encode) -> Response:
        """See Wire."""
        writer, headers = self._start()

        async def write() -> AsyncIterator[bytes]:
            error = None
            async for piece in pieces:
                if isinstance(piece, AppError):
                    error = piece
                else:
                    yield self._write_text(writer.write(encode(piece)))
            yield self._write_text(_write_trailers(writer, error))

        return Response(200, content_type=self._content_type, headers=headers, pieces=closing(write(), pieces))

    def refuse(self, error: AppError) -> Response:
        """Send an error in the headers alone (Trailers-Only)."""
        trailers = [(name.encode(), value.encode("latin-1")) for name, value in _make_trailers(error)]
        status = error.own_http_status or 200
        return Response(status, b"", self._content_type, [*trailers, *make_error_headers(error)])

    def _start(self) -> tuple[EnvelopeWriter, list[tuple[bytes, bytes]]]:
        writer = EnvelopeWriter(self.request.headers.get("grpc-accept-encoding", ""))
        return writer, [(b"grpc-encoding", writer.encoding.encode())] if writer.encoding else []

    def _write_text(self, data: bytes) -> bytes:
        return base64.b64encode(data) if self.is_text else data

    @property
    def _content_type(self) -> bytes:
        return f"{TEXT_TYPE if self.is_text else BINARY_TYPE}+{self.codec}".encode()


def _write_trailers(writer: EnvelopeWriter, error: AppError | None = None) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in _make_trailers(error))
    return writer.write(lines.encode("latin-1"), _TRAILERS)


def _make_trailers(error: AppError | None) -> Sequence[tuple[str, str]]:
    if error is None:
        return (("grpc-status", "0"),)
    details = base64.b64encode(make_status(error).SerializeToString()).decode().rstrip("=")
    return (
        ("grpc-status", str(error.code.value[0])),
        ("grpc-message", quote(error.message, safe=_PRINTABLE)),
        ("grpc-status-details-bin", details),
    )
