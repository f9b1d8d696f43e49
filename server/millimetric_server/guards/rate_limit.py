"""The rate limit of a project's calls."""

from millimetric_server.api.call import Call, Streaming
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.guards.deps import GuardDeps


def check_rate(call: Call, deps: GuardDeps) -> None:
    """Raise AppError rate_limited, with the seconds to wait. A stream pays for each event."""
    if not call.rpc.limit:
        return
    cost = call.owed.unsettled if call.rpc.streaming is Streaming.BIDI else 1
    if wait_s := deps.limiter.take(call.project, call.rpc.limit, cost):
        raise AppError(Reason.RATE_LIMITED, f"too many calls of {call.rpc.name}; try again later", retry_after_s=wait_s)
