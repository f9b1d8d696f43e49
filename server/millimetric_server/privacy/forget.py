"""Forget: queue the erasure of a person."""

import msgspec

from millimetric_server.api.call import Call
from millimetric_server.api.errors import AppError, Reason, Violation, invalid_payload
from millimetric_server.api.limits import CHARS_MAX
from millimetric_server.api.messages import ForgetRequest, ForgetResponse
from millimetric_server.api.pending import Pending
from millimetric_server.journal.errors import NotAppendedError
from millimetric_server.privacy.deps import PrivacyDeps


class Person(msgspec.Struct, frozen=True):
    """The person to forget: one of the two ids is empty."""

    user_id: str
    anonymous_id: str


def check_forget(request: ForgetRequest, _call: Call) -> Person:
    """Check a Forget. Raises AppError invalid_payload."""
    person = Person(request.user_id or "", request.anonymous_id or "")
    if bool(person.user_id) == bool(person.anonymous_id):
        message = "send exactly one of user_id and anonymous_id"
        raise invalid_payload((Violation("user_id", message), Violation("anonymous_id", message)))
    for name in ("user_id", "anonymous_id"):
        text = getattr(person, name)
        if len(text) > CHARS_MAX[name] or "\0" in text:
            message = f"must have at most {CHARS_MAX[name]} characters and no NUL"
            raise invalid_payload((Violation(name, message),))
    return person


async def forget(call: Call, person: Person, deps: PrivacyDeps) -> ForgetResponse:
    """Answer the receipt once the request is durable. Raises AppError forget_failed."""
    try:
        erasure_id = await Pending(
            deps.erasures.request(call.project.project_id, person.user_id, person.anonymous_id, call.received_at)
        )
    except NotAppendedError as error:
        message = "the erasure could not be queued, nothing was changed: try again"
        raise AppError(Reason.FORGET_FAILED, message) from error
    deps.notify_loader()
    return ForgetResponse(ok=True, queued=True, erasure_id=erasure_id)
