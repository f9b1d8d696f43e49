"""Log lines stop nobody: not when whoever reads standard error is slow, and not when it is gone."""

import io
import logging
import threading

from millimetric_server.process.log_writer import LogWriter


class _Stuck(io.StringIO):
    """A file that takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.is_free = threading.Event()

    def write(self, text: str) -> int:
        self.is_free.wait(30)
        return super().write(text)


def _make_record(number: int) -> logging.LogRecord:
    return logging.LogRecord("test", logging.INFO, __file__, 1, "line %d", (number,), None)


def test_lines_are_written_in_order() -> None:
    file = io.StringIO()
    writer = LogWriter(file)
    for number in range(100):
        writer.emit(_make_record(number))
    writer.close()
    assert file.getvalue().splitlines() == [f"line {number}" for number in range(100)]


def test_a_file_that_takes_nothing_holds_nobody_up_and_what_is_lost_is_told() -> None:
    file = _Stuck()
    writer = LogWriter(file, waiting_max=5)
    for number in range(100):
        writer.emit(_make_record(number))
    file.is_free.set()
    writer.close()
    lines = file.getvalue().splitlines()
    (told,) = [line for line in lines if "lost" in line]
    kept = [line for line in lines if line.startswith("line ")]
    assert int(told.split()[0]) == 100 - len(kept)
    assert len(kept) in (5, 6)


def test_a_file_that_is_gone_raises_nothing() -> None:
    file = io.StringIO()
    file.close()
    writer = LogWriter(file)
    writer.emit(_make_record(1))
    writer.close()
