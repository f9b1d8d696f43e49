"""Room on the journal's disk: writes end before it is full, so that what is there can still be loaded and dropped."""

import shutil
import time
from pathlib import Path

_CHECK_S = 0.1


class FreeSpace:
    """Whether a folder's disk has less room than is to be left on it; looked up at most ten times a second."""

    def __init__(self, folder: Path, bytes_min: int) -> None:
        self._folder = folder
        self._bytes_min = bytes_min
        self._asked_at = 0.0
        self._is_low = False

    def is_low(self) -> bool:
        """Tell whether less than `bytes_min` is free."""
        now = time.monotonic()
        if self._bytes_min and now - self._asked_at > _CHECK_S:
            self._asked_at = now
            self._is_low = shutil.disk_usage(self._folder).free < self._bytes_min
        return self._is_low
