"""Sources: where visits came from, by their first event."""

from msgspec import UNSET

from millimetric_server.call import Call, Deps, Steps
from millimetric_server.messages import Breakdown, SourcesResponse, SourcesRow
from millimetric_server.store.filters import Conditions
from millimetric_server.store.statements import read_statement
from millimetric_server.validate.reads import SourcesPlan


def sources(call: Call, deps: Deps) -> Steps:
    """Answer the sources of visits that began in the range, most events first."""
    plan: SourcesPlan = call.request
    span = Conditions()
    span.require_time("began_at", ">=", plan.from_us)
    if plan.to_us is not None:
        span.require_time("began_at", "<", plan.to_us)
    has_medium = plan.breakdown is not Breakdown.SOURCE
    statement = (
        read_statement("sources.sessions")
        .replace("%GROUPS%", "source, medium" if has_medium else "source")
        .replace("%BOTS%", "1" if plan.include_bots else "NOT is_bot")
        .replace("%RANGE%", span.sql)
    )
    parameters = {"project": call.project.project_id, "limit": plan.limit, **span.parameters}
    rows = yield deps.store.read(statement, parameters)
    if has_medium:
        return SourcesResponse([SourcesRow(*row) for row in rows])
    return SourcesResponse([SourcesRow(source, UNSET, *figures) for source, *figures in rows])
