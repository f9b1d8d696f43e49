"""The modules of server/millimetric_server/api/messages: each message and enum of a proto as the server's code sees it.

Three rules say what may be absent, and they are the protos' own words:

* in a request everything may: a number or a text is then None, a list empty, an enum UNSPECIFIED; but in a message that
  stands in lists and trees alone, such as a filter, a text is then empty;
* in an answer what is `optional` may: it is then UNSET, and left out where it is written;
* what stands behind such a field in an answer has a default too: zero, or UNSET for a list.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath

from docs.generator.described import Description
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor

_HEAD = '"""The messages of {path}. Made by `make generate`: don\'t edit it."""'
_EVENT = "millimetric.v1.Event"
_WIDTH = 120
_REASON = "ErrorReason"
_WORDS = {word: f"{word}_" for word in ("from", "and", "or", "not")}  # names that are words of Python
_SCALARS = {
    FieldDescriptor.TYPE_BYTES: ("bytes", 'b""'),
    FieldDescriptor.TYPE_STRING: ("str", '""'),
    FieldDescriptor.TYPE_BOOL: ("bool", "False"),
    FieldDescriptor.TYPE_DOUBLE: ("float", "0.0"),
    **dict.fromkeys(
        (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_UINT64), ("int", "0")
    ),
}
_IMPORTED = {
    "msgspec": ("UNSET", "Raw", "UnsetType", "field"),
    "collections.abc": ("Mapping",),
    "millimetric_server.api.message": ("NO_JSON", "Instant", "Message", "WireEnum"),
}
_SHARED = ("EPOCH", "NO_JSON", "Instant", "Message", "WireEnum", "decode_custom", "encode_custom")


def render_messages(described: Description) -> dict[str, str]:
    """Write the modules, by file name."""
    asked = _find_asked(described)
    files = {_name_module(file): file for file in described.files if _list_kinds(file)}
    homes = {kind.name: module for module, file in files.items() for kind in _list_kinds(file)}
    modules = {f"{module}.py": _render_module(described, file, asked, homes) for module, file in files.items()}
    return {**modules, "__init__.py": _render_package(homes)}


def _find_asked(described: Description) -> Mapping[str, bool]:
    """The names of the messages that requests are made of, and whether each stands in lists and trees alone."""
    asked: dict[str, bool] = {}
    waiting = [(method.input_type, False) for service in described.list_services() for method in service.methods]
    while waiting:
        message, is_item = waiting.pop()
        is_known = message.full_name in asked
        asked[message.full_name] = asked.get(message.full_name, True) and is_item
        if not is_known:
            parts = [(one.message_type, one.is_repeated) for one in message.fields if one.message_type is not None]
            is_tree = any(part is message for part, _ in parts)
            waiting += [(part, is_repeated or is_tree) for part, is_repeated in parts]
    return asked


def _list_kinds(file: FileDescriptor) -> list[Descriptor | EnumDescriptor]:
    """A file's enums and messages, each behind what it is made of. Reasons of errors are a table of their own."""
    kinds: list[Descriptor | EnumDescriptor] = [
        *file.enum_types_by_name.values(),
        *file.message_types_by_name.values(),
    ]
    return sorted((kind for kind in kinds if kind.name != _REASON), key=_measure_depth)


def _name_module(file: FileDescriptor) -> str:
    return PurePath(file.name).stem.removesuffix("_service")


def _render_module(
    described: Description, file: FileDescriptor, asked: Mapping[str, bool], homes: Mapping[str, str]
) -> str:
    body = "\n\n".join(
        _render_enum(described, kind) if isinstance(kind, EnumDescriptor) else _render_message(described, kind, asked)
        for kind in _list_kinds(file)
    )
    needed = set(re.findall(r"\w+", body))
    sources = {source: [name for name in names if name in needed] for source, names in _IMPORTED.items()}
    for name, home in homes.items():
        if name in needed and home != _name_module(file):
            sources.setdefault(f"millimetric_server.api.messages.{home}", []).append(name)
    imports = [f"from {source} import {', '.join(sorted(names))}\n" for source, names in sources.items() if names]
    return _HEAD.format(path=file.name) + "\n\n" + "".join(imports) + "\n\n" + body


def _measure_depth(kind: Descriptor | EnumDescriptor) -> int:
    """How many messages of its file stand before it at least. A message may be made of itself."""
    if isinstance(kind, EnumDescriptor):
        return 0
    parts = [one.message_type for one in kind.fields if one.message_type is not None]
    return 1 + max((_measure_depth(one) for one in parts if one.file is kind.file and one is not kind), default=0)


