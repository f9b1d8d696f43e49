"""The journal's interface for all other packages. It shows nothing of the storage: no connection, file or position.

An adapter may serve several processes at once. It promises (tests/integration/test_journal_port.py):

1. An event_id is known if and only if its row is durable: both are one transaction.
2. There is at most one row of an event_id in the idempotency window, however many append it at once.
3. What was acknowledged is durable.
4. A block's members, order and token never change. An entry is in one block at most, and leaves only by `settle`.
5. Once leadership is lost, nothing of that epoch is committed.
6. Received is the sum of all outcomes, in every snapshot.
7. No entry is passed over because it was committed late: blocks name their members, and nobody remembers a position.
8. An append that was not acknowledged may have happened, and repeating it is harmless.
"""

from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future
from typing import Any, Protocol

from millimetric_server.journal.blocks import Block, BlockSlice, Leadership, Refusals, Settled, Settlement
from millimetric_server.journal.dead_letters import DeadLetter, MarkedLetters
from millimetric_server.journal.entries import Appended, Backlog, EntryId, NewEvent
from millimetric_server.journal.erasures import Erasure, ErasurePlan
from millimetric_server.journal.identity import Identity
from millimetric_server.journal.ledger import Balance, JournalStatus, Outcome
from millimetric_server.process.workers import Worker


class Erasures(Protocol):
    """All erasures of a journal."""

    def request(self, project_id: str, user_id: str, anonymous_id: str, now_us: int) -> "Future[str]":
        """Queue an erasure; the future has its id once it is durable, or NotAppendedError. May raise that as well."""

    def find(self, project_id: str, erasure_id: str) -> "Future[Erasure | None]":
        """Find an erasure of this project; the future has it, or None."""

    def list_pending(self) -> list[Erasure]:
        """List queued and interrupted erasures, oldest first."""

    def plan(self, lead: Leadership, erasure: Erasure, plan: ErasurePlan) -> None:
        """Keep the plan; from now on late replays of what it covers are covered too. Raises LeadershipLostError."""

    def remove_dead_letters(self, lead: Leadership, erasure: Erasure) -> int:
        """Remove the forgotten people's rows from among the dead letters; returns how many this erasure removed.

        Raises LeadershipLostError.
        """

    def finish(
        self, lead: Leadership, erasure: Erasure, rows_removed: dict[str, int], residual: int, now_us: int
    ) -> None:
        """Close the erasure with its figures. Raises LeadershipLostError."""

    @property
    def projects(self) -> AbstractSet[str]:
        """The projects in which anybody was forgotten; it is the same object, and grows."""

    def concern(self, project_id: str) -> bool:
        """Tell whether anybody of the project was forgotten, so that its rows have to be looked at."""

    def covers(self, row: Sequence[Any]) -> bool:
        """Tell whether an EventRow (as a list) is of a forgotten person and older than the request."""


