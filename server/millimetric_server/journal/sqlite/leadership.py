"""Who may load this file. Only the holder of the folder's lock opens it, so each opening may take the right over."""

import threading
import time
from sqlite3 import Connection

import uuid_utils

from millimetric_server.journal.blocks import Leadership
from millimetric_server.journal.errors import LeadershipLostError
from millimetric_server.journal.sqlite.connection import Reader
from millimetric_server.journal.sqlite.writer_thread import Transactor

# Beside the schema's versions, as the identity. The epoch is empty once somebody has resigned.
_TABLE = "CREATE TABLE IF NOT EXISTS leadership (id INTEGER PRIMARY KEY CHECK (id = 1), epoch TEXT NOT NULL)"
_LOAD = "SELECT epoch FROM leadership"


def make_table(connection: Connection) -> None:
    """Make the table in a file that has none."""
    connection.execute(_TABLE)


def check_lead(connection: Connection, lead: Leadership) -> None:
    """Make sure, within a transaction, that the right was not lost. Raises LeadershipLostError."""
    if connection.execute(_LOAD).fetchone() != (lead.epoch,):
        raise LeadershipLostError


class Leaders:
    """Gives the right to load to one name at a time."""

    def __init__(self, reader: Reader, writer: Transactor) -> None:
        self._reader = reader
        self._writer = writer
        self._lock = threading.Lock()
        self._held: Leadership | None = None
        self._ends_at = 0.0

    def lead(self, name: str, lease_s: float) -> Leadership | None:
        """Take the right or keep it; None while another name has it, or another process has opened the file."""
        with self._lock:
            if self._held is not None:
                if not self.is_current(self._held) or (name != self._held.name and time.monotonic() < self._ends_at):
                    return None
                if name == self._held.name:
                    self._ends_at = time.monotonic() + lease_s
                    return self._held
            taken = Leadership(name, str(uuid_utils.uuid7()))
            self._write(taken.epoch)
            self._held, self._ends_at = taken, time.monotonic() + lease_s
            return taken

    def resign(self, lead: Leadership) -> None:
        """Give the right up."""
        with self._lock:
            if self._held == lead and self.is_current(lead):
                self._write("")
                self._held = None

    def is_current(self, lead: Leadership) -> bool:
        """Tell whether the right was not lost, as far as is committed."""
        return self._reader.fetch(_LOAD) == [(lead.epoch,)]

    def _write(self, epoch: str) -> None:
        self._writer.transact(
            lambda connection: connection.execute("INSERT OR REPLACE INTO leadership VALUES (1, ?)", (epoch,))
        ).result()
