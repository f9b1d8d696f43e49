"""The HTTP port: one ASGI app that sends each request to its door, with CORS around the browser's ones.

The API's calls go by the shortest way (docs/adr/0020); all other paths are pages, which Starlette serves.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from starlette.types import Message, Receive, Scope, Send

from millimetric_server.api.errors import wrong_verb
from millimetric_server.api.rpc import AnyRpc
from millimetric_server.doors.boundary import REQUEST_ID_HEADER, make_internal_error, make_request_id
from millimetric_server.doors.deps import DoorDeps, StatusDeps
from millimetric_server.doors.http.body import ClientGoneError
from millimetric_server.doors.http.connect import PACKAGE, ConnectDoor, make_method
from millimetric_server.doors.http.content_encoding import encode_response
from millimetric_server.doors.http.health import HealthPages
from millimetric_server.doors.http.pages import make_pages
from millimetric_server.doors.http.response import (
    Request,
    Response,
    make_allow,
    read_request,
    send_response,
)
from millimetric_server.doors.http.rest import RestDoor, make_error_response

log = logging.getLogger(__name__)

_CLOSE = (b"connection", b"close")
_ANY_ORIGIN = (b"access-control-allow-origin", b"*")
_EXPOSED = (
    b"access-control-expose-headers",
    b"Retry-After, X-Request-Id, Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin",
)
# What our own clients send; all other headers that a page asks for are allowed too. `*` would not cover Authorization.
_ALLOWED_HEADERS = (
    "Authorization, Content-Type, Content-Encoding, Millimetric-Ack, Millimetric-Ignore-Opt-Out, X-Request-Id, "
    "Connect-Protocol-Version, Connect-Timeout-Ms, X-Grpc-Web, X-User-Agent, Grpc-Timeout"
)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_ASKED_HEADERS_MAX = 100
_BROWSER_PATHS = ("/v1/", PACKAGE)


class HttpApp:
    """The ASGI application."""

    def __init__(
        self,
        rpcs: Sequence[AnyRpc],
        deps: DoorDeps,
        status: StatusDeps,
        body_bytes_max: int,
        metrics_token: str = "",
    ) -> None:
        self._rest = RestDoor(rpcs, deps, body_bytes_max)
        self._connect = ConnectDoor(tuple(make_method(rpc) for rpc in rpcs), deps, body_bytes_max)
        self.health = HealthPages(status, metrics_token)
        self._pages = make_pages(self.health.routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; nothing of an exception leaves here."""
        if scope["type"] != "http":
            return
        answer = _Answer(send, is_browser=scope["path"].startswith(_BROWSER_PATHS))
        try:
            request = read_request(scope, receive)
            answer.request_id = request.request_id
            answer.is_last = self.health.is_ending
            if (response := await self._answer(request, is_browser=answer.is_browser)) is None:
                await self._pages(scope, receive, answer.send)
                return
            response = await encode_response(response, request.headers.get("accept-encoding", ""))
        except ClientGoneError:
            return
        except Exception:
            answer.request_id = answer.request_id or make_request_id()
            log.exception("HTTP: internal error [%s]", answer.request_id)
            response = make_error_response(make_internal_error(answer.request_id))
        if not answer.has_begun:
            await send_response(response, answer.send, is_head=scope["method"] == "HEAD")

    async def _answer(self, request: Request, *, is_browser: bool) -> Response | None:
        """Answer a call of the API; None for any other path."""
        if request.method == "OPTIONS" and is_browser:
            return _answer_preflight(request)
        verb = "GET" if request.method == "HEAD" else request.method  # the body is left out when it is sent
        if (found := self._rest.find_route(verb, request.path)) is not None:
            return await self._rest.answer(request, *found)
        if request.path.startswith(PACKAGE):
            return await self._connect.answer(request)
        if verbs := self._rest.find_verbs(request.path):
            refusal = make_error_response(wrong_verb(verbs))
            return replace(refusal, headers=[*refusal.headers, make_allow(verbs)])
        return None


@dataclass(slots=True)
class _Answer:
    """Sends an answer with the headers that all answers have."""

    _send: Send
    is_browser: bool
    request_id: str = ""
    is_last: bool = False
    has_begun: bool = False

    async def send(self, message: Message) -> None:
        """Pass an ASGI message on."""
        if message["type"] == "http.response.start":
            self.has_begun = True
            headers = [*message["headers"], (REQUEST_ID_HEADER.encode(), self.request_id.encode())]
            if self.is_browser:
                headers += _ANY_ORIGIN, _EXPOSED
            if self.is_last:
                headers.append(_CLOSE)  # so that this connection is not in use when the port closes
            message = {**message, "headers": headers}
        await self._send(message)


def _answer_preflight(request: Request) -> Response:
    """Any page may send a preflight, since no cookie is involved; the key's origins decide what it may store."""
    asked = request.headers.get("access-control-request-headers", "").split(",", _ASKED_HEADERS_MAX)
    names = dict.fromkeys(name.strip().lower() for name in asked[:_ASKED_HEADERS_MAX])
    ours = {name.strip() for name in _ALLOWED_HEADERS.lower().split(",")}
    others = [name for name in names if name not in ours and _HEADER_NAME.fullmatch(name)]
    return Response(
        204,
        headers=(
            (b"access-control-allow-methods", b"GET, HEAD, POST"),
            (b"access-control-allow-headers", ", ".join((_ALLOWED_HEADERS, *others)).encode()),
            (b"access-control-max-age", b"7200"),
            (b"vary", b"Access-Control-Request-Headers"),
        ),
    )