class Journal(Protocol):
    """The durable log between acknowledgement and store, as a server works with it.

    Futures are for callers. What returns at once by a plain value may wait for the disk, and is for workers.
    """

    def start(self) -> None:
        """Begin to accept writes."""

    def close(self) -> None:
        """Make waiting writes durable, then release everything."""

    # Appending

    def append(self, events: Sequence[NewEvent]) -> "Future[Appended]":
        """Append events of one project; the future tells what became of them once they are durable.

        It has NotAppendedError when there is no room or the disk refuses; then nothing was stored.
        """

    def on_appended(self, callback: Callable[[], None]) -> None:
        """Call this, in any thread, soon after something was appended."""

    @property
    def is_accepting(self) -> bool:
        """Whether a write would be acknowledged now."""

    @property
    def refusals(self) -> list[str]:
        """In a word each, why no write may be acknowledged though the journal would take it."""

    def refuse(self, word: str, reason: str) -> None:
        """Acknowledge no more writes in this process, for this reason, until `accept` with the same word."""

    def accept(self, word: str) -> None:
        """Acknowledge writes again, as far as this reason is concerned."""

    # The ledger

    def note(self, project_id: str, outcome: Outcome, reason: str, events: int) -> None:
        """Count events that do not reach the journal: rejected or dropped, and why."""

    def flush_notes(self) -> None:
        """Write the noted counts to the ledger; those that can't be written now stay noted."""

    def load_balances(self) -> list[Balance]:
        """Load what became of the events of each project, in one snapshot."""

    def measure_backlog(self) -> Backlog:
        """Count what waits for the loader."""

    @property
    def waiting_bytes(self) -> int:
        """The size of what waits for the loader, as far as this process knows."""

    @property
    def conflicts(self) -> int:
        """Event ids that were sent to this process again with other content, since the start."""

    # Loading

    def lead(self, name: str, lease_s: float) -> Leadership | None:
        """Take the right to load under this name, or keep it for so much longer; None while another has it.

        It is lost when another takes it, which nobody can while the lease runs. An adapter that lets only one process
        in may do without the time.
        """

    def resign(self, lead: Leadership) -> None:
        """Give the right up, so that another need not wait for the end of the lease."""

    def take_block(self, lead: Leadership, rows_max: int) -> Block | None:
        """Take the block that is not settled yet, or else a new one, which is named durably with its token.

        Raises LeadershipLostError.
        """

    def note_refusal(self, lead: Leadership, block: Block, part: BlockSlice, reason: str, message: str) -> None:
        """Record that ClickHouse refused a slice of the block, before smaller ones are sent.

        Raises LeadershipLostError.
        """

    def load_refusals(self, block: Block) -> Refusals:
        """Load which slices of the block were refused, with reason and message."""

    def settle(self, lead: Leadership, block: Block, settlement: Settlement) -> None:
        """Record what became of the block's rows and drop its entries, in one transaction.

        Raises LeadershipLostError, and ValueError for a block that is not the one in flight.
        """

    def are_settled(self, entries: Collection[EntryId]) -> bool:
        """Tell whether none of these entries waits any more."""

    def on_settled(self, callback: Callable[[Settled], None]) -> None:
        """Call this, in any thread, soon after entries were settled, by whichever process."""

    def find_last_waiting(self) -> Sequence[EntryId]:
        """Find entries that are settled no sooner than all that wait now; none if nothing waits."""

    def turn_window(self, lead: Leadership, now_us: int) -> int:
        """Let ids leave the idempotency window, a bounded number at a time; returns how many left.

        Raises LeadershipLostError.
        """

    # Dead letters

    def list_dead_letters(self, project_id: str = "", limit: int | None = None) -> list[DeadLetter]:
        """List dead letters, the oldest first: of a project or of all (empty)."""

    def find_dead_letters(self, project_id: str, events: Collection[tuple[str, int]]) -> "Future[set[tuple[str, int]]]":
        """Find which of these events of the project ClickHouse refused, by event_id and received_at.

        The id alone would not do, because an event under another kind of key may have it too.
        """

    def retry_dead_letters(self, dead_letter_ids: Collection[int] = (), project_id: str = "") -> MarkedLetters:
        """Mark dead letters to be tried again: these, or all of a project or of all.

        Raises UnknownDeadLettersError, and then none is marked.
        """

    def take_back_dead_letters(self, lead: Leadership) -> int:
        """Make entries again of what is marked to be tried again; returns how many rows. Raises LeadershipLostError."""

    # What else belongs to it

    @property
    def erasures(self) -> Erasures:
        """The people to forget."""

    @property
    def identity(self) -> Identity:
        """Whose journal it is, and what it has claimed in ClickHouse; new after a restore."""

    def note_claims(self, claim: str, next_claim: str) -> None:
        """Write down what this journal's server has claimed in ClickHouse, and what it is about to."""

    @property
    def workers(self) -> Sequence[Worker]:
        """The threads that it can't work without."""


class OperatorJournal(Protocol):
    """A journal as an operator's commands see it, beside a running server or without one."""

    def load_status(self) -> JournalStatus:
        """Load the whole journal's figures, in one snapshot."""

    def list_dead_letters(self, project_id: str = "", limit: int | None = None) -> list[DeadLetter]:
        """As of Journal."""

    def count_dead_letters(self, project_id: str = "") -> int:
        """Count the dead letters of a project or of all (empty)."""

    def retry_dead_letters(self, dead_letter_ids: Collection[int] = (), project_id: str = "") -> MarkedLetters:
        """As of Journal."""

    def are_taken_back(self, marked: MarkedLetters) -> bool:
        """Tell whether a server has made entries again of all that was marked."""

    def find_last_waiting(self) -> Sequence[EntryId]:
        """As of Journal."""

    def are_settled(self, entries: Collection[EntryId]) -> bool:
        """As of Journal."""

    def count_refused_again(self, marked: MarkedLetters) -> int:
        """Count which of the marked events are dead letters again."""
