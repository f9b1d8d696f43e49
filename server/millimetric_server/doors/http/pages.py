"""The pages that Starlette serves on the HTTP port: everything that is not a route of the API."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from millimetric_server.api.errors import AppError, Reason, wrong_verb
from millimetric_server.doors.codecs.compression import BYTES_MIN
from millimetric_server.doors.http.rest import make_error_response

_WRONG_VERB = 405


def make_pages(routes: Sequence[BaseRoute]) -> Starlette:
    """Make the application of these routes; its errors look like REST's."""
    return Starlette(
        routes=routes,
        middleware=[Middleware(GZipMiddleware, minimum_size=BYTES_MIN)],
        exception_handlers={AppError: _tell, HTTPException: _tell},
    )


async def _tell(_request: Request, failure: Exception) -> Response:
    """Make the answer to a planned error, or to a request that no route takes."""
    headers: dict[str, str] = {}
    if isinstance(failure, HTTPException) and failure.status_code == _WRONG_VERB:
        verbs = sorted((failure.headers or {})["Allow"].split(", "))
        headers["Allow"] = ", ".join(verbs)
        error = wrong_verb(tuple(verbs))
    elif isinstance(failure, AppError):
        error = failure
    else:
        error = AppError(Reason.NOT_FOUND, "there is no such route; see docs/api/rest.md")
    told = make_error_response(error)
    headers |= {name.decode(): value.decode() for name, value in told.headers}
    return Response(told.body, told.status, headers, told.content_type.decode())
