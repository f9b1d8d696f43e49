"""Sources: where visits came from, by their first event."""

from msgspec import UNSET

from millimetric_server.call import Call, Deps, Steps
from millimetric_server.messages import Breakdown, SourcesResponse, SourcesRow
from millimetric_server.store.filters import LATEST_US, Conditions, read_day
from millimetric_server.store.statements import read_statement
from millimetric_server.validate.reads import SourcesPlan

_COLUMNS = {"source": "substring(way, 5, source_bytes)", "medium": "substring(way, 5 + source_bytes)"}


def sources(call: Call, deps: Deps) -> Steps:
    """Answer the sources of visits that began in the range, most events first."""
    plan: SourcesPlan = call.request
    span = Conditions()
    span.require_range("started_at", plan.from_us, plan.to_us)
    began = Conditions(parameters=span.parameters)
    began.require_range("min(started_at)", plan.from_us, plan.to_us)
    has_medium = plan.breakdown is not Breakdown.SOURCE
    names = ("source", "medium") if has_medium else ("source",)
    statement = (
        read_statement("sources.sessions")
        .replace("%GROUPS%", ", ".join(f"{_COLUMNS[name]} AS {name}" for name in names))
        .replace("%NAMES%", ", ".join(names))
        .replace("%BOTS%", "1" if plan.include_bots else "NOT is_bot")
        .replace("%RANGE%", span.sql)
        .replace("%BEGAN%", began.sql)
    )
    parameters = {
        "project": call.project.project_id,
        "limit": plan.limit,
        "first_day": read_day(plan.from_us),
        "last_day": read_day(LATEST_US if plan.to_us is None else plan.to_us),
        **span.parameters,
    }
    rows = yield deps.store.reads.run(statement, parameters, call.cancellation)
    if has_medium:
        return SourcesResponse([SourcesRow(*row) for row in rows])
    return SourcesResponse([SourcesRow(source, UNSET, *figures) for source, *figures in rows])
