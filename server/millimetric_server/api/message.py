"""The building blocks of messages: times, enums, the base class, and the hooks that msgspec needs."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

import msgspec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_JSON = msgspec.Raw(b"")  # of a free-form object that is absent
_MICROSECOND = timedelta(microseconds=1)


class Instant(int):
    """A time as microseconds since 1970-01-01 UTC."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read RFC 3339 or ISO 8601; no zone means UTC. Raises ValueError with a sentence for the caller."""
        try:
            moment = datetime.fromisoformat(text.upper())
        except ValueError:
            raise ValueError("must be a time such as 2026-01-31T12:00:00Z (RFC 3339)") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return cls((moment - EPOCH) // _MICROSECOND)

    def to_text(self) -> str:
        """Write RFC 3339 in UTC, with as many digits of a second as are needed (0, 3 or 6)."""
        moment = EPOCH + timedelta(microseconds=self)
        precision = "seconds" if self % 1_000_000 == 0 else "milliseconds" if self % 1000 == 0 else "microseconds"
        return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


class WireEnum(StrEnum):
    """An enum of the protos by its short name; the full name, in any case, is understood too."""

    @classmethod
    def _missing_(cls, value: object) -> "WireEnum | None":
        if not isinstance(value, str):
            return None
        word = value.lower()
        for member in cls:
            if word in (member.value, f"{cls.prefix()}{member.value}".lower()):
                return member
        return cls._member_map_.get("UNSPECIFIED") if word == f"{cls.prefix()}unspecified" else None  # type: ignore[return-value]

    @classmethod
    def prefix(cls) -> str:
        """What the protos put before each name, in lower case: `batch_mode_` for BatchMode."""
        words = "".join(f"_{c.lower()}" if c.isupper() else c for c in cls.__name__)
        return words.lstrip("_") + "_"


class Message(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The base of all messages. An absent string is empty; what must not be shown when absent is UNSET.

    Unknown fields are forbidden so that the JSON reader notices other spellings; it leaves out what it can't know.
    """


def decode_custom(kind: type, value: Any) -> Any:
    """Give msgspec the one type it does not know: an Instant from text. Raises ValueError with a sentence."""
    if kind is Instant and isinstance(value, str):
        return Instant.parse(value)
    raise ValueError("must be a time such as 2026-01-31T12:00:00Z (RFC 3339)")


def encode_custom(value: Any) -> Any:
    """Tell msgspec how the one type it does not know is written."""
    if isinstance(value, Instant):
        return value.to_text()
    raise TypeError(f"cannot encode {type(value).__name__}")
