"""`millimetric reclassify`: a project's history through another rule set."""

import contextlib
import time
from collections.abc import Iterator

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from millimetric_server.api.messages import Instant
from millimetric_server.cli.projects.control import open_control
from millimetric_server.cli.projects.rule_sets import check_rule_set
from millimetric_server.cli.settings import setting_options
from millimetric_server.cli.tables import open_console, print_table
from millimetric_server.config import Settings
from millimetric_server.control.origins import read_hosts
from millimetric_server.control.records import Project
from millimetric_server.journal.errors import JournalFileError
from millimetric_server.journal.sqlite.operator_journal import measure_backlog
from millimetric_server.process.folder_lock import FolderError, FolderInUseError, lock_engine
from millimetric_server.reclassify.reclassify import Progress as Tell
from millimetric_server.reclassify.reclassify import Scope, Tally, count_pending, reclassify, survey
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.faults import StoreUnavailableError
from millimetric_server.store.migrations import SchemaError, migrate
from millimetric_server.store.retrying_clickhouse import RetryingClickHouse

_WRITE_TIMEOUT_S = 3600
_MOVES_SHOWN_MAX = 200


@click.command("reclassify")
@click.option("--project", required=True, metavar="P", help="The project's name or id.")
@click.option("--rule-set", required=True, metavar="S", help="The rule set to run, such as standard-2.")
@click.option("--from", "from_", metavar="TIME", help="Only events from this time on: 2026-01-31 or RFC 3339.")
@click.option("--to", metavar="TIME", help="Only events before this time.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@setting_options("data_dir", "clickhouse_url", "database_url")
def reclassify_command(
    project: str, rule_set: str, from_: str | None, to: str | None, dry_run: bool, **flags: object
) -> None:
    """Apply another rule set to a project's stored events.

    Events that already have this rule set stay as they are, so the command may be repeated; after a crash, run it
    again. With the embedded engine, stop the server first. With a ClickHouse server it may keep running; events that
    arrive meanwhile keep the project's own rule set.

    \b
    Examples:
      millimetric reclassify --project shop --rule-set millimetric-1 --dry-run
      millimetric reclassify --project shop --rule-set standard-2 --from 2026-01-01
    """
    check_rule_set(rule_set)
    bounds = [None if text is None else _read_time(name, text) for name, text in (("--from", from_), ("--to", to))]
    with open_control(flags) as (control, settings):
        owner = control.resolve_project(project)
    scope = Scope(
        project_id=owner.project_id,
        rule_set=rule_set,
        own_hosts=read_hosts(owner.origins),
        ignored_hosts=owner.ignored_referrers,
        received_before=time.time_ns() // 1000,
        from_us=bounds[0],
        to_us=bounds[1],
    )
    with _open_store(settings) as store:
        tally = _run(store, scope, is_dry=dry_run)
    _show(tally, owner, scope, is_dry=dry_run)
    if waiting := _count_waiting(settings):
        click.echo(f"{waiting:,} events still wait in the server's journal: run this again once they are loaded.")


def _run(store: ClickHouse, scope: Scope, *, is_dry: bool) -> Tally:
    events = count_pending(store, scope)
    with _show_progress(events if is_dry else 2 * events) as tell:
        return survey(store, scope, tell) if is_dry else reclassify(store, scope, tell)


def _read_time(name: str, text: str) -> int:
    try:
        return Instant.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=name) from error


@contextlib.contextmanager
def _open_store(settings: Settings) -> Iterator[ClickHouse]:
    """Open ClickHouse with the current schema; what may go wrong becomes a sentence."""
    url = settings.resolved_clickhouse_url
    store = RetryingClickHouse(url, settings.clickhouse_database, write_timeout_s=_WRITE_TIMEOUT_S)
    try:
        with lock_engine(url, "reclassify"), contextlib.closing(store):
            store.open()
            migrate(store)
            yield store
    except FolderInUseError as error:
        raise click.ClickException(
            f"The embedded engine admits only one process at a time. {error} Stop the server, run this again, and "
            "start the server afterwards; nothing has been changed."
        ) from error
    except StoreUnavailableError as error:
        raise click.ClickException(
            f"ClickHouse failed: {error}\nRun this again: it resumes where it stopped."
        ) from error
    except (FolderError, SchemaError) as error:
        raise click.ClickException(str(error)) from error


def _count_waiting(settings: Settings) -> int:
    """Count the events in the journal beside us; they were classified before and are not in ClickHouse yet."""
    path = settings.data_path / "journal.db"
    if not path.exists():
        return 0
    try:
        return measure_backlog(path).rows
    except JournalFileError:
        return 0


@contextlib.contextmanager
def _show_progress(total: int) -> Iterator[Tell]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=open_console(is_error=True)) as bar:
        task = bar.add_task("reading", total=total)

        def tell(what: str, events: int) -> None:
            bar.update(task, description=what, advance=events)

        yield tell


def _show(tally: Tally, owner: Project, scope: Scope, *, is_dry: bool) -> None:
    total = tally.moves.total() + tally.left
    moved = [(move, events) for move, events in tally.moves.most_common() if move[:2] != move[2:]]
    if moved:
        rows = [
            (" / ".join(move[:2]), " / ".join(move[2:]), events, f"{events / total:.1%}")
            for move, events in moved[:_MOVES_SHOWN_MAX]
        ]
        title = f"{'What would change' if is_dry else 'Changed'} with {scope.rule_set}"
        print_table(title, ("from source / medium", "to source / medium", "events", "share"), rows)
        if len(moved) > _MOVES_SHOWN_MAX:
            click.echo(f"… and {len(moved) - _MOVES_SHOWN_MAX:,} more pairs with fewer events.")
    changed = sum(events for _, events in moved)
    click.echo(
        f"{total:,} events of other rule sets: {changed:,} {'would get' if is_dry else 'got'} another source or "
        f"medium, {tally.moves.total() - changed:,} keep both, {tally.left:,} stay under their rule set."
    )
    if tally.left:
        click.echo("The latter were attributed by parameters after a #, which are not stored (docs/attribution.md).")
    if owner.rule_set != scope.rule_set:
        click.echo(
            f"New events of {owner.name} are still classified by {owner.rule_set}. To change that: "
            f"millimetric project update {owner.project_id} --rule-set {scope.rule_set}"
        )
