"""The API pages tell routes, methods, fields, limits and columns as the code has them."""

from google.api import annotations_pb2

from millimetric.v1 import event_pb2, ingest_service_pb2, privacy_service_pb2, query_service_pb2
from millimetric_server.call import Rpc, Shape
from millimetric_server.config import DEFAULT_RATE_LIMITS
from millimetric_server.handlers import HANDLERS
from millimetric_server.store.filters import COLUMNS
from millimetric_server.validate.events import BATCH_EVENTS_MAX, CHARS_MAX
from millimetric_server.validate.properties import BYTES_MAX
from millimetric_server.validate.reads import GROUP_COLUMNS, QUERY_LIMIT, SOURCES_LIMIT, STATS_LIMIT
from repo.doc_files import read_doc, read_section, read_table, split_list

_REST = "docs/api/rest.md"
_GRPC = "docs/api/grpc.md"
_METHODS = {
    (service.name, method.name): method
    for module in (ingest_service_pb2, privacy_service_pb2, query_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
_KINDS = ("pk", "sk", "rk", "ak")


def test_the_table_of_routes_is_what_the_protos_say_of_the_served_methods() -> None:
    told = [(row["Route"], row["RPC"], row["Keys"], row["Success"]) for row in read_table(_REST, "Route")]
    served = [
        (_find_route(rpc), f"{rpc.service}.{rpc.name}", _list_kinds(rpc), str(rpc.http_status))
        for rpc in HANDLERS
        if rpc.shape is not Shape.BOTH
    ]
    assert told == served


def test_the_table_of_methods_is_that_of_the_handlers() -> None:
    told = [(row["RPC"], row["Keys"], row["Rate limit"], row["Side effects"]) for row in read_table(_GRPC, "RPC")]
    assert told == [
        (f"{rpc.service}.{rpc.name}", _list_kinds(rpc), rpc.limit, "none" if _is_read(rpc) else "yes")
        for rpc in HANDLERS
    ]


def test_the_table_of_event_fields_is_the_message_with_its_limits() -> None:
    rows = read_table(_REST, "Field", after="### The event")
    assert [row["Field"] for row in rows] == [field.name for field in event_pb2.Event.DESCRIPTOR.fields]
    limits = {row["Field"]: row["At most"] for row in rows if row["At most"]}
    texts = {name: f"{chars_max} characters" for name, chars_max in CHARS_MAX.items()}
    assert limits == texts | dict.fromkeys(("properties", "properties_json"), f"{BYTES_MAX} bytes")
    assert f"1 to {BATCH_EVENTS_MAX} events" in read_section(_REST, "Batch")


def test_the_parameters_of_reads_are_the_fields_of_their_requests() -> None:
    for name, request in (
        ("Query", query_service_pb2.QueryRequest),
        ("Stats", query_service_pb2.StatsRequest),
        ("Sources", query_service_pb2.SourcesRequest),
    ):
        rows = read_table(_REST, "Parameter", after=f"\n## {name}\n")
        told = [word for row in rows for word in split_list(row["Parameter"])]
        assert told == [field.name for field in request.DESCRIPTOR.fields]


def test_limits_of_reads_are_told() -> None:
    for name, (default, largest) in (("Query", QUERY_LIMIT), ("Stats", STATS_LIMIT), ("Sources", SOURCES_LIMIT)):
        (row,) = (row for row in read_table(_REST, "Parameter", after=f"\n## {name}\n") if row["Parameter"] == "limit")
        assert f"1 to {largest}; default {default}" in row["Meaning"]


def test_columns_of_filters_and_groups_are_told() -> None:
    filters = " ".join(read_section(_REST, "Filters").split())
    text = [name for name, kind in COLUMNS.items() if kind == "String"]
    others = [name for name, kind in COLUMNS.items() if kind != "String"]
    assert f"Columns of text take every op: {', '.join(text)}." in filters
    assert f"take the six comparisons: {', '.join(others)}." in filters
    assert ", ".join(GROUP_COLUMNS) in read_section(_REST, "Stats")
    assert ", ".join(GROUP_COLUMNS) in read_doc("docs/glossary.md")


def test_default_rate_limits_are_told() -> None:
    told = "Track and Identify 50 a second with bursts of 200, Batch 5 a second with bursts of 20"
    assert told in " ".join(read_section(_REST, "Rate limits").split())
    assert DEFAULT_RATE_LIMITS.startswith("track=50/200,identify=50/200,batch=5/20,")


def _find_route(rpc: Rpc) -> str:
    rule = _METHODS[rpc.service, rpc.name].GetOptions().Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    return f"{verb.upper()} {getattr(rule, verb)}"


def _list_kinds(rpc: Rpc) -> str:
    return ", ".join(kind for kind in _KINDS if kind in rpc.kinds)


def _is_read(rpc: Rpc) -> bool:
    options = _METHODS[rpc.service, rpc.name].GetOptions()
    return bool(options.idempotency_level == options.NO_SIDE_EFFECTS)
