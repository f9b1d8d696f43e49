"""REST /v1: routes from the options of the protos, JSON in snake_case, CORS for browsers."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from millimetric_server.api.call import Call, Streaming
from millimetric_server.api.errors import AppError, wrong_content_type
from millimetric_server.api.messages import Message
from millimetric_server.api.rpc import AnyRpc
from millimetric_server.doors.boundary import charge_refusal, refuse, refuse_early, run, wait_async
from millimetric_server.doors.codecs.http_rule import read_http_rule
from millimetric_server.doors.codecs.json import JsonDecoder, choose_rest_encoder, decode_params
from millimetric_server.doors.codecs.proto import find_method
from millimetric_server.doors.deps import DoorDeps
from millimetric_server.doors.http.body import (
    BEACON_BYTES_MAX,
    Body,
    read_plain,
    skip_body,
    watch_client,
)
from millimetric_server.doors.http.response import (
    Request,
    Response,
    make_accept_post,
    make_error_headers,
    read_content_type,
)
from millimetric_server.doors.http.server_stream import make_file_response, open_stream
from millimetric_server.doors.http.sse import make_event_stream
from millimetric_server.shares.body_room import Hold

_BEACON_TYPE = "text/plain"  # what navigator.sendBeacon can send without a preflight
_BODY_TYPES = ("application/json", _BEACON_TYPE)
_UNSUPPORTED_TYPE = 415
_VARIABLE = re.compile(r"\{(\w+)\}")


class _BeaconKey(msgspec.Struct):
    key: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the REST surface."""

    verb: str
    path: re.Pattern[str]
    has_body: bool
    rpc: AnyRpc
    decoder: JsonDecoder
    encode: Callable[[Message], bytes]


def read_routes(rpcs: Sequence[AnyRpc]) -> tuple[Route, ...]:
    """Read the routes of the methods that this server answers from their options."""
    routes = []
    for rpc in rpcs:
        if (rule := read_http_rule(find_method(rpc.path).GetOptions())) is None:
            continue  # a stream: only gRPC carries it
        pattern = _VARIABLE.sub(r"(?P<\1>[^/]+)", rule.path)
        codecs = JsonDecoder(rpc.request), choose_rest_encoder(rpc.response)
        routes.append(Route(rule.verb, re.compile(pattern), rule.has_body, rpc, *codecs))
    return tuple(routes)


class RestDoor:
    """Answers REST calls."""

    def __init__(self, rpcs: Sequence[AnyRpc], deps: DoorDeps, body_bytes_max: int) -> None:
        self._deps = deps
        self._body_bytes_max = body_bytes_max
        self._routes = read_routes(rpcs)
        self._fixed = {(route.verb, route.path.pattern): route for route in self._routes if not route.path.groups}

    def find_route(self, verb: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
        """Find the route of a request and the variables in its path."""
        if (route := self._fixed.get((verb, path))) is not None:
            return route, {}
        for route in self._routes:
            if route.path.groups and route.verb == verb and (match := route.path.fullmatch(path)):
                return route, match.groupdict()
        return None

    def find_verbs(self, path: str) -> tuple[str, ...]:
        """The HTTP methods that the routes of a path take; none for an unknown path."""
        verbs = {route.verb for route in self._routes if route.path.fullmatch(path)}
        return tuple(sorted(verbs | {"HEAD"} if "GET" in verbs else verbs))

    async def answer(self, request: Request, route: Route, variables: Mapping[str, str]) -> Response:
        """Carry out a call."""
        call = Call(
            rpc=route.rpc,
            door="rest",
            headers=request.headers,
            peer=request.peer,
            received_at=self._deps.read_clock_us(),
            request_id=request.request_id,
        )
        if not route.has_body:
            decode = partial(decode_params, route.rpc.request, request.query, variables)
            return await self._carry_out(call, route, decode, request)
        beacon: bytes | None = None
        if is_beacon(call.headers):
            try:
                beacon = await read_plain(call.headers, request.receive, BEACON_BYTES_MAX)
            except AppError as error:
                return make_error_response(refuse(call, error))
            call.headers = _take_key_of_beacon(call.headers, beacon)
        refusal = await refuse_early(call, self._deps)
        if refusal is None and read_content_type(call.headers) not in (*_BODY_TYPES, ""):
            refusal = refuse(call, charge_refusal(call, wrong_content_type(_BODY_TYPES), self._deps))
        if refusal is not None:
            if beacon is None:
                await skip_body(call.headers, request.receive, self._body_bytes_max)
            return make_error_response(refusal)
        with closing(Hold(self._deps.bodies, call.owner)) as hold:
            if beacon is not None:
                body = Body(beacon, "identity", BEACON_BYTES_MAX, hold)
            else:
                try:
                    packed = await read_plain(call.headers, request.receive, self._body_bytes_max, hold)
                except AppError as error:
                    return make_error_response(refuse(call, charge_refusal(call, error, self._deps)))
                body = Body(packed, call.headers.get("content-encoding", "identity"), self._body_bytes_max, hold)
            call.received_at = self._deps.read_clock_us()
            decode = partial(body.decode, call, route.decoder.decode)
            return await self._carry_out(call, route, decode, request, is_large=body.is_large())

    async def _carry_out(
        self, call: Call, route: Route, decode: Callable[[], Message], request: Request, *, is_large: bool = False
    ) -> Response:
        rpc = route.rpc
        if rpc.streaming is Streaming.SERVER:
            opened = await open_stream(call, rpc, decode, self._deps, request.receive)
            if isinstance(opened, AppError):
                return make_error_response(opened)
            if opened.format is None:
                return make_event_stream(opened.pieces)
            return make_file_response(call, opened.pieces, opened.format)
        async with watch_client(request.receive, call):
            running = run(call, rpc, decode, route.encode, self._deps)
            begun = await self._deps.bodies.begin(call.owner, running) if is_large else None
            answer = await wait_async(running, call, begun)
        return make_error_response(answer) if isinstance(answer, AppError) else Response(rpc.http_status, answer)


def make_error_response(error: AppError) -> Response:
    """Write an error as REST does: `{"error": reason, "details": {…}}`."""
    details: dict[str, Any] = {"message": error.message, **error.metadata}
    if error.violations:
        field_errors: dict[str, list[str]] = {}
        for violation in error.violations:
            field_errors.setdefault(violation.field, []).append(violation.message)
        details["fieldErrors"] = field_errors
    headers = make_error_headers(error)
    if error.retry_after_s is not None:
        details["retry_after_s"] = round(error.retry_after_s, 3)
    status = error.own_http_status or error.failure.http_status
    if status == _UNSUPPORTED_TYPE:
        headers.append(make_accept_post(_BODY_TYPES))
    body = msgspec.json.encode({"error": error.reason, "details": details})
    return Response(status, body, headers=headers)


def is_beacon(headers: Mapping[str, str]) -> bool:
    """A beacon can't send headers, so its public key may be in the body, unless the body is compressed."""
    return (
        "authorization" not in headers
        and read_content_type(headers) == _BEACON_TYPE
        and headers.get("content-encoding", "identity") == "identity"
    )


def _take_key_of_beacon(headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
    try:
        key = msgspec.json.decode(body, type=_BeaconKey).key
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return headers
    return {**headers, "authorization": f"Bearer {key}"} if key.startswith("pk_") else headers
