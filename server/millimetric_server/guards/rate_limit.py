"""How often a project may call."""

from millimetric_server.api.call import Call, Deps, Streaming
from millimetric_server.api.errors import AppError, Reason


def check_rate(call: Call, deps: Deps) -> None:
    """Raise AppError rate_limited, with the seconds to wait. A stream pays for each event."""
    if not call.rpc.limit:
        return
    cost = call.uncounted_events if call.rpc.streaming is Streaming.BIDI else 1
    if wait_s := deps.limiter.take(call.project, call.rpc.limit, cost):
        raise AppError(Reason.RATE_LIMITED, f"too many calls of {call.rpc.name}; try again later", retry_after_s=wait_s)
