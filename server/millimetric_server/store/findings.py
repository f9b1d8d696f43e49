"""The findings of an inspection, kept in a file beside the journal so that `doctor` can read them."""

import os
import time
from pathlib import Path

import msgspec

from millimetric_server.process.folders import sync_folder

FILE_NAME = "store_check.json"


class LostDay(msgspec.Struct, frozen=True):
    """A project's UTC day for which roll-ups count more events than there are, by table."""

    project_id: str
    day: str
    events: int
    rollups: dict[str, int]


class Findings(msgspec.Struct):
    """The state of the store at `checked_at` (seconds since 1970; 0: never looked at wholly).

    `broken_parts` are names by table. `lost_days` and `lost_sessions` (by project) can't be rebuilt from the events.
    `fault` says why the last inspection was aborted, if it was.
    """

    checked_at: float = 0.0
    broken_parts: dict[str, list[str]] = {}
    lost_days: list[LostDay] = []
    lost_sessions: dict[str, int] = {}
    rebuilt: dict[str, int] = {}
    retention_days: dict[str, int] = {}
    fault: str = ""

    @property
    def has_lost_events(self) -> bool:
        """Whether stored events are missing: parts of them are broken, or roll-ups count more."""
        return "events" in self.broken_parts or bool(self.lost_days or self.lost_sessions)


def read_findings(folder: Path) -> Findings | None:
    """Read what the last inspection has found; None if there was none, or its file can't be read."""
    try:
        return msgspec.json.decode((folder / FILE_NAME).read_bytes(), type=Findings)
    except (OSError, msgspec.MsgspecError):
        return None


def write_findings(folder: Path, findings: Findings) -> None:
    """Keep them: the whole file or nothing. Raises OSError."""
    draft = folder / f"{FILE_NAME}.{os.getpid()}.{time.time_ns()}"
    try:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(findings), indent=1) + b"\n")
        draft.replace(folder / FILE_NAME)
        sync_folder(folder)
    finally:
        draft.unlink(missing_ok=True)
