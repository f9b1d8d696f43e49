"""Sources: where visits came from, by their first event."""

from msgspec import UNSET

from millimetric_server.api.call import Call, Deps
from millimetric_server.api.messages import Breakdown, SourcesResponse, SourcesRow
from millimetric_server.api.pending import Pending
from millimetric_server.reads.check_reads import SourcesPlan
from millimetric_server.reads.filters import LATEST_US, Conditions, clamp_time, read_day
from millimetric_server.reads.time_zones import DAY_US
from millimetric_server.store.statements import read_statement

_COLUMNS = {"source": "substring(way, 5, source_bytes)", "medium": "substring(way, 5 + source_bytes)"}


async def sources(call: Call, deps: Deps) -> SourcesResponse:
    """Answer the sources of visits that began in the range, most events first."""
    plan: SourcesPlan = call.request
    from_us, to_us = clamp_time(plan.from_us), LATEST_US if plan.to_us is None else clamp_time(plan.to_us)
    began = Conditions()
    began.require_range("min(started_at)", plan.from_us, plan.to_us)
    has_medium = plan.breakdown is not Breakdown.SOURCE
    names = ("source", "medium") if has_medium else ("source",)
    statement = (
        read_statement("sources.sessions")
        .replace("%GROUPS%", ", ".join(f"{_COLUMNS[name]} AS {name}" for name in names))
        .replace("%NAMES%", ", ".join(names))
        .replace("%BOTS%", "1" if plan.include_bots else "NOT is_bot")
        .replace("%BEGAN%", began.sql)
    )
    parameters = {
        "project": call.project.project_id,
        "limit": plan.limit,
        "first_day": read_day(from_us),
        "last_day": read_day(to_us),
        "first_whole_day": read_day(max(-(-from_us // DAY_US), 1) * DAY_US),  # day 0 has the ids that tell no day
        "last_whole_day": read_day((to_us // DAY_US - 1) * DAY_US),
        **began.parameters,
    }
    rows = await Pending(deps.store.reads.run(statement, parameters, call.cancellation))
    if has_medium:
        return SourcesResponse([SourcesRow(*row) for row in rows])
    return SourcesResponse([SourcesRow(source, UNSET, *figures) for source, *figures in rows])
