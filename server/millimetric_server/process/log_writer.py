"""Log lines on their way to standard error: a thread writes them, so that a reader who is slow there stops nobody."""

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
    """Hands each line to a thread. Lines that find no room are lost and counted, and the next that does says so."""

    def __init__(self, file: TextIO, waiting_max: int = _WAITING_MAX) -> None:
        super().__init__()
        self._file = file
        self._lines: queue.Queue[str | None] = queue.Queue(waiting_max)
        self._lost = 0
        self._thread = threading.Thread(target=self._write_lines, name="log-writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Format the line here, where its values are as they were, and leave it to the thread."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._lost += 1
        except Exception:  # noqa: BLE001 - logging's own way to tell of a line that can't be formatted
            self.handleError(record)

    def close(self) -> None:
        """Write what waits, unless nobody takes it."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=_CLOSE_TIMEOUT_S)
            self._thread.join(_CLOSE_TIMEOUT_S)
        super().close()

    def _write_lines(self) -> None:
        while (line := self._lines.get()) is not None:
            if self._lost:
                lost, self._lost = self._lost, 0
                line = f"{lost} log lines were lost: standard error was not read in time\n{line}"
            with contextlib.suppress(OSError, ValueError):  # whoever read standard error is gone
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
