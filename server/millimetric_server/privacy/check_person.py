"""What Forget and GetErasure must look like."""

import msgspec

from millimetric_server.api.call import Call
from millimetric_server.api.errors import Violation, invalid_payload
from millimetric_server.api.limits import CHARS_MAX
from millimetric_server.api.messages import ForgetRequest, GetErasureRequest


class Person(msgspec.Struct, frozen=True):
    """Whom to forget: one of the two is empty."""

    user_id: str
    anonymous_id: str


def validate_forget(request: ForgetRequest, _call: Call) -> Person:
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


def validate_get_erasure(request: GetErasureRequest, _call: Call) -> str:
    """Return the erasure's id; one that can't exist is not found later."""
    return request.erasure_id or ""
