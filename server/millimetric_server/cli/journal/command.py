"""`millimetric journal`: what became of every event, what waits, and what ClickHouse refused."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from millimetric_server.cli.journal.file import find_journal, find_project, open_journal
from millimetric_server.cli.journal.retry import retry_dead_letters
from millimetric_server.cli.projects.control import format_time
from millimetric_server.cli.settings import CONTROL_FLAGS, setting_options
from millimetric_server.cli.tables import print_table
from millimetric_server.journal import dead_letters
from millimetric_server.journal.dead_letters import DeadLetter
from millimetric_server.journal.ledger import Account, read_accounts

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class _Status:
    """The journal at one moment."""

    accounts: Sequence[Account]
    entries: int
    events: int
    bytes: int
    is_in_flight: bool
    dead_letters: int
    marked: int


@click.group()
def journal() -> None:
    """See what became of every event, and have those tried again that ClickHouse refused.

    The journal is the file journal.db of the data folder. Events are written there before they are answered, and
    wait there until ClickHouse holds them. An event that ClickHouse refuses, by a constraint for example, stops no
    other: it is set aside as a dead letter.

    These commands work beside a running server and without one.
    """


journal.add_command(retry_dead_letters)


@journal.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@setting_options("data_dir")
def show_status(as_json: bool, **flags: Any) -> None:
    """Show what became of all events, project by project.

    Received is what arrived; it is the sum of all the others. Stored is in ClickHouse, duplicate was here already,
    rejected broke a rule, dropped was left out on purpose, waiting is on its way to ClickHouse, and dead letters
    are what ClickHouse refused. Missing is what would be left over, and is 0.

    \b
    Examples:
      millimetric journal status
      millimetric journal status --data-dir /var/lib/millimetric --json
    """
    with open_journal(find_journal(flags)) as connection:
        status = _read_status(connection)
    if as_json:
        click.echo(json.dumps(_describe_status(status)))
        return
    _show_accounts(status.accounts)
    _show_totals(status)


@journal.command("dead-letters")
@click.option("--project", metavar="P", help="Only those of this project: its name or id.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many, oldest first."
)
@click.option("--full", is_flag=True, help="Add ClickHouse's message and all fields; they may be personal data.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, as full, and nothing else.")
@setting_options(*CONTROL_FLAGS)
def list_dead_letters(project: str | None, limit: int, full: bool, as_json: bool, **flags: Any) -> None:
    """List the events that ClickHouse refused, and why, oldest first.

    The reason is ClickHouse's own name for it. Of an event only its name and id are shown; --full and --json show
    all of its fields, and the message, which may quote them. Their times are microseconds since 1970 UTC.

    \b
    Examples:
      millimetric journal dead-letters
      millimetric journal dead-letters --project shop --limit 5 --full
      millimetric journal dead-letters --json
    """
    project_id = find_project(flags, project)
    with open_journal(find_journal(flags)) as connection:
        letters = dead_letters.read(connection, project_id=project_id, limit=limit)
        count = _count_letters(connection, project_id)
    if as_json:
        click.echo(json.dumps([_describe_letter(letter) for letter in letters]))
    elif not letters:
        click.echo("There is no dead letter.")
    else:
        _show_letters(letters)
        if full:
            _show_contents(letters)
        if count > len(letters):
            click.echo(f"{count - len(letters):,} more are not shown: give a larger --limit.")
        click.echo("Once the cause is mended, have them tried again: millimetric journal retry --all")


def _read_status(connection: sqlite3.Connection) -> _Status:
    """Read all figures in one snapshot."""
    connection.execute("BEGIN")
    accounts = read_accounts(connection)
    entries, events, size = connection.execute(
        "SELECT count(*), coalesce(sum(row_count), 0), coalesce(sum(length(rows)), 0) FROM entries"
    ).fetchone()
    found = connection.execute("SELECT inflight > loaded FROM loader_position").fetchone()
    refused, marked = connection.execute(
        "SELECT coalesce(sum(row_count), 0), coalesce(sum(row_count * is_retried), 0) FROM dead_letters"
    ).fetchone()
    connection.execute("COMMIT")
    return _Status(accounts, entries, events, size, bool(found and found[0]), refused, marked)


def _describe_status(status: _Status) -> dict[str, Any]:
    return {
        "projects": [
            {
                "project_id": one.project_id,
                "received": one.received,
                "stored": one.stored,
                "duplicate": one.duplicate,
                "rejected": one.rejected,
                "dropped": one.dropped,
                "waiting": one.journaled,
                "dead_letters": one.dead_letter,
                "missing": one.missing,
            }
            for one in status.accounts
        ],
        "waiting": {
            "entries": status.entries,
            "events": status.events,
            "bytes": status.bytes,
            "is_in_flight": status.is_in_flight,
        },
        "dead_letters": {"events": status.dead_letters, "marked_for_retry": status.marked},
    }


def _show_accounts(accounts: Sequence[Account]) -> None:
    if not accounts:
        click.echo("No event was received yet.")
        return
    figures = [_sum_up(one) for one in accounts]
    rows = [(one.project_id, *values) for one, values in zip(accounts, figures, strict=True)]
    if len(rows) > 1:
        rows.append(("all", *map(sum, zip(*figures, strict=True))))
    columns = (
        "project",
        "received",
        "stored",
        "duplicate",
        "rejected",
        "dropped",
        "waiting",
        "dead letters",
        "missing",
    )
    print_table("Events", columns, rows, unbroken=("project",))
    reasons = [
        (one.project_id, outcome, reason, events)
        for one in accounts
        for outcome, counts in (("rejected", one.rejected), ("dropped", one.dropped))
        for reason, events in sorted(counts.items())
    ]
    if reasons:
        print_table("Why", ("project", "outcome", "reason", "events"), reasons, unbroken=("project", "reason"))


def _sum_up(one: Account) -> tuple[int, ...]:
    rejected, dropped = sum(one.rejected.values()), sum(one.dropped.values())
    return (one.received, one.stored, one.duplicate, rejected, dropped, one.journaled, one.dead_letter, one.missing)


def _show_totals(status: _Status) -> None:
    in_flight = "a block is on its way to ClickHouse" if status.is_in_flight else "no block is on its way"
    click.echo(
        f"Waiting: {status.events:,} events in {status.entries:,} entries ({status.bytes / _MIB:.1f} MiB); {in_flight}."
    )
    if status.dead_letters:
        click.echo(
            f"Dead letters: {status.dead_letters:,}, of which {status.marked:,} are marked to be tried again. "
            "See them: millimetric journal dead-letters"
        )
    if any(one.missing for one in status.accounts):
        click.echo("Events are missing or count twice: run `millimetric doctor`.")


def _count_letters(connection: sqlite3.Connection, project_id: str) -> int:
    statement = "SELECT count(*) FROM dead_letters WHERE project_id = ?1 OR ?1 = ''"
    (count,) = connection.execute(statement, (project_id,)).fetchone()
    return int(count)


def _show_letters(letters: Sequence[DeadLetter]) -> None:
    columns = ("id", "project", "event", "event id", "received (UTC)", "refused (UTC)", "reason", "retry")
    rows = [row for letter in letters for row in _list_rows(letter)]
    print_table("Dead letters", columns, rows, unbroken=("id", "reason"))


def _list_rows(letter: DeadLetter) -> Iterator[tuple[object, ...]]:
    """The lines of the table for a dead letter: one a row, or one that counts what can't be read."""
    refused = format_time(_read_time(letter.refused_at))
    last = (refused, letter.reason, "marked" if letter.is_retried else "")
    rows = letter.describe()
    if not rows:
        yield letter.dead_letter_id, letter.project_id, f"{letter.row_count} rows, unreadable", "", "", *last
    for row in rows:
        received = format_time(_read_time(row["received_at"]))
        yield letter.dead_letter_id, letter.project_id, row["event"], row["event_id"], received, *last


def _show_contents(letters: Sequence[DeadLetter]) -> None:
    for letter in letters:
        click.echo(f"{letter.dead_letter_id}: {letter.message}")
        for row in letter.describe():
            click.echo(f"  {json.dumps(row, ensure_ascii=False)}")


def _describe_letter(letter: DeadLetter) -> dict[str, Any]:
    return {
        "dead_letter_id": letter.dead_letter_id,
        "project_id": letter.project_id,
        "row_count": letter.row_count,
        "refused_at": _read_time(letter.refused_at).isoformat(),
        "reason": letter.reason,
        "message": letter.message,
        "is_marked_for_retry": bool(letter.is_retried),
        "rows": letter.describe(),
    }


def _read_time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
