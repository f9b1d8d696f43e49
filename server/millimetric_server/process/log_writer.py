"""Writes log lines to standard error on a thread, so that a slow reader there blocks nobody."""

import contextlib
import logging
import queue
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_WAITING_MAX = 10_000
_CLOSE_TIMEOUT_S = 2.0


class LogWriter(logging.Handler):
    """Queues each line for a thread. Lines that do not fit are lost and counted, and the next line says how many."""

    def __init__(self, file: TextIO, waiting_max: int = _WAITING_MAX) -> None:
        super().__init__()
        self._file = file
        self._lines: queue.Queue[str | None] = queue.Queue(waiting_max)
        self._lost = 0
        self._thread = threading.Thread(target=self._write_lines, name="log-writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Format the line now, while its values are unchanged, and queue it for the thread."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._lost += 1
        except Exception:  # noqa: BLE001 - logging's own way to tell of a line that can't be formatted
            self.handleError(record)

    def close(self) -> None:
        """Write the queued lines, unless nobody reads them."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=_CLOSE_TIMEOUT_S)
            self._thread.join(_CLOSE_TIMEOUT_S)
        super().close()

    def _write_lines(self) -> None:
        while (line := self._lines.get()) is not None:
            if self._lost:
                lost, self._lost = self._lost, 0
                line = f"{lost} log lines were lost: standard error was not read in time\n{line}"
            with contextlib.suppress(OSError, ValueError):  # the reader of standard error is gone
                self._file.write(f"{line}\n")
                self._file.flush()


@contextlib.contextmanager
def logging_to_stderr(level: str) -> Iterator[None]:
    """Log to standard error, at this level and above, by a thread."""
    writer = LogWriter(sys.stderr)
    writer.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    root.setLevel(level.upper())
    root.addHandler(writer)
    try:
        yield
    finally:
        root.removeHandler(writer)
        writer.close()
