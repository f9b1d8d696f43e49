"""The ledger: what became of every event that was received, by project.

received = stored + duplicate + rejected + dropped + what waits in the journal + dead letters, in every snapshot.
"""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from millimetric_server.journal.entries import Backlog

FORGOTTEN = "forgotten"  # why rows of forgotten people were dropped


class Outcome(StrEnum):
    """What the ledger counts."""

    RECEIVED = "received"
    STORED = "stored"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Balance:
    """The events of one project by what became of them; `rejected` and `dropped` by reason."""

    project_id: str
    received: int = 0
    stored: int = 0
    duplicate: int = 0
    journaled: int = 0
    dead_letter: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Received events that are not accounted for; 0 when healthy, negative if something counts twice."""
        known = self.stored + self.duplicate + self.journaled + self.dead_letter
        return self.received - known - sum(self.rejected.values()) - sum(self.dropped.values())


@dataclass(frozen=True, slots=True)
class JournalStatus:
    """The whole journal in one snapshot. `is_in_flight`: a block was taken and is not settled."""

    balances: Sequence[Balance]
    backlog: Backlog
    is_in_flight: bool
    dead_letter_events: int
    marked_events: int  # of those, so many are to be tried again


class Notes:
    """Events that were refused or dropped before they reached the journal, until they are in the ledger.

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
        """Take the noted counts; a caller that can't write them gives them back."""
        with self._lock:
            noted, self._noted = self._noted, Counter()
        return noted

    def give_back(self, noted: Mapping[tuple[str, Outcome, str], int]) -> None:
        """Note again what could not be written down."""
        with self._lock:
            self._noted.update(noted)
