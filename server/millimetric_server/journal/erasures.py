"""Erasures: requests, their progress, and the memory that keeps late replays out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from millimetric_server.enrich.event_row import EventRow

DEAD_LETTERS = "dead_letters"  # what was removed of them, among the figures of an erasure
_PROJECT, _USER, _DEVICE, _TIME, _RECEIVED = (
    EventRow.__struct_fields__.index(name)
    for name in ("project_id", "user_id", "anonymous_id", "timestamp", "received_at")
)


class ErasureStage(StrEnum):
    """How far an erasure is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class ErasurePlan:
    """What an erasure touches, kept before the first row goes so that a restart can finish it."""

    devices: tuple[str, ...] = ()
    days: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    rows_before: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Erasure:
    """One request to forget: by user_id or by anonymous_id, the other is empty. Times are microseconds UTC."""

    erasure_id: str
    project_id: str
    user_id: str
    anonymous_id: str
    stage: ErasureStage
    requested_at: int
    completed_at: int | None
    plan: ErasurePlan
    rows_removed: Mapping[str, int]
    residual: int


class ForgottenPeople:
    """Who was forgotten, and when: tells the rows that may not come back."""

    def __init__(self) -> None:
        # (project, id) → time of the newest request. A linked device is forgotten only where it was anonymous.
        self._users: dict[tuple[str, str], int] = {}
        self._devices: dict[tuple[str, str], int] = {}
        self._linked_devices: dict[tuple[str, str], int] = {}
        self.projects: set[str] = set()  # in which anybody was forgotten

    def add(self, erasure: Erasure) -> None:
        """Remember an erasure's person, and the devices of its plan."""
        project_id, asked = erasure.project_id, erasure.requested_at
        self.projects.add(project_id)
        if erasure.user_id:
            _keep_newest(self._users, (project_id, erasure.user_id), asked)
        else:
            _keep_newest(self._devices, (project_id, erasure.anonymous_id), asked)
        for device in erasure.plan.devices:
            _keep_newest(self._linked_devices, (project_id, device), asked)

    def concern(self, project_id: str) -> bool:
        """Tell whether anybody of the project was forgotten, so that its rows have to be looked at."""
        return project_id in self.projects

    def covers(self, row: Sequence[Any]) -> bool:
        """Tell whether an EventRow (as a list) is of a forgotten person and older than the request."""
        device = row[_PROJECT], row[_DEVICE]
        if user_id := row[_USER]:
            asked = self._users.get((row[_PROJECT], user_id), 0)
        else:
            asked = self._linked_devices.get(device, 0)
        asked = max(asked, self._devices.get(device, 0))
        return asked > 0 and (row[_RECEIVED] <= asked or row[_TIME] < asked)


def _keep_newest(times: dict[tuple[str, str], int], key: tuple[str, str], time: int) -> None:
    times[key] = max(time, times.get(key, 0))
