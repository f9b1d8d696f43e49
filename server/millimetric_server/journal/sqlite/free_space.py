"""Free space on the journal's disk: writes stop before it is full, so that waiting events can still be loaded."""

import logging
import shutil
import threading
from pathlib import Path

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.1
_WRITTEN_TIMES = 2  # into the write-ahead log, then into the file


class FreeSpace:
    """Whether a folder's disk has less room than is to be left on it.

    A thread of its own looks ten times a second: callers are on an event loop, and a disk may take long to answer.
    """

    def __init__(self, folder: Path, bytes_min: int) -> None:
        self._folder = folder
        self._bytes_min = bytes_min
        self._free = 0
        self._is_unknown = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="free-space", daemon=True)
        if bytes_min:
            self._look()

    def start(self) -> None:
        """Look again and again from now on."""
        if self._bytes_min:
            self._thread.start()

    def close(self) -> None:
        """Look no more. A disk that does not answer is not waited for."""
        self._closing.set()

    def is_low(self, size: int = 0) -> bool:
        """Tell whether less than `bytes_min` was left a moment ago; if not, `size` bytes are going to be written."""
        if not self._bytes_min:
            return False
        if self._free < self._bytes_min:
            return True
        self._free -= size * _WRITTEN_TIMES
        return False

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
