"""What a call owes the ledger: the events that it brought, until each is accounted for."""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from millimetric_server.journal.ledger import Outcome


class Ledger(Protocol):
    """Where events are noted that do not reach the journal."""

    def note(self, project_id: str, outcome: Outcome, reason: str, events: int) -> None:
        """Count events of a project: what became of them, and why."""


class UnsettledError(Exception):
    """A call was answered as carried out, and nobody knows what became of some of its events."""


@dataclass(slots=True, eq=False)
class Owed:
    """The events of one call that the ledger does not know yet; `unsettled` is how many are left to account for.

    Whoever carries out the call settles them. When the `with` block fails, what is left was rejected, for the reason
    that `explain` gives; None: the call will be tried again, and its events stay owed. Where nobody waits for the call
    any more nothing is noted: what was handed to the journal is counted there.
    """

    _ledger: Ledger
    _project_id: str
    unsettled: int
    _explain: Callable[[Exception], str | None]

    def settle(self, events: int) -> None:
        """The ledger knows these events: the journal has counted them."""
        if events > self.unsettled:
            raise UnsettledError(f"{events} events are settled where {self.unsettled} are owed")
        self.unsettled -= events

    def drop(self, events: int, reason: str) -> None:
        """Note that these events are dropped, by policy."""
        self._note(events, Outcome.DROPPED, reason)

    def reject(self, events: int, reason: str) -> None:
        """Note that these events are rejected, for the caller's fault."""
        self._note(events, Outcome.REJECTED, reason)

    def _note(self, events: int, outcome: Outcome, reason: str) -> None:
        if events:
            self.settle(events)
            self._ledger.note(self._project_id, outcome, reason, events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if not self.unsettled or (error is not None and not isinstance(error, Exception)):
            return
        failure = UnsettledError(f"{self.unsettled} events are not accounted for") if error is None else error
        if (reason := self._explain(failure)) is not None:
            self.reject(self.unsettled, reason)
        if failure is not error:
            raise failure
