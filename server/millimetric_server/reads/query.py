"""Query: raw events, newest first, page by page."""

import base64
import binascii
import hmac
from collections.abc import Sequence
from typing import Any

import msgspec

from millimetric.v1 import query_service_pb2
from millimetric_server.api.call import Call
from millimetric_server.api.errors import invalid_params
from millimetric_server.api.limits import list_limits
from millimetric_server.api.messages import ExportRequest, Instant, QueryRequest, QueryResponse, StoredEvent
from millimetric_server.api.pending import Pending
from millimetric_server.reads.bounds import check_number, check_range, check_text
from millimetric_server.reads.columns import SELECTED, TEXTS
from millimetric_server.reads.conditions import Conditions
from millimetric_server.reads.deps import ReadDeps
from millimetric_server.reads.filters import add_filters
from millimetric_server.store.statements import read_statement

_LIMITS = list_limits(query_service_pb2.QueryRequest)
_MAC_BYTES = 12
NAMED_COLUMNS = ("event", "source", "medium", "user_id", "anonymous_id")  # that have a field of their own
PAGE_BYTES_MAX = 3 * 1024 * 1024  # gRPC's clients take 4 MiB unless told otherwise
_ROW_BYTES = 500  # names, lengths, times
_VALUE_BYTES = 12  # a number of a Struct takes 9 bytes, and its place in a list or an object a few more


class QueryPlan(msgspec.Struct, frozen=True):
    """A checked Query: conditions without the page, and the page."""

    conditions: Conditions
    limit: int
    page_token: str


def validate_query(request: QueryRequest, _call: Call) -> QueryPlan:
    """Check a Query. Raises AppError invalid_params."""
    return QueryPlan(select_events(request), check_number("limit", request.limit, _LIMITS), request.page_token or "")


def select_events(request: QueryRequest | ExportRequest) -> Conditions:
    """Check which events are asked for, and build the conditions. Raises AppError invalid_params."""
    check_range(request.from_, request.to)
    conditions = Conditions()
    conditions.require_range("timestamp", request.from_, request.to)
    for name in NAMED_COLUMNS:
        if value := check_text(name, getattr(request, name), _LIMITS[name].chars_max):
            conditions.require(name, "=", value)
    add_filters(conditions, request.filter, request.where)
    return conditions


async def query(call: Call, plan: QueryPlan, deps: ReadDeps) -> QueryResponse:
    """Answer a page of rows. Raises AppError invalid_params for a token that is not of this query."""
    token_key = _derive_token_key(plan, call, deps)
    conditions = plan.conditions.copy()
    if plan.page_token:
        _require_after(conditions, *_parse_token(plan.page_token, token_key))
    rows = await Pending(
        deps.store.reads.run(
            read_statement("query.rows").replace("%COLUMNS%", SELECTED).replace("%CONDITIONS%", conditions.sql),
            {"project": call.project.project_id, "limit": plan.limit + 1, **conditions.parameters},
            call.cancellation,
        )
    )
    response = QueryResponse(_fill_page(rows[: plan.limit]))
    if len(rows) > len(response.rows):
        last = response.rows[-1]
        response.next_page_token = _write_token(last, token_key)
    return response


def _require_after(conditions: Conditions, timestamp: int, event_id: str, received_at: int) -> None:
    """Require what comes after the last row of the page before."""
    time, received = (
        f"fromUnixTimestamp64Micro({conditions.bind(micros, 'Int64')})" for micros in (timestamp, received_at)
    )
    position = f"({time}, {conditions.bind(event_id, 'String')})"
    # Events of a page and of a backend may have the same id and time: those received later were on the last page.
    conditions.clauses += [
        f"(timestamp, event_id) <= {position}",
        f"NOT ((timestamp, event_id) = {position} AND received_at >= {received})",
    ]


def _fill_page(rows: Sequence[Sequence[Any]]) -> list[StoredEvent]:
    """Take rows until the page is full: at least one."""
    page: list[StoredEvent] = []
    bytes_left = PAGE_BYTES_MAX
    for row in rows:
        event = _make_event(row)
        bytes_left -= estimate_bytes(event)
        if bytes_left < 0 and page:
            break
        page.append(event)
    return page


def estimate_bytes(event: StoredEvent) -> int:
    """The most bytes that an event takes in any answer: as protobuf, where properties are a Struct, or as JSON."""
    text = "".join([getattr(event, name) for name in TEXTS]).encode()
    values = sum(map(event.properties.count, ",:{["))
    return _ROW_BYTES + len(text) + _VALUE_BYTES * values + text.count(b'"') + text.count(b"\\")


def _make_event(row: Sequence[Any]) -> StoredEvent:
    event = StoredEvent(*row)
    event.timestamp, event.received_at = Instant(event.timestamp), Instant(event.received_at)
    return event


def _derive_token_key(plan: QueryPlan, call: Call, deps: ReadDeps) -> bytes:
    """A key of this project and these filters: a token of another query does not verify."""
    question = msgspec.json.encode((call.project.project_id, plan.conditions.clauses, plan.conditions.parameters))
    return hmac.digest(deps.key_pepper, b"page_token" + question, "sha256")


def _write_token(last: StoredEvent, key: bytes) -> str:
    position = msgspec.msgpack.encode((int(last.timestamp), last.event_id, int(last.received_at)))
    return base64.urlsafe_b64encode(hmac.digest(key, position, "sha256")[:_MAC_BYTES] + position).decode()


def _parse_token(token: str, key: bytes) -> tuple[int, str, int]:
    error = invalid_params("page_token", "does not belong to this query: send it with the same parameters")
    try:
        data = base64.b64decode(token, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise error from None
    mac, position = data[:_MAC_BYTES], data[_MAC_BYTES:]
    if not hmac.compare_digest(mac, hmac.digest(key, position, "sha256")[:_MAC_BYTES]):
        raise error
    try:
        return msgspec.msgpack.decode(position, type=tuple[int, str, int])
    except msgspec.DecodeError:  # an older server's
        raise error from None
