"""The tables that pages written by hand take from the protos."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus

from docs.generator.described import PACKAGE, Description
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

_PREFIX = "ERROR_REASON_"
# What the type of a stored event's field is called, by its scalar type or its message.
_COLUMN_TYPES = {
    FieldDescriptor.TYPE_STRING: "text",
    FieldDescriptor.TYPE_BOOL: "true or false",
    "google.protobuf.Timestamp": "time",
    "google.protobuf.Struct": "JSON object",
}


def render_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table of Markdown."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "".join(f"|{''.join(f' {cell} |' if cell else ' |' for cell in line)}\n" for line in lines)


def render_reasons(described: Description) -> str:
    """Write how each reason is told, and when."""
    enum = described.find_enum("ErrorReason")
    rows = []
    for value in enum.values[1:]:
        told = described.read_option(value.GetOptions(), f"{PACKAGE}.reason")
        word = value.name.removeprefix(_PREFIX).lower()
        when = described.comments[f"{enum.full_name}.{value.name}"].removesuffix(".")
        rows.append((f"`{word}`", str(told.http_status), told.code, "yes" if told.is_retryable else "no", when))
    return render_table(("Reason", "HTTP", "gRPC", "Retry", "When"), rows)


def render_routes(described: Description) -> str:
    """Write the routes of REST, who may call them, and what a success is."""
    rows = [
        (
            f"{route.verb} {route.path}",
            _name(method),
            list_keys(described, method),
            str(described.read_rpc(method).success_status or HTTPStatus.OK.value),
        )
        for method in described.list_methods()
        if (route := described.find_route(method))
    ]
    return render_table(("Route", "RPC", "Keys", "Success"), rows)


def render_methods(described: Description) -> str:
    """Write the methods, who may call them, and what they cost and change."""
    rows = [
        (
            _name(method),
            list_keys(described, method),
            described.read_rpc(method).rate_limit,
            "none" if method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS else "yes",
        )
        for method in described.list_methods()
    ]
    return render_table(("RPC", "Keys", "Rate limit", "Side effects"), rows)


def render_columns(described: Description) -> str:
    """Write what a stored event has, and by which name each column can be grouped by."""
    event, row = described.find_message("StoredEvent"), described.find_message("StatsRow")
    groups = {field.name.removesuffix("_name"): field.name for field in row.fields if field.message_type is None}
    rows = [
        (
            f"`{field.name}`",
            _COLUMN_TYPES[field.message_type.full_name if field.message_type else field.type],
            f"`{groups[field.name]}`" if field.name in groups else "",
            described.comments[f"{event.full_name}.{field.name}"].removesuffix("."),
        )
        for field in event.fields
    ]
    return render_table(("Column", "Type", "Group by", "Meaning"), rows)


def list_keys(described: Description, method: MethodDescriptor) -> str:
    """List the kinds of keys that may call a method."""
    return ", ".join(described.read_rpc(method).keys)


def _name(method: MethodDescriptor) -> str:
    return f"{method.containing_service.name}.{method.name}"
