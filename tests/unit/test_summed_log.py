"""A summed log: the first line at once, then a count by reason, at most one line an interval, and nothing lost."""

import logging
import threading
import time
from collections.abc import Iterator

import pytest

from millimetric_server.process.summed_log import SummedLog
from support.waiting import wait_until

LOG = logging.getLogger("millimetric_server.tests.summed")
_SECRET = "sk_live_of_a_caller"


@pytest.fixture
def lines() -> Iterator[list[logging.LogRecord]]:
    """What is logged, as it is logged."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    yield records
    LOG.removeHandler(handler)


def note(summed: SummedLog, reason: str, times: int) -> None:
    for number in range(times):
        summed.note(reason, lambda number=number: f"{reason} of call {number}")  # type: ignore[misc]


def test_the_first_line_comes_at_once_and_the_others_are_counted_by_reason(lines: list[logging.LogRecord]) -> None:
    summed = SummedLog(LOG, logging.INFO, "calls without a valid key", interval_s=60)
    note(summed, "invalid_api_key", 1000)
    note(summed, "malformed_api_key", 20)
    assert [line.getMessage() for line in lines] == ["invalid_api_key of call 0"]
    summed.flush()
    assert [line.getMessage() for line in lines][1:] == [
        "calls without a valid key: 1019 more within 60 s (invalid_api_key 999, malformed_api_key 20)"
    ]
    summed.flush()
    assert len(lines) == 2


def test_a_flood_is_one_line_an_interval_and_every_call_is_counted(lines: list[logging.LogRecord]) -> None:
    summed = SummedLog(LOG, logging.INFO, "refused", interval_s=0.1)
    began_s = time.monotonic()
    callers = [threading.Thread(target=note, args=(summed, "invalid_api_key", 2000)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    summed.flush()
    counted = 0
    for line in lines:
        message = line.getMessage()
        counted += int(message.split()[1]) if message.startswith("refused: ") else 1
    assert counted == 8000
    assert len(lines) <= 3 + (time.monotonic() - began_s) / 0.1


def test_the_summary_comes_by_itself_and_quiet_follows(lines: list[logging.LogRecord]) -> None:
    summed = SummedLog(LOG, logging.INFO, "refused", interval_s=0.05)
    note(summed, "invalid_api_key", 3)
    wait_until(lambda: len(lines) == 2, "a summary")
    assert lines[1].getMessage() == "refused: 2 more within 0.05 s (invalid_api_key 2)"

    def is_told_at_once() -> bool:  # an interval without any ends the summing, and then the next line comes at once
        time.sleep(0.3)
        note(summed, "invalid_api_key", 1)
        return lines[-1].getMessage() == "invalid_api_key of call 0" and len(lines) > 2

    wait_until(is_told_at_once, "a line that comes at once")


def test_a_level_that_is_off_costs_no_thread_and_no_line(lines: list[logging.LogRecord]) -> None:
    threads = threading.active_count()
    summed = SummedLog(LOG, logging.DEBUG, "refused")
    note(summed, "invalid_api_key", 100)
    summed.flush()
    assert not lines
    assert threading.active_count() == threads
