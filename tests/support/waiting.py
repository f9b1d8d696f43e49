"""Waiting for what other processes do: as long as there is progress, however busy the machine is."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Reading = TypeVar("Reading")

PATIENCE_S = 60.0
_INTERVAL_S = 0.05


def wait_until(
    condition: Callable[[], bool],
    wanted: str | Callable[[], str],
    *,
    progress: Callable[[], object] | None = None,
    patience_s: float = PATIENCE_S,
) -> None:
    """Wait for the condition; fail with what was wanted when `progress` has read the same for `patience_s`.

    Without a reading of progress there is none: what is waited for takes a moment, and a busy machine some seconds.
    """
    reading, gives_up_at = None if progress is None else progress(), time.monotonic() + patience_s
    while not condition():
        if progress is not None and (now := progress()) != reading:
            reading, gives_up_at = now, time.monotonic() + patience_s
        assert time.monotonic() < gives_up_at, wanted if isinstance(wanted, str) else wanted()
        time.sleep(_INTERVAL_S)


def wait_until_equal(read: Callable[[], Reading], wanted: Reading, details: Callable[[], str] = str) -> None:
    """Wait until it reads as wanted. It may take any time while the reading changes."""
    reading = read()

    def is_reached() -> bool:
        nonlocal reading
        reading = read()
        return reading == wanted

    wait_until(is_reached, lambda: f"{wanted}, not {reading}\n{details()}", progress=lambda: reading)


def wait_until_none(count: Callable[[], int], wanted: str) -> None:
    """Wait until nothing is left. It may take any time while it gets less."""
    left = count()

    def is_nothing_left() -> bool:
        nonlocal left
        left = count()
        return left == 0

    wait_until(is_nothing_left, lambda: f"{wanted}: {left} are left", progress=_read_least(lambda: left))


def communicate(process: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
    """Wait for a process to end, and return its output and errors. It may take any time while it uses its CPU."""
    used = _read_ticks(process)
    while True:
        try:
            return process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            if (now := _read_ticks(process)) == used:
                raise
            used = now


def _read_ticks(process: "subprocess.Popen[bytes]") -> list[str]:
    """A process's CPU time until now, where the system tells it."""
    try:
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    except OSError:
        return []


def _read_least(count: Callable[[], int]) -> Callable[[], int]:
    """The least count so far: what goes up and down again is no progress."""
    least = count()

    def read() -> int:
        nonlocal least
        least = min(least, count())
        return least

    return read
