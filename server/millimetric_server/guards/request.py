"""What a decoded request is for, and what it may cost: its project, and the rate limit of the project's calls."""

from millimetric_server.api.call import Call, Streaming
from millimetric_server.api.errors import AppError, Reason, invalid_params
from millimetric_server.api.pending import Pending
from millimetric_server.control.misses import Sought, SoughtKind
from millimetric_server.control.records import KeyKind, Project
from millimetric_server.guards.deps import GuardDeps

_NAME_MAX = 64  # no project id is longer


async def choose_project(call: Call, request: object, deps: GuardDeps) -> None:
    """Set call.project for an account key. Raises AppError not_found, invalid_params."""
    named: str = getattr(request, "project", None) or ""  # requests without the field are for no account key
    if call.key.kind is KeyKind.ACCOUNT:
        call.project = await _find_project(call, named, deps)
    elif named and named != call.project.project_id:
        raise AppError(Reason.NOT_FOUND, "the key has no such project")


async def _find_project(call: Call, named: str, deps: GuardDeps) -> Project:
    if not named:
        raise invalid_params("project", "is required with an account key: the project's id")
    project = deps.directory.find_project(named)
    if project is None:  # another process may have made it a moment ago
        look = deps.directory.look_again(Sought(SoughtKind.PROJECT, named[:_NAME_MAX]))
        if look is not None:
            await Pending(look)
            project = deps.directory.find_project(named)
    if project is None or project.account_id != call.key.account_id:
        raise AppError(Reason.NOT_FOUND, "the account has no such project")
    return project


def check_rate(call: Call, deps: GuardDeps) -> None:
    """Raise AppError rate_limited, with the seconds to wait. A stream pays for each event."""
    if not call.rpc.limit:
        return
    cost = call.owed.unsettled if call.rpc.streaming is Streaming.BIDI else 1
    if wait_s := deps.limiter.take(call.project, call.rpc.limit, cost):
        raise AppError(Reason.RATE_LIMITED, f"too many calls of {call.rpc.name}; try again later", retry_after_s=wait_s)
