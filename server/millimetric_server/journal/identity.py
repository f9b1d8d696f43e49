"""Whose journal a file is, and what its server has claimed in ClickHouse by that (docs/adr/0011).

The name is made with the file and stays, also in copies of it. The claims tell a copy that goes on from one that is
behind: the last one that ClickHouse is known to have, and the one that was about to be made.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from sqlite3 import Connection

# Beside the schema's versions: a server that does not know the table leaves it alone.
_TABLE = """
CREATE TABLE IF NOT EXISTS identity (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    server_id TEXT NOT NULL,
    claim TEXT NOT NULL DEFAULT '',
    next_claim TEXT NOT NULL DEFAULT ''
)
"""
COLUMNS = "server_id, claim, next_claim"


@dataclass(frozen=True, slots=True)
class Identity:
    """A journal's name and claims. A claim begins with a number of fixed width, so that the newest is the largest."""

    server_id: str
    claim: str = ""
    next_claim: str = ""

    def continues(self, newest: str) -> bool:
        """Tell whether nobody else has claimed since, if that is the newest claim of this name in ClickHouse."""
        return newest <= self.claim or newest == self.next_claim


def read_identity(connection: Connection) -> Identity:
    """Read the journal's identity, made at the first time."""
    keep_identity(connection, (str(uuid.uuid4()), "", ""))
    return Identity(*connection.execute(f"SELECT {COLUMNS} FROM identity").fetchone())


def keep_identity(connection: Connection, values: Sequence[str]) -> None:
    """Give the journal this identity, unless it has one."""
    connection.execute(_TABLE)
    connection.execute(f"INSERT OR IGNORE INTO identity (id, {COLUMNS}) VALUES (1, ?, ?, ?)", values)


def note_claims(connection: Connection, claim: str, next_claim: str) -> None:
    """Write down what is claimed, and what is about to be."""
    connection.execute("UPDATE identity SET claim = ?, next_claim = ?", (claim, next_claim))
