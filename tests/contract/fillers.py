"""Fills in what case files write in double braces; the words are those of contract_case.proto."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

_FILLER = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_TIMES = re.compile(r"(.+)\*(\d+)", re.DOTALL)
_NOW = re.compile(r"now(?:([+-]\d+)([smhd]))?(:day|:date)?")
_NEST = re.compile(r"nest:(\d+)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Fillers:
    """The values that fillers stand for in one run of one case."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = dict(names)
        # One moment for the whole case, so that what is sent can be looked for; with digits that no text drops.
        self._now = (datetime.now(UTC) - timedelta(seconds=1)).replace(microsecond=123_456)
        self.answer: Any = {}

    def fill(self, value: Any) -> Any:
        """Return a copy of a JSON value with every filler replaced, and repeated parts of lists repeated."""
        if isinstance(value, str):
            return _FILLER.sub(lambda match: self._find(match[1]), value)
        if isinstance(value, dict):
            return {self.fill(name): self.fill(item) for name, item in value.items()}
        if isinstance(value, list):
            return [filled for item in value for filled in self._fill_item(item)]
        return value

    def _fill_item(self, item: Any) -> list[Any]:
        if not (isinstance(item, dict) and "$times" in item):
            return [self.fill(item)]
        copies = []
        for index in range(item["$times"]):
            self._names["i"] = str(index)
            copies.append(self.fill(item["$of"]))
        return copies

    def _find(self, text: str) -> str:
        if text in self._names:
            return self._names[text]
        if match := _TIMES.fullmatch(text):
            return match[1] * int(match[2])
        if match := _NOW.fullmatch(text):
            shift = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match[1] else timedelta()
            moment = (self._now + shift).isoformat().replace("+00:00", "Z")
            return {":day": f"{moment[:10]}T00:00:00Z", ":date": moment[:10]}.get(match[3], moment)
        if match := _NEST.fullmatch(text):
            return make_nested(int(match[1]))
        assert text.startswith("answer."), f"there is no filler {text!r}"
        return str(_walk(self.answer, text.split(".")[1:]))


def make_nested(levels: int) -> str:
    """Write a JSON object that is so many levels deep; one level is `{}`."""
    return '{"a":' * (levels - 1) + "{}" + "}" * (levels - 1)


def _walk(value: Any, path: list[str]) -> Any:
    for part in path:
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value
