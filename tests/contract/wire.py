"""Requests and answers of case files in the forms that the doors speak, guided by the generated descriptors."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.api import annotations_pb2
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, NullValue, Struct, Value

from millimetric.v1 import ingest_service_pb2, options_pb2, privacy_service_pb2, query_service_pb2

_MODULES = (ingest_service_pb2, privacy_service_pb2, query_service_pb2)
_STRUCT = "google.protobuf.Struct"
_PACKAGE = "millimetric.v1."
_OPERATORS = {"": "=", "eq": "=", "ne": "!=", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}


@dataclass(frozen=True)
class Method:
    """A method of the API; one that does not exist has no messages."""

    path: str
    verb: str
    route: str
    request: type[Message] | None
    response: type[Message] | None


@cache
def find_method(name: str) -> Method:
    """Find a method by its name; an unknown one is taken as if it were of IngestService."""
    for module in _MODULES:
        for service in module.DESCRIPTOR.services_by_name.values():
            if (found := service.methods_by_name.get(name)) is not None:
                return _read_method(found)
    return Method(f"/{_PACKAGE}IngestService/{name}", "POST", f"/v1/{name.lower()}", None, None)


def _read_method(method: MethodDescriptor) -> Method:
    verb, route = _read_route(method)
    return Method(
        f"/{method.containing_service.full_name}/{method.name}",
        verb,
        route,
        message_factory.GetMessageClass(method.input_type),
        message_factory.GetMessageClass(method.output_type),
    )


def _read_route(method: MethodDescriptor) -> tuple[str, str]:
    options = method.GetOptions()
    if path := options.Extensions[options_pb2.rpc].get:
        return "GET", path
    rule = options.Extensions[annotations_pb2.http]
    if (verb := rule.WhichOneof("pattern")) is None:
        return "POST", f"/v1/{method.name.lower()}"
    return verb.upper(), getattr(rule, verb)


def to_message(request: dict[str, Any], message: type[Message]) -> Message:
    """Make the generated message; what it has no field for is left out, as a typed client would."""
    wire = _rename(request, message.DESCRIPTOR, is_camel=False, skips_structs=True)
    made = json_format.ParseDict(wire, message(), ignore_unknown_fields=True)
    for name, field in message.DESCRIPTOR.fields_by_name.items():
        if _is_message(field, _STRUCT) and isinstance(request.get(name), dict):
            getattr(made, name).CopyFrom(_make_struct(request[name]))
        elif field.is_repeated and _is_message(field, f"{_PACKAGE}Event"):
            for event, sent in zip(getattr(made, name), request.get(name, ()), strict=True):
                event.CopyFrom(to_message(sent, type(event)))
    return made


def to_proto_json(request: dict[str, Any], message: type[Message] | None) -> dict[str, Any]:
    """Write a request as proto3 JSON, camelCase and full enum names; unknown fields are kept."""
    return request if message is None else _rename(request, message.DESCRIPTOR, is_camel=True)


def to_query(request: dict[str, Any]) -> list[tuple[str, str]]:
    """Write a request as query parameters."""
    pairs = []
    for name, value in request.items():
        if name == "where":
            pairs.append((name, json.dumps(value)))
            continue
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                pairs.append((name, _write_measure(item) if name == "metrics" else _write_filter(item)))
            else:
                pairs.append((name, str(item).lower() if isinstance(item, bool) else str(item)))
    return pairs


def read_message(message: Message) -> dict[str, Any]:
    """Read an answer as REST would write it: snake_case, short enum words, every number a number."""
    content = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    answer: dict[str, Any] = _shorten(content, message.DESCRIPTOR)
    if message.DESCRIPTOR.name == "StatsResponse":
        answer["rows"] = [_flatten(row) for row in answer["rows"]]
    return answer


def _flatten(row: dict[str, Any]) -> dict[str, Any]:
    """A row of Stats with what it has by name as members, as REST has it."""
    named = {**row.pop("properties"), **row.pop("measures")}
    previous = row.pop("previous")
    return {**named, **row, **({"previous": previous} if previous else {})}


def read_rest(text: str) -> Any:
    """Read a REST answer; `properties`, there a text of JSON, becomes the value."""
    content = json.loads(text)
    for row in content.get("rows", []) if isinstance(content, dict) else []:
        if isinstance(row.get("properties"), str):
            row["properties"] = json.loads(row["properties"])
    return content


def _rename(
    content: dict[str, Any], described: Descriptor, *, is_camel: bool, skips_structs: bool = False
) -> dict[str, Any]:
    renamed = {}
    for name, value in content.items():
        field = described.fields_by_name.get(name)
        if field is None:
            renamed[name] = value
        elif not (skips_structs and _is_message(field, _STRUCT)):
            items = [_rename_value(item, field, is_camel) for item in _as_list(value)]
            renamed[field.json_name if is_camel else name] = items if isinstance(value, list) else items[0]
    return renamed


def _rename_value(value: Any, field: FieldDescriptor, is_camel: bool) -> Any:  # noqa: FBT001
    if field.enum_type is not None and isinstance(value, str):
        return _lengthen(value, field.enum_type)
    if isinstance(value, dict) and field.message_type.full_name.startswith(_PACKAGE):
        return _rename(value, field.message_type, is_camel=is_camel, skips_structs=not is_camel)
    return value


def _lengthen(word: str, enum: EnumDescriptor) -> str:
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    full = prefix + word.upper()
    return full if full in enum.values_by_name else word


def _shorten(content: dict[str, Any], described: Descriptor) -> dict[str, Any]:
    shortened = {}
    for name, value in content.items():
        items = [_shorten_value(item, described.fields_by_name[name]) for item in _as_list(value)]
        shortened[name] = items if isinstance(value, list) else items[0]
    return shortened


def _shorten_value(value: Any, field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        prefix = field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
        return value.removeprefix(prefix).lower().replace("unspecified", "")
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        _, one = field.message_type.fields
        return {key: _shorten_value(item, one) for key, item in value.items()}
    if field.message_type is not None and field.message_type.full_name.startswith(_PACKAGE):
        return _shorten(value, field.message_type)
    return int(value) if field.type in (FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_INT64) else value


def _write_measure(one: dict[str, Any]) -> str:
    what = one.get("property") or one.get("event")
    return f"{one['kind']}({what})" if what else str(one["kind"])


def _write_filter(one: dict[str, Any]) -> str:
    op = one.get("op", "")
    return f"{one['column']} {_OPERATORS.get(op, op)} {','.join(one.get('values', []))}".strip()


def _is_message(field: FieldDescriptor, full_name: str) -> bool:
    return field.message_type is not None and field.message_type.full_name == full_name


def _make_struct(content: dict[str, Any]) -> Struct:
    """As json_format does, but what is not JSON (NaN) goes through: a typed client can send it."""
    return Struct(fields={name: _make_value(value) for name, value in content.items()})


def _make_value(value: Any) -> Value:
    if value is None:
        return Value(null_value=NullValue.NULL_VALUE)
    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, int | float):
        return Value(number_value=value)
    if isinstance(value, str):
        return Value(string_value=value)
    if isinstance(value, dict):
        return Value(struct_value=_make_struct(value))
    return Value(list_value=ListValue(values=[_make_value(item) for item in value]))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
