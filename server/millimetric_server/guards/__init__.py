"""The checks that every call must pass, in this order, over every protocol.

The boundary passes them: `admit` with the headers alone; then it decodes the message, which nobody looks at before;
then `choose_project`, the RPC's own check, and `check_rate`.
"""

from collections.abc import Callable

from millimetric_server.api.call import Call
from millimetric_server.api.pending import Pending
from millimetric_server.guards.authenticate import authenticate
from millimetric_server.guards.deps import GuardDeps
from millimetric_server.guards.missing import MissingError
from millimetric_server.guards.origin import check_origin
from millimetric_server.guards.scope import check_scope

Guard = Callable[[Call, GuardDeps], None]

CALLER_GUARDS: tuple[Guard, ...] = (
    authenticate,  # first: a stranger learns nothing, not even whether the body was well formed
    check_scope,  # before origin: a kind that may never call this is refused for that, not for its origin
    check_origin,  # before the message: the body of a foreign page is not looked at
)


async def admit(call: Call, deps: GuardDeps) -> None:
    """Pass the guards that look at headers alone, or raise AppError.

    A call that was admitted is looked at again only if keys, projects or origins have changed since: so a key that is
    revoked while a body comes in is refused, and so is the next group of its stream. What a guard lacks in the
    directory is looked for once in the control database, and then all are passed again.
    """
    revision = deps.directory.revision  # before the guards: what changes meanwhile is seen next time
    if revision is not None and call.admitted_revision is revision:
        return
    try:
        _pass_caller_guards(call, deps)
    except MissingError as missing:
        if (look := deps.directory.look_again(missing.sought)) is None:
            raise
        await Pending(look)
        revision = deps.directory.revision
        _pass_caller_guards(call, deps)
    call.admitted_revision = revision


def _pass_caller_guards(call: Call, deps: GuardDeps) -> None:
    for guard in CALLER_GUARDS:
        guard(call, deps)
