"""What every call must pass, in this order, whichever door it came through."""

from collections.abc import Callable, Sequence

from millimetric_server.api.call import Call, Deps
from millimetric_server.api.pending import Pending
from millimetric_server.guards.authenticate import authenticate
from millimetric_server.guards.missing import MissingError
from millimetric_server.guards.origin import check_origin
from millimetric_server.guards.rate_limit import check_rate
from millimetric_server.guards.scope import check_scope
from millimetric_server.guards.validate import validate

Guard = Callable[[Call, Deps], None]

# What a stream has to pass before its first message; with every group of messages it passes all of them again, so that
# a key that was revoked meanwhile ends it.
CALLER_GUARDS: tuple[Guard, ...] = (
    authenticate,  # first: a stranger learns nothing, not even whether the body was well formed
    check_scope,  # before origin: what a kind may never do is told apart from where it may do it
    check_origin,  # before validate: the body of a foreign page is not looked at
)
GUARDS: tuple[Guard, ...] = (
    *CALLER_GUARDS,
    validate,  # before the rate limit: a bad call costs its sender no token
    check_rate,  # last: from here on the call costs us something
)


async def pass_guards(guards: Sequence[Guard], call: Call, deps: Deps) -> None:
    """Pass these guards, or raise AppError.

    What one of them lacks in the directory is looked for once in the control database, and then all are passed again.
    """
    try:
        for guard in guards:
            guard(call, deps)
    except MissingError as missing:
        if (look := deps.directory.look_again(missing.sought)) is None:
            raise
        await Pending(look)
    else:
        return
    for guard in guards:
        guard(call, deps)
