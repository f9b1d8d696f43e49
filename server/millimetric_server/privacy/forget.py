"""Forget: queue the erasure of a person."""

from millimetric_server.api.call import Call, Deps
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.api.messages import ForgetResponse
from millimetric_server.api.pending import Pending


async def forget(call: Call, deps: Deps) -> ForgetResponse:
    """Answer the receipt once the request is durable. Raises AppError forget_failed."""
    person = call.request
    try:
        erasure_id = await Pending(
            deps.erasures.request(call.project.project_id, person.user_id, person.anonymous_id, call.received_at)
        )
    except AppError as error:
        message = "the erasure could not be queued, nothing was changed: try again"
        raise AppError(Reason.FORGET_FAILED, message) from error
    deps.loader.notify()
    return ForgetResponse(ok=True, queued=True, erasure_id=erasure_id)
