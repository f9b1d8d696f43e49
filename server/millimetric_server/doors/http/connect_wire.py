"""The Connect protocol: unary calls as plain HTTP, by POST and GET, and streams in envelopes.

https://connectrpc.com/docs/protocol, held to by the protocol's own conformance suite (tests/conformance).
"""

import base64
import binascii
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl

import msgspec

from millimetric_server.api.errors import AppError, Violation, invalid_params, invalid_payload
from millimetric_server.api.rpc import Piece
from millimetric_server.doors.codecs.envelope import HEAD_BYTES, EnvelopeWriter, check_encoding, open_envelope
from millimetric_server.doors.codecs.unpack import too_large
from millimetric_server.doors.error_details import make_details
from millimetric_server.doors.http.response import Request, Response, make_error_headers
from millimetric_server.doors.http.server_stream import Pieces

_END = 0b10  # the flag of a stream's last envelope
_TIMEOUT_DIGITS_MAX = 10
_HTTP_STATUS = {
    "canceled": 499,
    "unknown": 500,
    "invalid_argument": 400,
    "deadline_exceeded": 504,
    "not_found": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "failed_precondition": 400,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "data_loss": 500,
    "unauthenticated": 401,
}
Encode = Callable[[Piece], bytes]


class Wire(Protocol):
    """How one request of an RPC protocol is read and answered."""

    @property
    def codec(self) -> str:
        """How messages are written: json or proto."""
        ...

    def read_timeout_s(self) -> float | None:
        """How long the caller waits. Raises AppError invalid_payload for headers that break the protocol."""
        ...

    def count_body_max(self, bytes_max: int) -> int:
        """How large a body may be whose message has `bytes_max`."""
        ...

    def open_body(self, body: bytes, bytes_max: int) -> tuple[bytes, str]:
        """Take the message out of a body, with its compression. Raises AppError invalid_payload, payload_too_large."""
        ...

    def answer(self, message: bytes) -> Response:
        """Write a result."""
        ...

    def answer_stream(self, pieces: Pieces, encode: Encode) -> Response:
        """Write results as they come."""
        ...

    def refuse(self, error: AppError) -> Response:
        """Write an error."""
        ...


@dataclass(frozen=True, slots=True)
class ConnectPost:
    """A unary call by POST: the body is the message."""

    codec: str
    request: Request

    def read_timeout_s(self) -> float | None:
        """See Wire."""
        return read_connect_timeout(self.request.headers)

    def count_body_max(self, bytes_max: int) -> int:
        """See Wire."""
        return bytes_max

    def open_body(self, body: bytes, bytes_max: int) -> tuple[bytes, str]:  # noqa: ARG002 - it was read within it
        """See Wire."""
        return body, check_encoding("content-encoding", self.request.headers.get("content-encoding", ""))

    def answer(self, message: bytes) -> Response:
        """See Wire."""
        return Response(200, message, f"application/{self.codec}".encode())

    def answer_stream(self, pieces: Pieces, encode: Encode) -> Response:
        """Never called: streams have envelopes."""
        raise NotImplementedError

    def refuse(self, error: AppError) -> Response:
        """See Wire."""
        told = describe_error(error)
        status = error.own_http_status or _HTTP_STATUS[told["code"]]
        return Response(status, msgspec.json.encode(told), headers=make_error_headers(error))


@dataclass(frozen=True, slots=True)
class ConnectGet(ConnectPost):
    """A unary call by GET: the message is a parameter."""

    def open_body(self, body: bytes, bytes_max: int) -> tuple[bytes, str]:  # noqa: ARG002 - a GET has none
        """See Wire."""
        parameters = read_parameters(self.request)
        if "message" not in parameters:
            raise invalid_params("message", "is required")
        message = parameters["message"].encode("latin-1")
        if parameters.get("base64") == "1":
            try:
                message = base64.urlsafe_b64decode(message + b"=" * (-len(message) % 4))
            except binascii.Error:
                raise invalid_params("message", "must be base64url, because of `base64=1`") from None
        if len(message) > bytes_max:
            raise too_large(bytes_max)
        return message, check_encoding("compression", parameters.get("compression", ""))


@dataclass(frozen=True, slots=True)
class ConnectStream:
    """A call whose messages are in envelopes, the last of which tells how it ended."""

    codec: str
    request: Request

    def read_timeout_s(self) -> float | None:
        """See Wire."""
        return read_connect_timeout(self.request.headers)

    def count_body_max(self, bytes_max: int) -> int:
        """See Wire."""
        return bytes_max + HEAD_BYTES

    def open_body(self, body: bytes, bytes_max: int) -> tuple[bytes, str]:
        """See Wire."""
        field = "connect-content-encoding"
        encoding = check_encoding(field, self.request.headers.get(field, ""))
        return open_envelope(body, encoding, bytes_max)

    def answer(self, message: bytes) -> Response:
        """Never called: unary calls have no envelopes."""
        raise NotImplementedError

    def answer_stream(self, pieces: Pieces, encode: Encode) -> Response:
        """See Wire."""
        writer = EnvelopeWriter(self.request.headers.get("connect-accept-encoding", ""))
        headers = [(b"connect-content-encoding", writer.encoding.encode())] if writer.encoding else []

        async def write() -> AsyncIterator[bytes]:
            error = None
            async for piece in pieces:
                if isinstance(piece, AppError):
                    error = piece
                else:
                    yield writer.write(encode(piece))
            yield writer.write(msgspec.json.encode(_make_end(error)), _END)

        return Response(200, content_type=self._content_type, headers=headers, pieces=closing(write(), pieces))

    def refuse(self, error: AppError) -> Response:
        """See Wire."""
        end = EnvelopeWriter("").write(msgspec.json.encode(_make_end(error)), _END)
        return Response(200, end, self._content_type, headers=make_error_headers(error))

    @property
    def _content_type(self) -> bytes:
        return f"application/connect+{self.codec}".encode()


async def closing(written: AsyncIterator[bytes], pieces: Pieces) -> AsyncGenerator[bytes, None]:
    """Yield what is written of the pieces, and end them whatever happens."""
    try:
        async for part in written:
            yield part
    finally:
        await pieces.aclose()


def describe_error(error: AppError) -> dict[str, Any]:
    """Write an error as Connect's JSON has it; the details are google.rpc messages."""
    code = error.code.name.lower()
    details = [
        {
            "type": detail.DESCRIPTOR.full_name,
            "value": base64.b64encode(detail.SerializeToString()).decode().rstrip("="),
        }
        for detail in make_details(error)
    ]
    return {"code": "canceled" if code == "cancelled" else code, "message": error.message, "details": details}


def _make_end(error: AppError | None) -> dict[str, Any]:
    return {} if error is None else {"error": describe_error(error)}


def read_parameters(request: Request) -> Mapping[str, str]:
    """The parameters of a GET; each character is a byte."""
    try:
        return dict(parse_qsl(request.query, keep_blank_values=True, encoding="latin-1", max_num_fields=20))
    except ValueError:
        return {}


def read_connect_timeout(headers: Mapping[str, str]) -> float | None:
    """Read the caller's deadline in seconds. Raises AppError invalid_payload, also for another protocol version."""
    if headers.get("connect-protocol-version", "1") != "1":
        raise invalid_payload((Violation("connect-protocol-version", "must be 1"),))
    text = headers.get("connect-timeout-ms")
    if text is None:
        return None
    if len(text) > _TIMEOUT_DIGITS_MAX or not (text.isascii() and text.isdigit()):
        raise invalid_payload((Violation("connect-timeout-ms", "must be a number of at most 10 digits"),))
    return int(text) / 1000
