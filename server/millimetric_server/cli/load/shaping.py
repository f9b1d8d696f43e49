"""Turns a record's names and values into an event: which name goes where, and which names go nowhere."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import fields

from millimetric_server.api.messages import Event, StoredEvent
from millimetric_server.cli.load.times import read_time

TEXT_FIELDS = (
    "event",
    "event_id",
    "timestamp",
    "anonymous_id",
    "user_id",
    "session_id",
    "url",
    "path",
    "referrer",
)
CONTEXT_FIELDS = ("context.ip", "context.user_agent")
PROPERTY = "properties."
# What the server makes of an event, and an export of ours has: it is made again.
DERIVED = tuple(one.name for one in fields(StoredEvent) if one.name not in {known.name for known in fields(Event)})
_OWN_EXPORT = {"event", "event_id", "received_at", "source_rule_id", "ip_hash"}
# A cell is a number only if JSON would write it so: 0123 (a postcode) and 1e5 stay text.
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,12})?")
# What an export of ours puts an apostrophe in front of (docs/api/rest.md): taking one off gives what was stored.
_NEUTRALISED = re.compile(r"""'(?:[\s\u200b-\u200f\ufeff\x00-\x1f"'`]*[=+\-@＝＋－＠]|'*[\t\r\n])""")  # noqa: RUF001 - wide forms are meant
_TARGET = re.compile(r"properties\..+", re.DOTALL)


class MappingError(ValueError):
    """A `--map` can't be understood; the message is a sentence."""


def parse_map(texts: Sequence[str]) -> dict[str, str]:
    """Read FROM=TO pairs; an empty TO leaves the name out. Raises MappingError."""
    found: dict[str, str] = {}
    for text in texts:
        name, sign, target = text.partition("=")
        name, target = name.strip(), target.strip()
        is_known = target in ("", "properties", *TEXT_FIELDS, *CONTEXT_FIELDS) or _TARGET.fullmatch(target)
        if not sign or not name or not is_known:
            known = ", ".join((*TEXT_FIELDS, *CONTEXT_FIELDS))
            raise MappingError(
                f"--map {text}: must be FROM=TO; TO is properties.NAME, one of {known}, or nothing to leave it out"
            )
        found[name] = target
    return found


@dataclass
class Shaper:
    """Knows where names go, and counts those that go nowhere and the derived ones."""

    renamed: Mapping[str, str] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    derived: Counter[str] = field(default_factory=Counter)
    left_out: int = 0  # records without an event

    def find_place(self, name: str, *, is_own_export: bool, is_cell: bool) -> str:
        """Find where a name goes: a field, `properties.…`, or nothing; see `describe_place`."""
        if name in self.renamed:
            return self.renamed[name]
        if name in (*TEXT_FIELDS, *CONTEXT_FIELDS, "properties") or name.startswith(PROPERTY):
            return name
        if name in DERIVED and (is_own_export or not is_cell):
            return ""
        return f"{PROPERTY}{name}" if is_cell else ""

    def list_places(self, header: Sequence[str]) -> list[tuple[str, str]]:
        """List where the columns of a CSV file go."""
        is_own_export = is_export(header)
        return [(name, self.find_place(name, is_own_export=is_own_export, is_cell=True)) for name in header]

    def shape_cells(
        self, places: Sequence[tuple[str, str]], cells: Sequence[str], *, is_own_export: bool
    ) -> dict[str, Any]:
        """Sort cells into an event. Raises ValueError with a sentence, of properties that are no object."""
        shaped: dict[str, Any] = {}
        loose: dict[str, Any] = {}
        properties: dict[str, Any] = {}
        for (name, place), cell in zip(places, cells, strict=False):
            if not place and cell and name in DERIVED:
                self.derived[name] += 1
            if not cell or not place:
                continue
            text = cell[1:] if is_own_export and _NEUTRALISED.match(cell) else cell
            if place == "properties":
                properties = _read_object(text)
            elif place in CONTEXT_FIELDS:
                shaped.setdefault("context", {})[place.removeprefix("context.")] = text
            elif place.startswith(PROPERTY):
                loose[place.removeprefix(PROPERTY)] = _read_value(text)
            else:
                shaped[place] = text
        if properties or loose:
            shaped["properties"] = properties | loose
        return shaped

    def shape_object(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Sort the members of a JSON object into an event; what is mapped may lie deeper, `context.page.url`."""
        left = dict(content)
        found = {name: _take(left, name.split(".")) for name in self.renamed}
        shaped = {name: value for name, value in left.items() if self._is_known(name)}
        properties = shaped.get("properties")
        for name, value in found.items():
            place = self.renamed[name]
            if value is None or value == "" or not place:
                continue
            if place.startswith(PROPERTY):
                properties = properties if isinstance(properties, dict) else {}
                properties[place.removeprefix(PROPERTY)] = value
            elif place in CONTEXT_FIELDS:
                shaped.setdefault("context", {})[place.removeprefix("context.")] = value
            elif place == "properties" and isinstance(value, dict) and isinstance(properties, dict):
                properties = value | properties
            elif place == "properties":
                properties = value
            else:
                shaped[place] = value if isinstance(value, str) or place == "timestamp" else str(value)
        if properties is not None:
            shaped["properties"] = properties
        return shaped

    def _is_known(self, name: str) -> bool:
        if name in JSON_NAMES:
            return True
        (self.derived if name in DERIVED else self.unknown)[name] += 1
        return False


def _list_json_names() -> Iterator[str]:
    for one in fields(Event):
        first, *rest = one.encode_name.split("_")
        yield one.encode_name
        yield first + "".join(word.capitalize() for word in rest)


JSON_NAMES = frozenset(_list_json_names())


def is_export(header: Sequence[str]) -> bool:
    """Tell whether a CSV file is an export of ours."""
    return set(header) >= _OWN_EXPORT


def write_time(value: Any) -> str:
    """Write a time of a record as JSON has it. Raises ValueError with a sentence."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a time")  # noqa: TRY004 - a sentence for the row's reader
    return read_time(str(value)).isoformat()


def _take(content: dict[str, Any], path: Sequence[str]) -> Any:
    """Take a value out by its name or path; None where there is none. Objects around it are copied, not changed."""
    whole = ".".join(path)
    if whole in content:
        return content.pop(whole)
    first, rest = path[0], path[1:]
    inner = content.get(first)
    if not rest or not isinstance(inner, dict):
        return None
    content[first] = inner = dict(inner)
    return _take(inner, rest)


def _read_object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("must be a JSON object") from None


def _read_value(cell: str) -> str | bool | int | float:
    if cell in ("true", "false"):
        return cell == "true"
    if _NUMBER.fullmatch(cell):
        return float(cell) if "." in cell else int(cell)
    return cell
