"""Decides whether a write may be acknowledged: the journal and the disk have room, and nothing forbids it.

Writes stop before the disk is full, so that waiting events can still be loaded.
"""

import logging
import math
import shutil
import threading
from pathlib import Path

from millimetric_server.journal.errors import JournalFullError, JournalUnavailableError, NotAppendedError

log = logging.getLogger(__name__)

_RETRY_S = 5.0
_LOOK_EVERY_S = 0.1
_WRITTEN_TIMES = 2  # into the write-ahead log, then into the file


class Admission:
    """Refuses writes before anything of them is stored. `waiting_bytes` is kept by the writer's thread.

    A thread of its own looks ten times a second how much room the folder's disk has: callers are on an event loop, and
    a disk may take long to answer.
    """

    def __init__(self, bytes_max: int, folder: Path, free_bytes_min: int) -> None:
        """Leave so many bytes of the disk free; with 0 nobody looks at it."""
        self._bytes_max = bytes_max
        self._folder = folder
        self._free_min = free_bytes_min
        self._free: float = math.inf  # a moment ago, less what is going to be written
        self._is_unknown = False
        self._reasons: dict[str, str] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="free-space", daemon=True)
        self.waiting_bytes = 0
        if free_bytes_min:
            self._look()

    def start(self) -> None:
        """Look at the disk again and again from now on."""
        if self._free_min:
            self._thread.start()

    def close(self) -> None:
        """Look no more. A disk that does not answer is not waited for."""
        self._closing.set()

    @property
    def words(self) -> list[str]:
        """The reasons, one word each, why no write may be acknowledged although the disk would take it."""
        return list(self._reasons)

    @property
    def is_open(self) -> bool:
        """Whether nothing speaks against a write."""
        return not self._reasons and self.waiting_bytes < self._bytes_max and self._free >= self._free_min

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
        """Find why so many bytes may not be appended; without a reason they are going to be written."""
        for reason in list(self._reasons.values()):
            return JournalUnavailableError(reason, _RETRY_S)
        if self.waiting_bytes + size > self._bytes_max:
            return JournalFullError("the journal is full, because ClickHouse does not take events", _RETRY_S)
        if self._free < self._free_min:
            return JournalFullError("the journal's disk is almost full", _RETRY_S)
        self._free -= size * _WRITTEN_TIMES
        return None

    def _watch(self) -> None:
        while not self._closing.wait(_LOOK_EVERY_S):
            self._look()

    def _look(self) -> None:
        try:
            self._free, self._is_unknown = shutil.disk_usage(self._folder).free, False
        except OSError as error:
            if not self._is_unknown:
                log.error("can't read how much space the journal's disk has, so it counts as full: %s", error)  # noqa: TRY400 - the sentence is enough
            self._free, self._is_unknown = 0, True
