"""The API pages tell routes, methods, fields, limits and columns as the code has them."""

from google.api import annotations_pb2

from millimetric.v1 import event_pb2, ingest_service_pb2, options_pb2, privacy_service_pb2, query_service_pb2
from millimetric_server.api.call import RpcSpec, Streaming
from millimetric_server.api.limits import BATCH_EVENTS_MAX, CHARS_MAX, PROPERTIES_BYTES_MAX, list_limits
from millimetric_server.api.messages import StoredEvent
from millimetric_server.api.options import read_limits
from millimetric_server.config import DEFAULT_RATE_LIMITS, Settings
from millimetric_server.reads.buckets import BUCKETS_MAX
from millimetric_server.reads.columns import COLUMNS, GROUP_COLUMNS
from millimetric_server.reads.filters import LEVELS_MAX, NODES_MAX, PARAMETERS_MAX
from millimetric_server.reads.retention import COHORTS_MAX
from repo.doc_files import read_section, read_table, split_list
from support.rpcs import RPCS

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
        for rpc in RPCS
        if rpc.streaming is not Streaming.BIDI
    ]
    assert told == served


def test_the_table_of_methods_is_that_of_the_handlers() -> None:
    told = [(row["RPC"], row["Keys"], row["Rate limit"], row["Side effects"]) for row in read_table(_GRPC, "RPC")]
    assert told == [
        (f"{rpc.service}.{rpc.name}", _list_kinds(rpc), rpc.limit, "none" if _is_read(rpc) else "yes") for rpc in RPCS
    ]


def test_the_table_of_event_fields_is_the_message_with_its_limits() -> None:
    rows = read_table(_REST, "Field", after="### The event")
    assert [row["Field"] for row in rows] == [field.name for field in event_pb2.Event.DESCRIPTOR.fields]
    limits = {row["Field"]: row["At most"] for row in rows if row["At most"]}
    texts = {name: f"{chars_max} characters" for name, chars_max in CHARS_MAX.items()}
    assert limits == texts | dict.fromkeys(("properties", "properties_json"), f"{PROPERTIES_BYTES_MAX} bytes")
    assert f"1 to {BATCH_EVENTS_MAX} events" in read_section(_REST, "Batch")


def test_the_parameters_of_reads_are_the_fields_of_their_requests() -> None:
    for name, request in (
        ("Query", query_service_pb2.QueryRequest),
        ("Tail", query_service_pb2.TailRequest),
        ("Stats", query_service_pb2.StatsRequest),
        ("Sources", query_service_pb2.SourcesRequest),
        ("Funnel", query_service_pb2.FunnelRequest),
        ("Retention", query_service_pb2.RetentionRequest),
        ("Attribution", query_service_pb2.AttributionRequest),
    ):
        rows = read_table(_REST, "Parameter", after=f"\n## {name}\n")
        told = [word for row in rows for word in split_list(row["Parameter"])]
        assert told == [field.name for field in request.DESCRIPTOR.fields]


def test_the_answers_of_funnel_and_retention_are_the_fields_of_their_rows() -> None:
    for name, row in (("Funnel", query_service_pb2.FunnelRow), ("Retention", query_service_pb2.RetentionRow)):
        told = [line["Answer"] for line in read_table(_REST, "Answer", after=f"\n## {name}\n")]
        assert told == [field.name for field in row.DESCRIPTOR.fields]


def test_limits_of_reads_are_told() -> None:
    for name, field in (("Query", "limit"), ("Stats", "limit"), ("Sources", "limit"), ("Funnel", "limit")):
        assert _tell_numbers(name, field) in _read_meaning(name, field)
    assert _tell_numbers("Retention", "periods") in _read_meaning("Retention", "periods")
    for field in ("lookback_days", "limit"):
        assert _tell_numbers("Attribution", field) in _read_meaning("Attribution", field)
    window = list_limits(query_service_pb2.FunnelRequest)["window_seconds"]
    told = f"1 to {window.value_max} ({window.value_max // 86_400} days); default {window.value_absent}"
    assert told in _read_meaning("Funnel", "window_seconds")
    steps = list_limits(query_service_pb2.FunnelRequest)["steps"]
    assert _read_meaning("Funnel", "steps").startswith(f"{steps.items_min} to {steps.items_max} steps")
    told = " ".join(read_section(_REST, "Limits of reads").split())
    assert f"more than {BUCKETS_MAX:,} buckets" in told
    assert f"more than {COHORTS_MAX} cohorts" in told


