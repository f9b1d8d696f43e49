"""The HTTP port: one ASGI app that sends each request to its door, with CORS around the browser's ones."""

import logging
from typing import Any

from millimetric_server.call import Deps, Rpc
from millimetric_server.errors import AppError, Reason
from millimetric_server.transport.body import ClientGoneError, Receive
from millimetric_server.transport.boundary import make_internal_error, make_request_id
from millimetric_server.transport.connect import PACKAGE, ConnectDoor
from millimetric_server.transport.health import HealthDoor
from millimetric_server.transport.response import Request, Response, Scope, Send, read_request, send_response
from millimetric_server.transport.rest import RestDoor, make_error_response

log = logging.getLogger(__name__)

_CLOSE = (b"connection", b"close")
_ANY_ORIGIN = (b"access-control-allow-origin", b"*")
_EXPOSED = (b"access-control-expose-headers", b"Retry-After, Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin")
# Any page may ask, since no cookie is involved: whether the answer is yes, the key's origins decide.
_PREFLIGHT = (
    _ANY_ORIGIN,
    (b"access-control-allow-methods", b"GET, POST"),
    (
        b"access-control-allow-headers",
        (
            b"Authorization, Content-Type, Millimetric-Ack, Millimetric-Ignore-Opt-Out, "
            b"Connect-Protocol-Version, Connect-Timeout-Ms, X-Grpc-Web, X-User-Agent, Grpc-Timeout"
        ),
    ),
    (b"access-control-max-age", b"7200"),
)
_BROWSER_PATHS = ("/v1/", PACKAGE)


class HttpApp:
    """The ASGI application."""

    def __init__(self, handlers: tuple[Rpc, ...], deps: Deps, body_bytes_max: int, metrics_token: str = "") -> None:
        self._rest = RestDoor(handlers, deps, body_bytes_max)
        self._connect = ConnectDoor(handlers, deps, body_bytes_max)
        self.health = HealthDoor(deps, metrics_token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; nothing of an exception leaves here."""
        if scope["type"] != "http":
            return
        is_browser = scope["path"].startswith(_BROWSER_PATHS)
        extra: tuple[tuple[bytes, bytes], ...] = (_ANY_ORIGIN, _EXPOSED) if is_browser else ()
        try:
            request = read_request(scope, receive)
            if self._connect.is_for_library(request):
                await self._connect.library(scope, receive, _add_headers(send, extra))
                return
            response = await self._answer(request, is_browser=is_browser)
        except ClientGoneError:
            return
        except Exception:
            request_id = make_request_id()
            log.exception("HTTP: a fault [%s]", request_id)
            response = make_error_response(make_internal_error(request_id))
        if self.health.is_ending:
            extra += (_CLOSE,)  # so that this connection is not in use when the port closes
        await send_response(response, send, extra)

    async def _answer(self, request: Request, *, is_browser: bool) -> Response:
        if request.method == "OPTIONS" and is_browser:
            return Response(204, headers=_PREFLIGHT[1:])
        if (found := self._rest.find_route(request.method, request.path)) is not None:
            return await self._rest.answer(request, *found)
        if request.path.startswith(PACKAGE):
            return await self._connect.answer(request)
        if request.method == "GET" and request.path in self.health.routes:
            answer = await self.health.answer(request)
            return make_error_response(answer) if isinstance(answer, AppError) else answer
        return make_error_response(AppError(Reason.NOT_FOUND, "there is no such route; see docs/api/rest.md"))


def _add_headers(send: Send, extra: tuple[tuple[bytes, bytes], ...]) -> Send:
    async def send_with_headers(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *extra]}
        await send(message)

    return send_with_headers
