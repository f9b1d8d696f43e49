"""`millimetric journal retry`: retries dead letters, and reports what ClickHouse says this time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from millimetric_server.cli.journal.file import find_journal, find_project, open_journal
from millimetric_server.cli.settings import CONTROL_FLAGS, setting_options
from millimetric_server.cli.tables import open_console
from millimetric_server.journal.dead_letters import MarkedLetters
from millimetric_server.journal.entries import EntryId
from millimetric_server.journal.errors import UnknownDeadLettersError

_WAIT_S = 10.0
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Progress: `is_taken` by a server, `is_settled` by ClickHouse, and how many events it refused again."""

    is_taken: bool
    is_settled: bool = False
    refused: int = 0


@click.command("retry")
@click.argument("dead_letter_ids", nargs=-1, type=int, metavar="[ID]...")
@click.option("--project", metavar="P", help="All dead letters of this project: its name or id.")
@click.option("--all", "is_all", is_flag=True, help="All dead letters.")
@click.option("--wait/--no-wait", "waits", default=True, help="Wait up to 10 seconds for the outcome.")
@setting_options(*CONTROL_FLAGS)
def retry_dead_letters(
    dead_letter_ids: tuple[int, ...], project: str | None, is_all: bool, waits: bool, **flags: object
) -> None:
    """Retry dead letters: by ID, by project, or all.

    Fix the cause first: drop the constraint, or restore the table's columns. A running server picks the events up
    within about a second and sends them after those that are waiting; otherwise they are sent at its next start. An
    event that is refused again becomes a dead letter again, with a new id; then the exit code is 1.

    \b
    Examples:
      millimetric journal retry 17 18
      millimetric journal retry --project shop
      millimetric journal retry --all --no-wait
    """
    _check_choice(dead_letter_ids, project, is_all=is_all)
    project_id, path = find_project(flags, project), find_journal(flags)
    marked = _mark(path, dead_letter_ids, project_id)
    if not marked.events:
        click.echo("There are no dead letters to retry.")
    elif not waits:
        click.echo(f"{_count(marked.events)} marked for a retry.")
    else:
        with open_console(is_error=True).status("Waiting for the server to retry"):
            outcome = _follow(path, marked)
        _report(marked, outcome)


def _check_choice(dead_letter_ids: Sequence[int], project: str | None, *, is_all: bool) -> None:
    if is_all and (dead_letter_ids or project is not None):
        raise click.UsageError("--all takes no ids and no --project: it means all dead letters of all projects.")
    if not (is_all or dead_letter_ids or project is not None):
        raise click.UsageError("Say which dead letters: their ids, --project or --all.")


def _mark(path: Path, dead_letter_ids: Sequence[int], project_id: str) -> MarkedLetters:
    """Mark what was chosen, all or nothing: an unknown id is an error."""
    with open_journal(path, is_written=True) as journal:
        try:
            return journal.retry_dead_letters(dead_letter_ids, project_id)
        except UnknownDeadLettersError as error:
            where = f" of project {project_id}" if project_id else ""
            raise click.ClickException(
                f"No dead letter{where} has the id {', '.join(map(str, error.dead_letter_ids))}; nothing was marked. "
                "List them: millimetric journal dead-letters"
            ) from error


def _follow(path: Path, marked: MarkedLetters) -> _Outcome:
    """Wait until the server took what was marked, then until its loader has settled it."""
    deadline = time.monotonic() + _WAIT_S
    waited_for: Sequence[EntryId] | None = None
    with open_journal(path) as journal:
        while True:
            if waited_for is None and journal.are_taken_back(marked):
                waited_for = journal.find_last_waiting()
            if waited_for is not None and journal.are_settled(waited_for):
                return _Outcome(is_taken=True, is_settled=True, refused=journal.count_refused_again(marked))
            if time.monotonic() > deadline:
                return _Outcome(is_taken=waited_for is not None)
            time.sleep(_LOOK_EVERY_S)


def _report(marked: MarkedLetters, outcome: _Outcome) -> None:
    if not outcome.is_taken:
        click.echo(
            f"{_count(marked.events)} marked, but no running server picked them up: it retries them at its next start."
        )
    elif not outcome.is_settled:
        click.echo(
            f"{_count(marked.events)} picked up by the server and waiting for ClickHouse. "
            "To see their progress: millimetric journal status"
        )
    else:
        click.echo(f"{_count(marked.events - outcome.refused)} loaded, {outcome.refused:,} refused again.")
    if outcome.refused:
        click.echo("See why: millimetric journal dead-letters", err=True)
        raise SystemExit(1)


def _count(events: int) -> str:
    return "1 event is" if events == 1 else f"{events:,} events are"
