"""The origin check: public keys work only on the pages that the project lists."""

from millimetric_server.api.call import Call
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.control.misses import Sought, SoughtKind
from millimetric_server.control.origins import matches_origin
from millimetric_server.control.records import KeyKind
from millimetric_server.guards.deps import GuardDeps
from millimetric_server.guards.missing import MissingError


def check_origin(call: Call, _deps: GuardDeps) -> None:
    """Raise AppError origin_not_allowed for a public key from elsewhere, and for any key with two origins."""
    origin = call.headers.get("origin")
    if origin is not None and "," in origin:  # sent twice, and joined by the door: each hop might read another one
        raise AppError(Reason.ORIGIN_NOT_ALLOWED, "there is more than one origin: send exactly one")
    if call.key.kind is KeyKind.PUBLIC and not matches_origin(origin, call.project.origins):
        raise MissingError(
            Sought(SoughtKind.ORIGIN, call.project.project_id),
            Reason.ORIGIN_NOT_ALLOWED,
            "this origin is not in the project's list: add it with `millimetric origin add`",
        )
