"""`millimetric journal`: what became of every event, what waits, and what ClickHouse refused."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import click

from millimetric_server.cli.journal.file import find_journal, find_project, open_journal
from millimetric_server.cli.journal.retry import retry_dead_letters
from millimetric_server.cli.projects.control import format_time
from millimetric_server.cli.settings import CONTROL_FLAGS, setting_options
from millimetric_server.cli.tables import print_table
from millimetric_server.journal.dead_letters import DeadLetter
from millimetric_server.journal.ledger import Balance, JournalStatus

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MIB = 1024**2


@click.group()
def journal() -> None:
    """See what became of every event, and retry those that ClickHouse refused.

    The journal is the file journal.db in the data folder. Events are written there before they are acknowledged, and
    wait there until ClickHouse holds them. An event that ClickHouse refuses, for example because of a constraint,
    does not stop the others: it is set aside as a dead letter.

    These commands work with or without a running server.
    """


journal.add_command(retry_dead_letters)


@journal.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@setting_options("data_dir")
def show_status(as_json: bool, **flags: object) -> None:
    """Show what became of all events, by project.

    Received events are the sum of all the others. Stored events are in ClickHouse, duplicates were already there,
    rejected ones broke a rule, dropped ones were left out by policy, waiting ones are still to be loaded, and dead
    letters are those that ClickHouse refused. Missing is the difference, and must be 0.

    \b
    Examples:
      millimetric journal status
      millimetric journal status --data-dir /var/lib/millimetric --json
    """
    with open_journal(find_journal(flags)) as opened:
        status = opened.load_status()
    if as_json:
        click.echo(json.dumps(_describe_status(status)))
        return
    _show_balances(status.balances)
    _show_totals(status)


@journal.command("dead-letters")
@click.option("--project", metavar="P", help="Only those of this project: its name or id.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most this many, oldest first."
)
@click.option("--full", is_flag=True, help="Add ClickHouse's message and all fields; they may be personal data.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array with all fields and nothing else.")
@setting_options(*CONTROL_FLAGS)
def list_dead_letters(project: str | None, limit: int, full: bool, as_json: bool, **flags: object) -> None:
    """List the events that ClickHouse refused, and why, oldest first.

    The reason is ClickHouse's own name for it. Only an event's name and id are shown; --full and --json show all of
    its fields, and ClickHouse's message, which may quote them. Times are in microseconds since 1970 UTC.

    \b
    Examples:
      millimetric journal dead-letters
      millimetric journal dead-letters --project shop --limit 5 --full
      millimetric journal dead-letters --json
    """
    project_id = find_project(flags, project)
    with open_journal(find_journal(flags)) as opened:
        letters = opened.list_dead_letters(project_id, limit)
        count = opened.count_dead_letters(project_id)
    if as_json:
        click.echo(json.dumps([_describe_letter(letter) for letter in letters]))
    elif not letters:
        click.echo("There are no dead letters.")
    else:
        _show_letters(letters)
        if full:
            _show_contents(letters)
        if count > len(letters):
            click.echo(f"{count - len(letters):,} more are not shown: give a larger --limit.")
        click.echo("Once the cause is fixed, retry them: millimetric journal retry --all")


def _describe_status(status: JournalStatus) -> dict[str, object]:
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
            for one in status.balances
        ],
        "waiting": {
            "entries": status.backlog.entries,
            "events": status.backlog.rows,
            "bytes": status.backlog.bytes,
            "is_in_flight": status.is_in_flight,
        },
        "dead_letters": {"events": status.dead_letter_events, "marked_for_retry": status.marked_events},
    }


def _show_balances(balances: Sequence[Balance]) -> None:
    if not balances:
        click.echo("No events have been received yet.")
        return
    figures = [_sum_up(one) for one in balances]
    rows = [(one.project_id, *values) for one, values in zip(balances, figures, strict=True)]
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
        for one in balances
        for outcome, counts in (("rejected", one.rejected), ("dropped", one.dropped))
        for reason, events in sorted(counts.items())
    ]
    if reasons:
        print_table("Why", ("project", "outcome", "reason", "events"), reasons, unbroken=("project", "reason"))


def _sum_up(one: Balance) -> tuple[int, ...]:
    rejected, dropped = sum(one.rejected.values()), sum(one.dropped.values())
    return (one.received, one.stored, one.duplicate, rejected, dropped, one.journaled, one.dead_letter, one.missing)


def _show_totals(status: JournalStatus) -> None:
    in_flight = "a block is being loaded" if status.is_in_flight else "no block is being loaded"
    click.echo(
        f"Waiting: {status.backlog.rows:,} events in {status.backlog.entries:,} entries "
        f"({status.backlog.bytes / _MIB:.1f} MiB); {in_flight}."
    )
    if status.dead_letter_events:
        click.echo(
            f"Dead letters: {status.dead_letter_events:,}, of which {status.marked_events:,} are marked for a "
            "retry. See them: millimetric journal dead-letters"
        )
    if any(one.missing for one in status.balances):
        click.echo("Events are missing or count twice: run `millimetric doctor`.")


def _show_letters(letters: Sequence[DeadLetter]) -> None:
    columns = ("id", "project", "event", "event id", "received (UTC)", "refused (UTC)", "reason", "retry")
    rows = [row for letter in letters for row in _list_rows(letter)]
    print_table("Dead letters", columns, rows, unbroken=("id", "reason"))


def _list_rows(letter: DeadLetter) -> Iterator[tuple[object, ...]]:
    """The lines of the table for a dead letter: one a row, or one that counts what can't be read."""
    refused = format_time(_read_time(letter.refused_at))
    last = (refused, letter.reason, "marked" if letter.is_marked else "")
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


def _describe_letter(letter: DeadLetter) -> dict[str, object]:
    return {
        "dead_letter_id": letter.dead_letter_id,
        "project_id": letter.project_id,
        "row_count": letter.row_count,
        "refused_at": _read_time(letter.refused_at).isoformat(),
        "reason": letter.reason,
        "message": letter.message,
        "is_marked_for_retry": letter.is_marked,
        "rows": letter.describe(),
    }


def _read_time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
