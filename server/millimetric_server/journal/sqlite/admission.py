"""Decides whether a write may be acknowledged: the journal and the disk have room, and nothing forbids it."""

from millimetric_server.journal.errors import JournalFullError, JournalUnavailableError, NotAppendedError
from millimetric_server.journal.sqlite.free_space import FreeSpace

_RETRY_S = 5.0


class Admission:
    """Refuses writes before anything of them is stored. `waiting_bytes` is kept by the writer's thread."""

    def __init__(self, bytes_max: int, free_space: FreeSpace) -> None:
        self._bytes_max = bytes_max
        self._free_space = free_space
        self._reasons: dict[str, str] = {}
        self.waiting_bytes = 0

    @property
    def words(self) -> list[str]:
        """The reasons, one word each, why no write may be acknowledged although the disk would take it."""
        return list(self._reasons)

    @property
    def is_open(self) -> bool:
        """Whether nothing speaks against a write."""
        return not self._reasons and self.waiting_bytes < self._bytes_max and not self._free_space.is_low()

    def refuse(self, word: str, reason: str) -> None:
        """Acknowledge no more writes, for this reason, until `accept` with the same word."""
        self._reasons[word] = reason

    def accept(self, word: str) -> None:
        """Acknowledge writes again, as far as this reason is concerned."""
        self._reasons.pop(word, None)

    def check_reasons(self) -> None:
        """Raise JournalUnavailableError while no write may be acknowledged."""
        for reason in list(self._reasons.values()):
            raise JournalUnavailableError(reason, _RETRY_S)

    def find_refusal(self, size: int) -> NotAppendedError | None:
        """Find why so many bytes may not be appended."""
        for reason in list(self._reasons.values()):
            return JournalUnavailableError(reason, _RETRY_S)
        if self.waiting_bytes + size > self._bytes_max:
            return JournalFullError("the journal is full, because ClickHouse does not take events", _RETRY_S)
        if self._free_space.is_low(size):
            return JournalFullError("the journal's disk is almost full", _RETRY_S)
        return None