def test_limits_of_filters_are_told_and_the_same_for_every_read() -> None:
    told = " ".join(read_section(_REST, "Filters").split())
    messages = query_service_pb2.DESCRIPTOR.message_types_by_name.values()
    filters = [
        field for message in messages for field in message.fields if field.name == "filter" and field.is_repeated
    ]
    assert len(filters) == 6
    (count,) = {read_limits(field.GetOptions()).items_max for field in filters}
    assert f"at most {count} filters" in told
    column, values = (list_limits(query_service_pb2.Filter)[name] for name in ("column", "values"))
    assert column.chars_max == values.chars_max
    assert f"at most {column.chars_max} characters" in told
    assert f"at most {values.items_max:,} values of {values.total_chars_max:,} characters together" in told
    assert f"at most {PARAMETERS_MAX} different names and values" in told
    trees = " ".join(read_section(_REST, "Trees of filters").split())
    assert f"at most {NODES_MAX} nodes, and at most {LEVELS_MAX} levels" in trees


def test_what_a_read_may_take_is_told() -> None:
    settings = Settings()
    told = {row["Setting"]: row["Default"] for row in read_table("docs/operations.md", "Limit of one read")}
    assert told == {
        "MILLIMETRIC_READ_SECONDS_MAX": str(settings.read_seconds_max),
        "MILLIMETRIC_READ_MEMORY_BYTES_MAX": f"{settings.read_memory_bytes_max // 1024**3} GiB",
        "MILLIMETRIC_READ_ROWS_MAX": "a billion",
    }
    assert settings.read_rows_max == 10**9
    assert f"{settings.read_seconds_max} seconds, 2 GiB" in " ".join(read_section(_REST, "Limits of reads").split())


def test_columns_of_filters_and_groups_are_told() -> None:
    rows = read_table(_REST, "Column")
    words = {"String": "text", "DateTime": "time", "Bool": "true or false"}
    types = {row["Column"]: row["Type"] for row in rows}
    assert types == {name: words[kind] for name, kind in COLUMNS.items()} | {"properties": "JSON object"}
    assert tuple(types) == StoredEvent.__struct_fields__
    assert {row["Group by"]: row["Column"] for row in rows if row["Group by"]} == GROUP_COLUMNS


def test_default_rate_limits_are_told() -> None:
    told = "Track and Identify 50 a second with bursts of 200, Batch 5 a second with bursts of 20"
    assert told in " ".join(read_section(_REST, "Rate limits").split())
    assert DEFAULT_RATE_LIMITS.startswith("track=50/200,identify=50/200,batch=5/20,")


def _tell_numbers(rpc: str, field: str) -> str:
    limits = list_limits(getattr(query_service_pb2, f"{rpc}Request"))[field]
    return f"{limits.value_min} to {limits.value_max}; default {limits.value_absent}"


def _read_meaning(rpc: str, parameter: str) -> str:
    rows = read_table(_REST, "Parameter", after=f"\n## {rpc}\n")
    return next(row["Meaning"] for row in rows if row["Parameter"] == parameter)


def _find_route(rpc: RpcSpec) -> str:
    options = _METHODS[rpc.service, rpc.name].GetOptions()
    if path := options.Extensions[options_pb2.rpc].get:
        return f"GET {path}"
    rule = options.Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    return f"{verb.upper()} {getattr(rule, verb)}"


def _list_kinds(rpc: RpcSpec) -> str:
    return ", ".join(kind for kind in _KINDS if kind in rpc.kinds)


def _is_read(rpc: RpcSpec) -> bool:
    options = _METHODS[rpc.service, rpc.name].GetOptions()
    return bool(options.idempotency_level == options.NO_SIDE_EFFECTS)
