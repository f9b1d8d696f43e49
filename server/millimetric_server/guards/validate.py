"""Whether the request makes sense: decodes the body, checks every field, finds an account key's project."""

from millimetric_server.api.call import Call, Deps
from millimetric_server.api.errors import AppError, Reason, invalid_params
from millimetric_server.control.misses import Sought, SoughtKind
from millimetric_server.control.records import KeyKind
from millimetric_server.guards.missing import MissingError

_NAME_MAX = 64  # no project id is longer


def validate(call: Call, deps: Deps) -> None:
    """Set call.request, and call.project for an account key. Raises AppError invalid_*, not_found."""
    message = call.decode()
    named = getattr(message, "project", None)
    if call.key.kind is KeyKind.ACCOUNT:
        if not named:
            raise invalid_params("project", "is required with an account key: the project's id")
        project = deps.directory.find_project(named)
        if project is None:
            sought = Sought(SoughtKind.PROJECT, named[:_NAME_MAX])
            raise MissingError(sought, Reason.NOT_FOUND, "the account has no such project")
        if project.account_id != call.key.account_id:
            raise AppError(Reason.NOT_FOUND, "the account has no such project")
        call.project = project
    elif named and named != call.project.project_id:
        raise AppError(Reason.NOT_FOUND, "the key has no such project")
    call.request = call.rpc.validate(message, call)
