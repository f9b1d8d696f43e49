"""The most memory that a process has held (Linux)."""

import re
from pathlib import Path


def reset_memory_peak(pid: int | str = "self") -> None:
    """Let the peak begin anew at what is held now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def read_memory_peak(pid: int | str = "self") -> int:
    """The peak in bytes."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) * 1024
