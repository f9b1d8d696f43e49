"""The page docs/api/reference.md: each service, message and enum with its comment."""

from collections.abc import Iterator

from docs.generator.described import PACKAGE, Description
from docs.generator.tables import list_keys, render_table
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, ServiceDescriptor

_HEAD = """\
<!-- Made by `make generate` from the comments of proto/millimetric/v1. Don't edit it. -->

# API reference

Every service, message and enum of `millimetric.v1`, as the protos describe them. How they are written is told in
[REST](rest.md) and [gRPC, Connect and gRPC-Web](grpc.md), and how calls fail in [Errors](errors.md).
"""
_SCALARS = {
    getattr(FieldDescriptor, name): name.removeprefix("TYPE_").lower()
    for name in vars(FieldDescriptor)
    if name.startswith("TYPE_")
}


def render_reference(described: Description) -> str:
    """Write the page."""
    parts = [
        _HEAD,
        *(part for service in described.list_services() for part in _render_service(described, service)),
        "## Messages\n",
        *(_render_message(described, message) for message in described.list_messages()),
        "## Enums\n",
        *(_render_enum(described, enum) for enum in described.list_enums()),
    ]
    return "\n".join(parts)


def _render_service(described: Description, service: ServiceDescriptor) -> Iterator[str]:
    yield f"## {service.name}\n\n{described.comments[service.full_name]}\n"
    for method in service.methods:
        rows = [
            ("Request", _name_stream(method.input_type, is_stream=method.client_streaming)),
            ("Answer", _name_stream(method.output_type, is_stream=method.server_streaming)),
            ("Method", f"`/{service.full_name}/{method.name}`"),
            ("Keys", list_keys(described, method)),
        ]
        if route := described.find_route(method):
            rows.append(("REST", f"`{route.verb} {route.path}`, the request as {route.place}"))
        yield f"### {method.name}\n\n{described.comments[method.full_name]}\n\n{render_table(('', ''), rows)}"


def _render_message(described: Description, message: Descriptor) -> str:
    rows = [
        (f"`{field.name}`", _name_type(field), described.comments[f"{message.full_name}.{field.name}"])
        for field in message.fields
    ]
    head = f"### {message.name}\n\n{described.comments[message.full_name]}\n"
    return f"{head}\n{render_table(('Field', 'Type', 'Meaning'), rows)}"


def _render_enum(described: Description, enum: EnumDescriptor) -> str:
    rows = [
        (f"`{value.name}`", str(value.number), described.comments[f"{enum.full_name}.{value.name}"])
        for value in enum.values
    ]
    table = render_table(("Value", "Number", "Meaning"), rows)
    return f"### {enum.name}\n\n{described.comments[enum.full_name]}\n\n{table}"


def _name_stream(message: Descriptor, *, is_stream: bool) -> str:
    return f"stream of {_link(message)}" if is_stream else _link(message)


def _name_type(field: FieldDescriptor) -> str:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields
        return f"map of {_name_single(key)} to {_name_single(value)}"
    if field.is_repeated:
        return f"repeated {_name_single(field)}"
    is_optional = field.containing_oneof is not None and field.has_presence
    return f"optional {_name_single(field)}" if is_optional else _name_single(field)


def _name_single(field: FieldDescriptor) -> str:
    described = field.message_type or field.enum_type
    return _SCALARS[field.type] if described is None else _link(described)


def _link(described: Descriptor | EnumDescriptor) -> str:
    if described.file.package == PACKAGE:
        return f"[{described.name}](#{described.name.lower()})"
    return described.full_name
