"""`millimetric journal retry`: has dead letters tried again, and tells what ClickHouse said this time."""

import hashlib
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from millimetric_server.cli.journal.file import find_journal, find_project, open_journal
from millimetric_server.cli.settings import CONTROL_FLAGS, setting_options
from millimetric_server.cli.tables import open_console
from millimetric_server.journal.dead_letters import ask_for_retry

_WAIT_S = 10.0
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was marked: how many events, up to which dead letter, and what tells the same rows when they come back."""

    events: int
    newest_id: int
    digests: Counter[bytes]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How far it got: `is_taken` by a server, `is_settled` by ClickHouse, which refused so many events again."""

    is_taken: bool
    is_settled: bool = False
    refused: int = 0


@click.command("retry")
@click.argument("dead_letter_ids", nargs=-1, type=int, metavar="[ID]...")
@click.option("--project", metavar="P", help="All dead letters of this project: its name or id.")
@click.option("--all", "is_all", is_flag=True, help="All dead letters.")
@click.option("--wait/--no-wait", "waits", default=True, help="Wait, up to 10 seconds, for what becomes of them.")
@setting_options(*CONTROL_FLAGS)
def retry_dead_letters(
    dead_letter_ids: tuple[int, ...], project: str | None, is_all: bool, waits: bool, **flags: Any
) -> None:
    """Have dead letters tried again: by ID, all of a project, or all.

    First mend the cause: drop the constraint, or bring the table's columns back to what they were. A running server
    takes the events within about a second and sends them behind those that wait; without one they go at its next
    start. An event that is refused again is a dead letter again, with a new id; then the exit code is 1.

    \b
    Examples:
      millimetric journal retry 17 18
      millimetric journal retry --project shop
      millimetric journal retry --all --no-wait
    """
    _check_choice(dead_letter_ids, project, is_all=is_all)
    project_id, path = find_project(flags, project), find_journal(flags)
    with open_journal(path, is_written=True) as connection:
        asked = _mark(connection, dead_letter_ids, project_id)
    if not asked.events:
        click.echo("There is no dead letter to try again.")
    elif not waits:
        click.echo(f"{_count(asked.events)} marked to be tried again.")
    else:
        with open_console(is_error=True).status("Waiting for the server to try again"):
            outcome = _follow(path, asked)
        _tell(asked, outcome)


def _check_choice(dead_letter_ids: Sequence[int], project: str | None, *, is_all: bool) -> None:
    if is_all and (dead_letter_ids or project is not None):
        raise click.UsageError("--all stands alone: it means all dead letters of all projects.")
    if not (is_all or dead_letter_ids or project is not None):
        raise click.UsageError("Say which dead letters: their ids, --project or --all.")


def _mark(connection: sqlite3.Connection, dead_letter_ids: Sequence[int], project_id: str) -> _Asked:
    """Mark what was chosen, all or nothing: an unknown id is an error."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        chosen, ids = set(dead_letter_ids), set[int]()
        events, digests = 0, Counter[bytes]()
        for dead_letter_id, row_count, digest in _read_digests(connection, project_id, after_id=0):
            if not chosen or dead_letter_id in chosen:
                ids.add(dead_letter_id)
                events += row_count
                digests[digest] += 1
        if unknown := sorted(chosen - ids):
            where = f" of project {project_id}" if project_id else ""
            raise click.ClickException(
                f"No dead letter{where} has the id {', '.join(map(str, unknown))}; nothing was marked. "
                "List them: millimetric journal dead-letters"
            )
        ask_for_retry(connection, sorted(chosen), project_id)
        return _Asked(events, max(ids, default=0), digests)


def _read_digests(
    connection: sqlite3.Connection, project_id: str, *, after_id: int
) -> Iterator[tuple[int, int, bytes]]:
    """Give id, count of events and a digest of each dead letter; rows are not kept, since there may be many."""
    for dead_letter_id, owner, row_count, rows in connection.execute(
        "SELECT dead_letter_id, project_id, row_count, rows FROM dead_letters "
        "WHERE (project_id = ?1 OR ?1 = '') AND dead_letter_id > ?2",
        (project_id, after_id),
    ):
        yield dead_letter_id, row_count, hashlib.blake2b(owner.encode() + b"\0" + rows, digest_size=16).digest()


def _follow(path: Path, asked: _Asked) -> _Outcome:
    """Wait until the server took what was marked, then until its loader has passed it."""
    deadline, taken_seq = time.monotonic() + _WAIT_S, None
    with open_journal(path) as connection:
        while True:
            if taken_seq is None:
                taken_seq = _find_taken(connection, asked)
            if taken_seq is not None and _is_passed(connection, taken_seq):
                return _Outcome(is_taken=True, is_settled=True, refused=_count_refused(connection, asked))
            if time.monotonic() > deadline:
                return _Outcome(is_taken=taken_seq is not None)
            time.sleep(_LOOK_EVERY_S)


def _find_taken(connection: sqlite3.Connection, asked: _Asked) -> int | None:
    """The number up to which entries hold what was marked; None while a server has not taken it."""
    waiting, newest = connection.execute(
        "SELECT (SELECT count(*) FROM dead_letters WHERE is_retried AND dead_letter_id <= ?), "
        "(SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'entries')",
        (asked.newest_id,),
    ).fetchone()
    return None if waiting else int(newest)


def _is_passed(connection: sqlite3.Connection, seq: int) -> bool:
    (loaded,) = connection.execute("SELECT loaded FROM loader_position").fetchone()
    return int(loaded) >= seq


def _count_refused(connection: sqlite3.Connection, asked: _Asked) -> int:
    """Count which of the events are dead letters again; others that were refused meanwhile are not among them."""
    left, refused = asked.digests.copy(), 0
    for _, row_count, digest in _read_digests(connection, "", after_id=asked.newest_id):
        if left[digest]:
            left[digest] -= 1
            refused += row_count
    return refused


def _tell(asked: _Asked, outcome: _Outcome) -> None:
    if not outcome.is_taken:
        click.echo(f"{_count(asked.events)} marked, but no running server took them: they go at its next start.")
    elif not outcome.is_settled:
        click.echo(
            f"{_count(asked.events)} taken by the server, and wait for ClickHouse. "
            "See how far they are: millimetric journal status"
        )
    else:
        click.echo(f"{_count(asked.events - outcome.refused)} loaded, {outcome.refused:,} refused again.")
    if outcome.refused:
        click.echo("See why: millimetric journal dead-letters", err=True)
        raise SystemExit(1)


def _count(events: int) -> str:
    return "1 event is" if events == 1 else f"{events:,} events are"
