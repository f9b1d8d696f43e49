"""Export: a project's events as a file, in pieces."""

import uuid

import msgspec

from millimetric_server.api.call import Call
from millimetric_server.api.messages import ExportFormat, ExportRequest
from millimetric_server.api.pending import Pending
from millimetric_server.reads.conditions import Conditions
from millimetric_server.reads.deps import ReadDeps
from millimetric_server.reads.exports import ExportReader, Selection
from millimetric_server.reads.query import select_events


class ExportPlan(msgspec.Struct, frozen=True):
    """A checked Export."""

    conditions: Conditions
    format: ExportFormat


def validate_export(request: ExportRequest, _call: Call) -> ExportPlan:
    """Check an Export. Raises AppError invalid_params."""
    written = ExportFormat.NDJSON if request.format is ExportFormat.UNSPECIFIED else request.format
    return ExportPlan(select_events(request), written)


async def export(call: Call, plan: ExportPlan, deps: ReadDeps) -> ExportReader:
    """Return the reader of the file with its first piece read; the caller must close it.

    Raises AppError overloaded when the project has too many exports, upstream_failed.
    """
    tag = str(uuid.uuid4())  # ClickHouse ends queries by it, and a request's id may be its caller's
    selection = Selection(call.project.project_id, plan.conditions, plan.format, tag, call.cancellation)
    reader = ExportReader.open(deps.store, selection)
    if reader is None:
        raise deps.store.reads.exports.refuse(call.project.project_id)
    try:
        if (first := reader.read_on()) is not None:
            await Pending(first)
    except BaseException:
        reader.close()
        raise
    return reader
