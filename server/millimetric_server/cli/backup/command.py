"""`millimetric backup`: the whole data of a running server, as of one moment."""

import contextlib
import json
from pathlib import Path

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from millimetric_server.backup.admin_socket import Answer, ask_backup
from millimetric_server.backup.archive import BackupError, Manifest
from millimetric_server.cli.settings import read_settings, setting_options
from millimetric_server.cli.tables import open_console


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@setting_options("data_dir")
def backup(folder: Path, as_json: bool, **flags: object) -> None:
    """Save all data of a running server into FOLDER, as of one moment.

    The backup contains the journal, the control database, the secrets and the embedded engine: every event that was
    acknowledged before the moment, once, and none that came later. The server keeps acknowledging; loading pauses
    for a fraction of a second. FOLDER must be new or empty, and outside the data folder. It appears once it is
    complete: an interrupted backup leaves FOLDER.partial, which the next one replaces.

    FOLDER holds personal data and the server's secrets, and only this user can read it: keep it so. Restore it with
    `millimetric restore`. Save a PostgreSQL control database with pg_dump, and a ClickHouse server with its own
    BACKUP: see docs/operations.md.

    \b
    Examples:
      millimetric backup /backups/2026-11-25
      millimetric backup --data-dir /var/lib/millimetric "/backups/$(date +%F)"
    """
    settings = read_settings(**flags)
    try:
        with (
            contextlib.closing(ask_backup(settings.data_path, folder.absolute())) as answers,
            progress_bar("backup", is_shown=not as_json) as bar,
        ):
            task = bar.add_task("backup", total=None)
            last = Answer()
            for last in answers:
                if last.total_bytes:
                    bar.update(task, completed=last.done_bytes, total=last.total_bytes)
    except BackupError as error:
        raise click.ClickException(str(error)) from error
    assert last.manifest is not None  # noqa: S101 - ask_backup raises otherwise
    if as_json:
        click.echo(json.dumps({"folder": str(folder.absolute()), **describe(last.manifest), "rest_ms": last.rest_ms}))
        return
    counts = last.manifest.counts
    click.echo(
        f"{folder}: {counts.stored:,} stored events and {counts.waiting:,} waiting ones, "
        f"{last.manifest.bytes / 1024**2:,.1f} MiB in {len(last.manifest.files):,} files. "
        f"Loading paused for {last.rest_ms:,.0f} ms."
    )
    if last.manifest.control != "sqlite":
        click.echo("The control database is PostgreSQL and not included: save it with pg_dump.", err=True)


def describe(manifest: Manifest) -> dict[str, object]:
    """A manifest without its list of files."""
    return {
        "taken_at": manifest.taken_at,
        "server_version": manifest.server_version,
        "control": manifest.control,
        "received": manifest.counts.received,
        "stored": manifest.counts.stored,
        "waiting": manifest.counts.waiting,
        "files": len(manifest.files),
        "bytes": manifest.bytes,
    }


def progress_bar(name: str, *, is_shown: bool) -> Progress:
    """A bar by bytes on standard error; nothing where nobody watches a terminal."""
    console = open_console(is_error=True)
    return Progress(
        TextColumn(name),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (is_shown and console.is_terminal),
    )
