"""The ledger: what became of every event that was received, by project.

received = stored + duplicate + rejected + dropped + what waits in the journal + dead letters, in every snapshot.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from sqlite3 import Connection

_COUNT = (
    "INSERT INTO ledger VALUES (?, ?, ?, ?) "
    "ON CONFLICT (project_id, outcome, reason) DO UPDATE SET events = events + excluded.events"
)
# One statement, hence one snapshot. What waits and the dead letters are counted where they lie, not in the ledger.
_READ = """
SELECT project_id, outcome, reason, events FROM ledger
UNION ALL SELECT project_id, 'journaled', '', sum(row_count) FROM entries GROUP BY project_id
UNION ALL SELECT project_id, 'dead_letter', '', sum(row_count) FROM dead_letters GROUP BY project_id
"""


FORGOTTEN = "forgotten"  # why rows of forgotten people were dropped


class Outcome(StrEnum):
    """What the ledger counts."""

    RECEIVED = "received"
    STORED = "stored"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    DROPPED = "dropped"


@dataclass(slots=True)
class Account:
    """The events of one project by what became of them; `rejected` and `dropped` by reason."""

    project_id: str
    received: int = 0
    stored: int = 0
    duplicate: int = 0
    journaled: int = 0
    dead_letter: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Received events of which nothing is known; 0 when all is well, negative when something counts twice."""
        known = self.stored + self.duplicate + self.journaled + self.dead_letter
        return self.received - known - sum(self.rejected.values()) - sum(self.dropped.values())


def count_events(connection: Connection, project_id: str, outcome: Outcome, events: int, reason: str = "") -> None:
    """Add to the ledger, in the transaction that makes it true."""
    if events:
        connection.execute(_COUNT, (project_id, outcome, reason, events))


def read_accounts(connection: Connection) -> list[Account]:
    """Read the accounts of all projects in one snapshot."""
    accounts: dict[str, Account] = {}
    for project_id, outcome, reason, events in connection.execute(_READ).fetchall():
        account = accounts.setdefault(project_id, Account(project_id))
        if reason:
            getattr(account, outcome)[reason] = events
        else:
            setattr(account, outcome, events)
    return [accounts[project_id] for project_id in sorted(accounts)]


class Notes:
    """Events that were refused or dropped before they reached the journal, until they stand in the ledger.

    A crash loses what was noted since the last second, received and outcome alike; no stored event is among them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: Counter[tuple[str, Outcome, str]] = Counter()

    def add(self, project_id: str, outcome: Outcome, reason: str, events: int) -> None:
        """Note that so many events were received, and what became of them."""
        if not events:
            return
        with self._lock:
            self._noted[project_id, Outcome.RECEIVED, ""] += events
            self._noted[project_id, outcome, reason] += events

    def take(self) -> Mapping[tuple[str, Outcome, str], int]:
        """Take what is noted; whoever can't write it down gives it back."""
        with self._lock:
            noted, self._noted = self._noted, Counter()
        return noted

    def give_back(self, noted: Mapping[tuple[str, Outcome, str], int]) -> None:
        """Note again what could not be written down."""
        with self._lock:
            self._noted.update(noted)
