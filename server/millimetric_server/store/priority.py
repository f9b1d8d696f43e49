"""Thread priorities: threads that answer callers precede those that load, merge and read."""

import contextlib
import os
import threading
from collections.abc import Callable

_NICENESS = 10


def lower_priority() -> None:
    """Lower the priority of this thread, and of the threads that it starts, where threads have priorities."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def run_behind(work: Callable[[], None]) -> None:
    """Run it in a thread with less priority, and wait for it. Raises what it raises."""
    failures: list[BaseException] = []

    def run() -> None:
        lower_priority()
        try:
            work()
        except BaseException as failure:  # noqa: BLE001 - it is raised below
            failures.append(failure)

    thread = threading.Thread(target=run, name="store-open")
    thread.start()
    thread.join()
    for failure in failures:
        raise failure
