"""Sources: where visits came from, by the channels of their entries."""

import msgspec
from msgspec import UNSET

from millimetric.v1 import query_service_pb2
from millimetric_server.api.call import Call
from millimetric_server.api.limits import list_limits
from millimetric_server.api.messages import Breakdown, SourcesRequest, SourcesResponse, SourcesRow
from millimetric_server.api.pending import Pending
from millimetric_server.reads.bounds import begin_range, check_number, check_range
from millimetric_server.reads.conditions import LATEST_US, clamp_time, write_day
from millimetric_server.reads.deps import ReadDeps
from millimetric_server.reads.time_zones import DAY_US
from millimetric_server.reads.visits import CHANNEL, CHANNEL_PARTS, bound_visits, build_visits, choose_bots
from millimetric_server.store.statements import read_statement

_LIMITS = list_limits(query_service_pb2.SourcesRequest)


class SourcesPlan(msgspec.Struct, frozen=True):
    """A checked Sources. `from_us` and `to_us` are microseconds UTC; `to_us` None is without end."""

    from_us: int
    to_us: int | None
    breakdown: Breakdown
    limit: int
    include_bots: bool


def validate_sources(request: SourcesRequest, call: Call) -> SourcesPlan:
    """Check a Sources. Raises AppError invalid_params."""
    check_range(request.from_, request.to)
    return SourcesPlan(
        begin_range(request.from_, request.to, call.received_at),
        request.to,
        request.breakdown,
        check_number("limit", request.limit, _LIMITS),
        request.include_bots,
    )


async def sources(call: Call, plan: SourcesPlan, deps: ReadDeps) -> SourcesResponse:
    """Answer the sources of visits that began in the range, most events first."""
    from_us, to_us = clamp_time(plan.from_us), LATEST_US if plan.to_us is None else clamp_time(plan.to_us)
    has_medium = plan.breakdown is not Breakdown.SOURCE
    names = ("source", "medium") if has_medium else ("source",)
    statement = (
        read_statement("sources.sessions")
        .replace("%GROUPS%", ", ".join(f"{CHANNEL_PARTS[name]} AS {name}" for name in names))
        .replace("%NAMES%", ", ".join(names))
        .replace(
            "%VISITS%", build_visits(read_statement("visits.internal"), ("visitors",), include_bots=plan.include_bots)
        )
        .replace("%CHANNEL%", CHANNEL)
        .replace("%BOTS%", choose_bots(include_bots=plan.include_bots))
    )
    parameters = {
        "project": call.project.project_id,
        "limit": plan.limit,
        "from_us": from_us,
        "to_us": to_us,
        "first_day": write_day(from_us),
        "last_day": write_day(to_us),
        "first_whole_day": write_day(max(-(-from_us // DAY_US), 1) * DAY_US),  # day 0 has the ids that tell no day
        "last_whole_day": write_day((to_us // DAY_US - 1) * DAY_US),
        **bound_visits(from_us, to_us),
    }
    rows = await Pending(deps.store.reads.run(statement, parameters, call.cancellation))
    if has_medium:
        return SourcesResponse([SourcesRow(*row) for row in rows])
    return SourcesResponse([SourcesRow(source, UNSET, *figures) for source, *figures in rows])
