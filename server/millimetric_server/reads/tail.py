"""Tail: events from now on, each as it becomes durable."""

import msgspec

from millimetric.v1 import query_service_pb2
from millimetric_server.api.call import Call
from millimetric_server.api.limits import list_limits
from millimetric_server.api.messages import Filter, FilterOp, TailRequest
from millimetric_server.following.follower import Follower, Meets
from millimetric_server.reads.bounds import check_text
from millimetric_server.reads.conditions import Conditions
from millimetric_server.reads.deps import ReadDeps
from millimetric_server.reads.filters import add_filters
from millimetric_server.reads.query import NAMED_COLUMNS
from millimetric_server.reads.row_filters import compile_filters

_LIMITS = list_limits(query_service_pb2.TailRequest)


class TailPlan(msgspec.Struct, frozen=True):
    """A checked Tail."""

    meets: Meets


def validate_tail(request: TailRequest, _call: Call) -> TailPlan:
    """Check a Tail. Raises AppError invalid_params."""
    named = [
        Filter(name, FilterOp.EQ, [value])
        for name in NAMED_COLUMNS
        if (value := check_text(name, getattr(request, name), _LIMITS[name].chars_max))
    ]
    add_filters(Conditions(), request.filter, request.where)
    return TailPlan(compile_filters([*named, *request.filter], request.where))


async def tail(call: Call, plan: TailPlan, deps: ReadDeps) -> Follower:
    """Return a follower, which the caller must close; it closes itself when its caller hangs up.

    Raises AppError overloaded when the project has too many followers.
    """
    follower = deps.followers.follow(call.project.project_id, plan.meets)
    if not call.cancellation.watch(follower.close):
        follower.close()
    return follower
