"""Finds which value of a JSON text can't be kept as it is: for errors, never on the way of a good event."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

LEVELS_MAX = 32  # of properties
INTEGER_MAX = 2**53  # beyond it, JSON readers that use doubles return another number
_FREE_FORM = ("properties", "traits")
_TOKENS_MAX = 50_000  # about 40 ms; what lies behind them is not looked for
_TOKEN = re.compile(r'\s*+(?:([{}\[\],:])|("[^"\\]*+(?:\\.[^"\\]*+)*+")|([-+.\w]++))', re.DOTALL)
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_PLAIN = re.compile(r'[^\s."=!<>~]+')
_NAME_CHARS_MAX = 64
_PARTS_SHOWN = 10


class FaultError(ValueError):
    """A value can't be kept: where it is, from the text's beginning, and a sentence for the caller."""

    def __init__(self, path: Sequence[str | int], message: str) -> None:
        super().__init__(message)
        self.path = tuple(path)

    def place_in(self, field: str) -> str:
        """The value's place, seen from the field that holds the text: `properties.cart.items[2]`."""
        return field + write_path(self.path)


@dataclass(slots=True)
class _Level:
    """A list or an object that is open, and the place in it."""

    is_list: bool
    key: str | int = 0
    awaits_key: bool = False


def write_path(path: Sequence[str | int]) -> str:
    """Write a path as filters have it: names with other characters are quoted, and places in lists in brackets."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{_quote(part)}" for part in path[:_PARTS_SHOWN]]
    return "".join(parts) + ("…" if len(path) > _PARTS_SHOWN else "")


def find_fault(text: str) -> FaultError | None:
    """Find the first value of a body that can't be kept; None where there is none that can be named.

    Such are numbers that are not finite, halves of surrogate pairs, and, inside of properties and traits, integers
    beyond 2^53 and more than 32 levels.
    """
    return _Search(text).run()


def find_in_properties(text: str) -> FaultError | None:
    """Find it in the text of a properties object."""
    return _Search(text, base=0).run()


class _Search:
    """Goes through a text token by token, and knows where it is."""

    def __init__(self, text: str, base: int | None = None) -> None:
        self._text = text
        self._levels: list[_Level] = []
        self._base = base  # how many levels lie around the properties

    def run(self) -> FaultError | None:
        try:
            at = 0
            for _ in range(_TOKENS_MAX):
                if (match := _TOKEN.match(self._text, at)) is None:
                    return None
                sign, quoted, word = match.groups()
                if sign:
                    self._take_sign(sign)
                elif quoted:
                    self._take_text(quoted)
                else:
                    self._take_word(word)
                at = match.end()
        except FaultError as fault:
            return fault
        except (IndexError, ValueError):  # is no JSON anyway
            pass
        return None

    @property
    def _path(self) -> list[str | int]:
        return [level.key for level in self._levels]

    def _take_sign(self, sign: str) -> None:
        if sign in "{[":
            depth = len(self._levels)
            if self._base is None and depth and self._levels[-1].key in _FREE_FORM:
                self._base = depth
            if self._base is not None and depth - self._base >= LEVELS_MAX:
                raise FaultError(self._path[: self._base + 1], f"must not be nested deeper than {LEVELS_MAX} levels")
            self._levels.append(_Level(sign == "[", awaits_key=sign == "{"))
        elif sign in "}]":
            self._levels.pop()
            if self._base is not None and len(self._levels) < self._base:
                self._base = None
        elif sign == ",":
            level = self._levels[-1]
            if isinstance(level.key, int) and level.is_list:
                level.key += 1
            level.awaits_key = not level.is_list

    def _take_text(self, quoted: str) -> None:
        text = json.loads(quoted, strict=False)
        level = self._levels[-1]
        if level.awaits_key:
            level.key, level.awaits_key = text, False
        if "\\u" in quoted and _SURROGATE.search(text):
            raise FaultError(self._path, "must not contain half a surrogate pair, which is no character")

    def _take_word(self, word: str) -> None:
        if word in ("true", "false", "null"):
            return
        if word.lstrip("+-") in ("NaN", "Infinity", "inf", "nan"):
            raise FaultError(self._path, f"must not be {word[:16]}, which is not JSON: send null or a string")
        is_integer = word.removeprefix("-").isdecimal()
        if not is_integer and not math.isfinite(float(word)):
            raise FaultError(self._path, "must not be a number out of range")
        if is_integer and self._base is not None and is_too_large(word):
            raise FaultError(self._path, TOO_LARGE)


TOO_LARGE = "must not be an integer beyond 2^53, which loses digits in JSON: send it as a string"


def is_too_large(digits: str) -> bool:
    """Tell whether an integer is beyond 2^53; one of thousands of digits costs nothing."""
    return len(digits) > len(f"-{INTEGER_MAX}") or abs(int(digits)) > INTEGER_MAX


def _quote(name: str) -> str:
    shown = name[:_NAME_CHARS_MAX]
    return shown if _PLAIN.fullmatch(shown) and not _SURROGATE.search(shown) else json.dumps(shown)
