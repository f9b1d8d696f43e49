"""How often a project may call."""

from millimetric_server.call import Call, Deps
from millimetric_server.errors import AppError, Reason


def check_rate(call: Call, deps: Deps) -> None:
    """Raise AppError rate_limited, with the seconds to wait."""
    if call.rpc.limit and (wait_s := deps.limiter.take(call.project, call.rpc.limit)):
        raise AppError(Reason.RATE_LIMITED, f"too many calls of {call.rpc.name}; try again later", retry_after_s=wait_s)
