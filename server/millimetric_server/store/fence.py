"""Fences off a server that no longer owns its journal, so that it stores nothing more (docs/adr/0011).

Each start of a server claims the row of its journal in the table server_fences. Whatever puts rows into ClickHouse
checks in the same statement that the claim is still the newest; a process that was paused, or whose folder was
copied and is used elsewhere, is refused.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import uuid_utils

from millimetric_server.journal.port import Journal
from millimetric_server.store.faults import FENCED, FencedError, StoreUnavailableError
from millimetric_server.store.statements import read_statement

if TYPE_CHECKING:
    from millimetric_server.store.clickhouse import ClickHouse

PLACE = "%FENCE%"  # where a statement has its check
_SERVER_ID = re.compile(r"[0-9a-f-]{36}")
_ENDING_MAX_S = 60.0  # ClickHouse waits for 30 s for the rest of a body
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Fence:
    """A server's claim: the number of its start, and a name of this run. `columns` are those of `events`, by type."""

    server_id: str
    claim: str
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def mark(self) -> str:
        """What this run's statements carry as `log_comment`."""
        return f"millimetric {self.server_id} {self.claim}"

    @property
    def condition(self) -> str:
        """SQL that is true as long as this run may write, and fails its statement afterwards.

        ClickHouse evaluates it once a statement, when the statement is known to system.processes already.
        """
        return (
            f"(SELECT throwIf(max(claim) != '{self.claim}', '{FENCED}') FROM server_fences "
            f"WHERE server_id = '{self.server_id}') = 0"
        )

    def describe_columns(self, names: Sequence[str]) -> str:
        """These columns of `events` as the structure of rows that come in, inside quotes."""
        return ", ".join(f"{name} {self.columns[name]}" for name in names).replace("\\", "\\\\").replace("'", "\\'")


def claim_fence(store: "ClickHouse", journal: Journal) -> Fence:
    """Claim the server's row, and wait until no statement of its earlier runs is running.

    Whatever began before the claim was seen has ended then; whatever begins afterwards is refused. Raises
    StoreUnavailableError, FencedError if another process has claimed since this journal was last in use.
    """
    identity = journal.identity
    if not _SERVER_ID.fullmatch(identity.server_id):
        raise ValueError("the journal's identity can't be read")
    newest = _find_newest_claim(store, identity.server_id)
    if not identity.continues(newest):
        raise FencedError
    number = max(_read_number(newest), _read_number(identity.claim)) + 1
    claim = f"{number:010} {uuid_utils.uuid7()}"
    journal.note_claims(identity.claim, claim)  # first: a crash just behind the claim must not lock this server out
    store.command(
        "INSERT INTO server_fences (server_id, claim) VALUES ({server:String}, {claim:String})",
        {"server": identity.server_id, "claim": claim},
        insert_deduplicate=0,
    )
    journal.note_claims(claim, claim)
    columns: dict[str, str] = dict(map(tuple, store.query(read_statement("fence.columns"))))
    fence = Fence(identity.server_id, claim, columns)
    _end_earlier_runs(store, fence)
    return fence


def _find_newest_claim(store: "ClickHouse", server_id: str) -> str:
    ((newest,),) = store.query(read_statement("fence.newest"), {"server": server_id})
    return str(newest)


def _read_number(claim: str) -> int:
    return int(claim.partition(" ")[0] or 0)


def end_own_inserts(store: "ClickHouse", fence: Fence) -> None:
    """End inserts of this run whose answers were lost, before it is looked up what they stored.

    For the loader's thread, which has none running then. Raises StoreUnavailableError; FencedError if there is a newer
    claim, since rows that are found then may be another process's.
    """
    _end_statements(store, "fence.own_inserts", "fence.end_own_inserts", {"mark": fence.mark})
    if _find_newest_claim(store, fence.server_id) != fence.claim:
        raise FencedError


def _end_earlier_runs(store: "ClickHouse", fence: Fence) -> None:
    marks = {"server": f"millimetric {fence.server_id} ", "mark": fence.mark}
    _end_statements(store, "fence.earlier_statements", "fence.end_earlier_statements", marks)


def _end_statements(store: "ClickHouse", look: str, end: str, marks: Mapping[str, str]) -> None:
    give_up_at = time.monotonic() + _ENDING_MAX_S
    while any(store.query(read_statement(look), marks)):
        if time.monotonic() > give_up_at:
            raise StoreUnavailableError("statements that this server started earlier are still running")
        store.command(read_statement(end), marks)
        time.sleep(_LOOK_EVERY_S)