def _render_enum(described: Description, enum: EnumDescriptor) -> str:
    prefix = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in enum.name).lstrip("_") + "_"
    names = [value.name.removeprefix(prefix) for value in enum.values]
    members = "".join(f'    {name} = "{name.lower() if number else ""}"\n' for number, name in enumerate(names))
    return f"class {enum.name}(WireEnum):\n{_render_docstring(described.comments[enum.full_name])}\n{members}"


def _render_message(described: Description, message: Descriptor, asked: Mapping[str, bool]) -> str:
    event = described.pool.FindMessageTypeByName(_EVENT)
    inherited = _count_inherited(message, event)
    own = message.fields[inherited:]
    is_item = asked.get(message.full_name)
    lines = _render_answer(own) if is_item is None else _render_request(own, is_item=is_item)
    parent = event.name if inherited else "Message"
    body = "".join(f"    {line}\n" for line in lines)
    return f"class {message.name}({parent}):\n{_render_docstring(described.comments[message.full_name])}\n{body}"


def _count_inherited(message: Descriptor, event: Descriptor) -> int:
    """How many fields a flat request repeats of Event: all of them, or none."""
    first = [(one.number, one.name) for one in message.fields[: len(event.fields)]]
    is_flat = message.full_name != event.full_name and first == [(one.number, one.name) for one in event.fields]
    return len(event.fields) if is_flat else 0


def _render_request(fields: Iterable[FieldDescriptor], *, is_item: bool) -> Iterator[str]:
    for one in fields:
        kind, name = _name_type(one, struct="Raw"), _WORDS.get(one.name, one.name)
        if one.message_type is one.containing_type:
            kind = f'"{kind}"'
        if one.is_repeated:
            kind, default = f"list[{kind}]", "field(default_factory=list)"
        elif one.enum_type is not None:
            default = f"{kind}.UNSPECIFIED"
        elif kind == "Raw":
            default = "NO_JSON"
        elif kind == "bool" or (is_item and one.message_type is None):
            default = _SCALARS[one.type][1]
        else:
            kind, default = (f'{kind[:-1]} | None"' if kind.endswith('"') else f"{kind} | None"), "None"
        if name != one.name:
            given = default.removeprefix("field(").removesuffix(")") if one.is_repeated else f"default={default}"
            default = f'field({given}, name="{one.name}")'
        yield f"{name}: {kind} = {default}"


def _render_answer(fields: Iterable[FieldDescriptor]) -> Iterator[str]:
    has_default = False
    for one in fields:
        kind = _name_type(one, struct="str")  # stored properties are the text of an object
        is_map = one.message_type is not None and one.message_type.GetOptions().map_entry
        is_list = one.is_repeated and not is_map
        kind = f"list[{kind}]" if is_list else kind
        is_optional = one.has_presence and one.containing_oneof is not None
        has_default = has_default or is_optional
        if is_optional or (has_default and one.is_repeated):
            yield f"{one.name}: {kind} | UnsetType = UNSET"
        elif has_default:
            yield f"{one.name}: {kind} = {_SCALARS[one.type][1]}"
        else:
            yield f"{one.name}: {kind}"


def _name_type(one: FieldDescriptor, *, struct: str) -> str:
    """The type of one value of a field."""
    if one.message_type is not None and one.message_type.GetOptions().map_entry:
        key, value = one.message_type.fields
        return f"Mapping[{_name_type(key, struct=struct)}, {_name_type(value, struct=struct)}]"
    kind = one.message_type or one.enum_type
    if kind is None:
        return _SCALARS[one.type][0]
    known = {"google.protobuf.Timestamp": "Instant", "google.protobuf.Struct": struct}
    return known.get(kind.full_name, kind.name)


def _render_docstring(comment: str) -> str:
    """The comment if it fits on a line, else its first sentence."""
    is_short = len(comment) <= _WIDTH - len('    """"""')
    first = comment if is_short else comment.partition(". ")[0].rstrip(".") + "."
    return textwrap.indent(textwrap.fill(f'"""{first}"""', _WIDTH - 4) + "\n", "    ")


def _render_package(homes: Mapping[str, str]) -> str:
    lines = [f"from millimetric_server.api.message import {', '.join(_SHARED)}"]
    for module in sorted(set(homes.values())):
        names = ", ".join(sorted(name for name, home in homes.items() if home == module))
        lines.append(f"from millimetric_server.api.messages.{module} import {names}")
    exported = "".join(f'    "{name}",\n' for name in sorted([*homes, *_SHARED]))
    head = '"""All messages of the API, and what they are made of. Made by `make generate`: don\'t edit it."""'
    return head + "\n\n" + "\n".join(lines) + f"\n\n__all__ = [\n{exported}]\n"
