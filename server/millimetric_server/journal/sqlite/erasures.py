"""The table of erasures."""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from sqlite3 import Connection
from typing import Any

import msgspec
import uuid_utils

from millimetric_server.journal.blocks import Leadership
from millimetric_server.journal.erasures import DEAD_LETTERS, Erasure, ErasurePlan, ErasureStage, ForgottenPeople
from millimetric_server.journal.ledger import FORGOTTEN, Outcome
from millimetric_server.journal.sqlite import dead_letters
from millimetric_server.journal.sqlite.connection import Reader
from millimetric_server.journal.sqlite.leadership import check_lead
from millimetric_server.journal.sqlite.ledger import add_to_ledger
from millimetric_server.journal.sqlite.lookups import Lookups
from millimetric_server.journal.sqlite.writer_thread import Transactor

_COLUMNS = (
    "erasure_id, project_id, user_id, anonymous_id, state, requested_at, completed_at, plan, rows_removed, residual"
)


class SqliteErasures:
    """All erasures of this server's journal."""

    def __init__(
        self, reader: Reader, writer: Transactor, lookups: Lookups, check_accepting: Callable[[], None]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._lookups = lookups
        self._check_accepting = check_accepting
        self._people = ForgottenPeople()
        self.projects = self._people.projects
        for erasure in self._select("1 = 1"):
            self._people.add(erasure)

    def request(self, project_id: str, user_id: str, anonymous_id: str, now_us: int) -> "Future[str]":
        """Queue an erasure; the future has its id once it is durable. Raises NotAppendedError."""
        self._check_accepting()
        erasure_id = str(uuid_utils.uuid7())

        def insert(connection: Connection) -> str:
            connection.execute(
                "INSERT INTO erasures (erasure_id, project_id, user_id, anonymous_id, state, requested_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (erasure_id, project_id, user_id, anonymous_id, ErasureStage.QUEUED, now_us),
            )
            return erasure_id

        return self._writer.transact(insert)

    def find(self, project_id: str, erasure_id: str) -> "Future[Erasure | None]":
        """Find an erasure of this project; the future has it, or None."""
        statement = f"SELECT {_COLUMNS} FROM erasures WHERE erasure_id = ? AND project_id = ?"

        def load(connection: Connection) -> Erasure | None:
            row = connection.execute(statement, (erasure_id, project_id)).fetchone()
            return None if row is None else _make(row)

        return self._lookups.submit(load)

    def list_pending(self) -> list[Erasure]:
        """List queued and interrupted erasures, oldest first."""
        return self._select("state <> ?", (ErasureStage.DONE,))

    def plan(self, lead: Leadership, erasure: Erasure, plan: ErasurePlan) -> None:
        """Keep the plan; from now on the loader also drops late replays of what it covers."""
        self._update(lead, erasure, state=ErasureStage.RUNNING, plan=_encode(plan))
        self._people.add(dataclasses.replace(erasure, plan=plan))

    def remove_dead_letters(self, lead: Leadership, erasure: Erasure) -> int:
        """Remove the forgotten people's rows from among the dead letters; returns how many this erasure removed."""

        def remove(connection: Connection) -> int:
            check_lead(connection, lead)
            found = [
                letter.dead_letter_id
                for letter in dead_letters.load(connection, erasure.project_id)
                if any(self.covers(row) for row in letter.unpack())
            ]
            removed = erasure.rows_removed.get(DEAD_LETTERS, 0) + len(found)
            dead_letters.delete(connection, found)
            add_to_ledger(connection, erasure.project_id, Outcome.DROPPED, len(found), FORGOTTEN)
            _write(connection, erasure, rows_removed=_encode({DEAD_LETTERS: removed}))
            return removed

        return self._writer.transact(remove).result()

    def finish(
        self, lead: Leadership, erasure: Erasure, rows_removed: dict[str, int], residual: int, now_us: int
    ) -> None:
        """Close the erasure with its figures."""
        figures = _encode(rows_removed)
        self._update(
            lead, erasure, state=ErasureStage.DONE, rows_removed=figures, residual=residual, completed_at=now_us
        )

    def concern(self, project_id: str) -> bool:
        """Tell whether anybody of the project was forgotten, so that its rows have to be looked at."""
        return self._people.concern(project_id)

    def covers(self, row: Sequence[Any]) -> bool:
        """Tell whether an EventRow (as a list) is of a forgotten person and older than the request."""
        return self._people.covers(row)

    def _update(self, lead: Leadership, erasure: Erasure, **values: object) -> None:
        def update(connection: Connection) -> None:
            check_lead(connection, lead)
            _write(connection, erasure, **values)

        self._writer.transact(update).result()

    def _select(self, condition: str, parameters: Sequence[object] = ()) -> list[Erasure]:
        statement = f"SELECT {_COLUMNS} FROM erasures WHERE {condition} ORDER BY requested_at"
        return [_make(row) for row in self._reader.fetch(statement, parameters)]


def _write(connection: Connection, erasure: Erasure, **values: object) -> None:
    """Change columns of an erasure."""
    assignments = ", ".join(f"{column} = ?" for column in values)
    statement = f"UPDATE erasures SET {assignments} WHERE erasure_id = ?"
    connection.execute(statement, (*values.values(), erasure.erasure_id))


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _make(row: tuple[Any, ...]) -> Erasure:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    values["stage"] = values.pop("state")
    values["plan"] = msgspec.json.decode(values["plan"])
    values["rows_removed"] = msgspec.json.decode(values["rows_removed"])
    return msgspec.convert(values, Erasure)
