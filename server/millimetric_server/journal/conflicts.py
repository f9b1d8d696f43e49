"""Counts event ids that were sent again with different content, and logs them: one line per project and minute."""

import logging
import time
from collections import Counter
from collections.abc import Callable

log = logging.getLogger(__name__)

_LOG_EVERY_S = 60.0


class ConflictLog:
    """Logs the first conflict of a project at once, and those of the next minute together: a caller can make many."""

    def __init__(self, read_clock_s: Callable[[], float] = time.monotonic) -> None:
        self._read_clock_s = read_clock_s
        self._logged_at: dict[str, float] = {}
        self._unlogged = Counter[str]()
        self.count = 0

    def note(self, project_id: str) -> None:
        """Count a conflict."""
        self.count += 1
        self._unlogged[project_id] += 1
        logged_at = self._logged_at.get(project_id)
        if logged_at is None or self._read_clock_s() - logged_at >= _LOG_EVERY_S:
            self._log(project_id)

    def flush(self) -> None:
        """Log what came since the last line of each project, where that is a minute old. Call it now and then."""
        now = self._read_clock_s()
        for project_id, logged_at in list(self._logged_at.items()):
            if now - logged_at >= _LOG_EVERY_S:
                del self._logged_at[project_id]
                if self._unlogged[project_id]:
                    self._log(project_id)

    def _log(self, project_id: str) -> None:
        log.warning(
            "project %s: event ids were sent again with different content (%d since the last line); the first is kept",
            project_id,
            self._unlogged.pop(project_id),
        )
        self._logged_at[project_id] = self._read_clock_s()
