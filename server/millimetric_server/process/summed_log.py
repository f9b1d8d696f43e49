"""Rate-limits log lines that callers can cause: the first is logged at once, then a count per interval.

One SummedLog stands for one kind of line. `note` costs a lock and an addition; any thread may call it.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable

INTERVAL_S = 10.0


class SummedLog:
    """Writes the first line as it comes, and at most one an interval after it, with a count by reason.

    Reasons are a few fixed words, never anything that a caller sent.
    """

    def __init__(self, log: logging.Logger, level: int, what: str, *, interval_s: float = INTERVAL_S) -> None:
        """`what` begins the summary, such as "calls refused"."""
        self._log = log
        self._level = level
        self._what = what
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._timer: threading.Timer | None = None

    def note(self, reason: str, describe: Callable[[], str]) -> None:
        """Log what `describe` returns, or count it for the next summary if a line was written a moment ago."""
        if not self._log.isEnabledFor(self._level):
            return
        with self._lock:
            is_first = self._timer is None
            if is_first:
                self._wait()
            else:
                self._counts[reason] += 1
        if is_first:
            self._log.log(self._level, "%s", describe())

    def flush(self) -> None:
        """Write the summary now, if something was counted: at the end of a server."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        self._write(counts)

    def _wait(self) -> None:
        self._timer = threading.Timer(self._interval_s, self._end_interval)
        self._timer.daemon = True
        self._timer.name = "summed-log"
        self._timer.start()

    def _end_interval(self) -> None:
        with self._lock:
            counts, self._counts = self._counts, Counter()
            self._timer = None
            if counts:
                self._wait()
        self._write(counts)

    def _write(self, counts: Counter[str]) -> None:
        if counts:
            parts = ", ".join(f"{reason} {count}" for reason, count in counts.most_common())
            self._log.log(
                self._level, "%s: %d more within %g s (%s)", self._what, counts.total(), self._interval_s, parts
            )
