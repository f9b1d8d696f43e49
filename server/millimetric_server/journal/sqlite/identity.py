"""The journal's identity in its file."""

import uuid
from collections.abc import Sequence
from sqlite3 import Connection

from millimetric_server.journal.identity import Identity

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


def load_identity(connection: Connection) -> Identity:
    """Load the journal's identity, made at the first time."""
    keep_identity(connection, (str(uuid.uuid4()), "", ""))
    return Identity(*connection.execute(f"SELECT {COLUMNS} FROM identity").fetchone())


def keep_identity(connection: Connection, values: Sequence[str]) -> None:
    """Give the journal this identity, unless it has one."""
    connection.execute(_TABLE)
    connection.execute(f"INSERT OR IGNORE INTO identity (id, {COLUMNS}) VALUES (1, ?, ?, ?)", values)


def forget_identity(connection: Connection) -> None:
    """Let the next start make a new identity."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'identity'").fetchone():
        connection.execute("DELETE FROM identity")


def note_claims(connection: Connection, claim: str, next_claim: str) -> None:
    """Write down what is claimed, and what is about to be."""
    connection.execute("UPDATE identity SET claim = ?, next_claim = ?", (claim, next_claim))
