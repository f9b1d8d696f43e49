"""Turns the exceptions of lower packages into errors of the API."""

from millimetric_server.api.errors import AppError, Reason
from millimetric_server.journal.errors import NotAppendedError
from millimetric_server.loading.errors import EventsDelayedError, EventsRefusedError


def translate(failure: Exception) -> Exception:
    """Turn an exception of a lower package into the error for callers; others stay as they are."""
    match failure:
        case NotAppendedError():
            return AppError(Reason.OVERLOADED, str(failure), retry_after_s=failure.retry_after_s)
        case EventsDelayedError() | EventsRefusedError():
            return AppError(Reason.UPSTREAM_FAILED, str(failure))
        case _:
            return failure
