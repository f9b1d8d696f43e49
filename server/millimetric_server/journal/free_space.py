"""Room on the journal's disk: writes end before it is full, so that what is there can still be loaded and dropped."""

import shutil
import time
from pathlib import Path

_LOOK_EVERY_S = 0.1
_WRITTEN_TIMES = 2  # into the write-ahead log, then into the file


class FreeSpace:
    """Whether a folder's disk has less room than is to be left on it. Looked up ten times a second at most."""

    def __init__(self, folder: Path, bytes_min: int) -> None:
        self._folder = folder
        self._bytes_min = bytes_min
        self._looked_at = -_LOOK_EVERY_S
        self._free = 0

    def is_low(self, size: int = 0) -> bool:
        """Tell whether less than `bytes_min` is left; if not, `size` bytes are going to be written."""
        if not self._bytes_min:
            return False
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at, self._free = now, shutil.disk_usage(self._folder).free
        if self._free < self._bytes_min:
            return True
        self._free -= size * _WRITTEN_TIMES
        return False
