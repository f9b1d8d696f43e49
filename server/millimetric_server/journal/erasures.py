"""The people to forget: requests, how far each is, and the memory that keeps late replays out."""

from collections.abc import Sequence
from concurrent.futures import Future
from sqlite3 import Connection
from typing import Any

import msgspec
import uuid_utils

from millimetric_server.api.messages import ErasureState
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.journal import dead_letters
from millimetric_server.journal.journal import Journal
from millimetric_server.journal.ledger import FORGOTTEN, Outcome, count_events

_FIELDS = (
    "erasure_id, project_id, user_id, anonymous_id, state, requested_at, completed_at, plan, rows_removed, residual"
)
DEAD_LETTERS = "dead_letters"
_PROJECT, _USER, _DEVICE, _TIME, _RECEIVED = (
    EventRow.__struct_fields__.index(name)
    for name in ("project_id", "user_id", "anonymous_id", "timestamp", "received_at")
)


class Plan(msgspec.Struct, frozen=True):
    """What an erasure touches, kept before the first row goes so that a restart can finish it."""

    devices: tuple[str, ...] = ()
    days: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    rows_before: dict[str, int] = {}


class Erasure(msgspec.Struct, frozen=True):
    """One request to forget: by user_id or by anonymous_id, the other is empty. Times are microseconds UTC."""

    erasure_id: str
    project_id: str
    user_id: str
    anonymous_id: str
    state: ErasureState
    requested_at: int
    completed_at: int | None
    plan: Plan
    rows_removed: dict[str, int]
    residual: int


class Erasures:
    """All erasures of this server's journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        # (project, id) → time of the newest request. A linked device is forgotten only where it was anonymous.
        self._users: dict[tuple[str, str], int] = {}
        self._devices: dict[tuple[str, str], int] = {}
        self._linked_devices: dict[tuple[str, str], int] = {}
        self._projects: set[str] = set()
        for erasure in self._select("1 = 1"):
            self._remember(erasure)

    def request(self, project_id: str, user_id: str, anonymous_id: str, now_us: int) -> "Future[str]":
        """Queue an erasure; the future has its id once it is durable. Raises AppError overloaded."""
        self._journal.check_accepting()
        erasure_id = str(uuid_utils.uuid7())

        def insert(connection: Connection) -> str:
            connection.execute(
                "INSERT INTO erasures (erasure_id, project_id, user_id, anonymous_id, state, requested_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (erasure_id, project_id, user_id, anonymous_id, ErasureState.QUEUED, now_us),
            )
            return erasure_id

        return self._journal.transact(insert)

    def find(self, project_id: str, erasure_id: str) -> "Future[Erasure | None]":
        """Find an erasure of this project; the future has it, or None."""
        statement = f"SELECT {_FIELDS} FROM erasures WHERE erasure_id = ? AND project_id = ?"

        def read(connection: Connection) -> Erasure | None:
            row = connection.execute(statement, (erasure_id, project_id)).fetchone()
            return None if row is None else _read_erasure(row)

        return self._journal.lookups.submit(read)

    def read_pending(self) -> list[Erasure]:
        """List what is queued or was cut short, oldest first."""
        return self._select("state <> ?", (ErasureState.DONE,))

    def mark_running(self, erasure: Erasure, plan: Plan) -> None:
        """Keep the plan; from now on the loader also drops late replays of what it covers."""
        self._update(erasure, "state = ?, plan = ?", (ErasureState.RUNNING, msgspec.json.encode(plan).decode()))
        self._remember(msgspec.structs.replace(erasure, plan=plan))

    def remove_dead_letters(self, erasure: Erasure) -> int:
        """Remove the forgotten people's rows from among the dead letters; returns how many this erasure removed."""

        def remove(connection: Connection) -> int:
            found = [
                letter.dead_letter_id
                for letter in dead_letters.read(connection, project_id=erasure.project_id)
                if any(self.covers(row) for row in letter.unpack())
            ]
            removed = erasure.rows_removed.get(DEAD_LETTERS, 0) + len(found)
            dead_letters.delete(connection, found)
            count_events(connection, erasure.project_id, Outcome.DROPPED, len(found), FORGOTTEN)
            figures = msgspec.json.encode({DEAD_LETTERS: removed}).decode()
            connection.execute(
                "UPDATE erasures SET rows_removed = ? WHERE erasure_id = ?", (figures, erasure.erasure_id)
            )
            return removed

        removed: int = self._journal.transact(remove).result()
        return removed

    def concern(self, project_id: str) -> bool:
        """Tell whether anybody of the project was forgotten, so that its rows have to be looked at."""
        return project_id in self._projects

    def mark_done(self, erasure: Erasure, rows_removed: dict[str, int], residual: int, now_us: int) -> None:
        """Close the erasure with its figures."""
        figures = msgspec.json.encode(rows_removed).decode()
        self._update(
            erasure,
            "state = ?, rows_removed = ?, residual = ?, completed_at = ?",
            (ErasureState.DONE, figures, residual, now_us),
        )

    def covers(self, row: Sequence[Any]) -> bool:
        """Tell whether an EventRow (as a list) is of a forgotten person and older than the request."""
        device = row[_PROJECT], row[_DEVICE]
        if user_id := row[_USER]:
            asked = self._users.get((row[_PROJECT], user_id), 0)
        else:
            asked = self._linked_devices.get(device, 0)
        asked = max(asked, self._devices.get(device, 0))
        return asked > 0 and (row[_RECEIVED] <= asked or row[_TIME] < asked)

    def _remember(self, erasure: Erasure) -> None:
        project_id, asked = erasure.project_id, erasure.requested_at
        self._projects.add(project_id)
        if erasure.user_id:
            _keep_newest(self._users, (project_id, erasure.user_id), asked)
        else:
            _keep_newest(self._devices, (project_id, erasure.anonymous_id), asked)
        for device in erasure.plan.devices:
            _keep_newest(self._linked_devices, (project_id, device), asked)

    def _update(self, erasure: Erasure, assignments: str, values: Sequence[Any]) -> None:
        statement = f"UPDATE erasures SET {assignments} WHERE erasure_id = ?"
        self._journal.transact(lambda connection: connection.execute(statement, (*values, erasure.erasure_id))).result()

    def _select(self, condition: str, parameters: Sequence[Any] = ()) -> list[Erasure]:
        rows = self._journal.read(f"SELECT {_FIELDS} FROM erasures WHERE {condition} ORDER BY requested_at", parameters)
        return [_read_erasure(row) for row in rows]


def _keep_newest(times: dict[tuple[str, str], int], key: tuple[str, str], time: int) -> None:
    times[key] = max(time, times.get(key, 0))


def _read_erasure(row: tuple[Any, ...]) -> Erasure:
    values = dict(zip(_FIELDS.split(", "), row, strict=True))
    values["plan"] = msgspec.json.decode(values["plan"])
    values["rows_removed"] = msgspec.json.decode(values["rows_removed"])
    return msgspec.convert(values, Erasure)
