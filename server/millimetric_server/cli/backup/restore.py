"""`millimetric restore`: a backup back into an empty data folder."""

import json
from pathlib import Path

import click

from millimetric_server.backup.archive import BackupError, read_manifest
from millimetric_server.backup.restore import restore_backup
from millimetric_server.cli.backup.command import describe, progress_bar
from millimetric_server.cli.settings import read_settings, setting_options
from millimetric_server.process.folder_lock import FolderError, lock_server_folders


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@setting_options("data_dir", "clickhouse_url", "database_url")
def restore(folder: Path, as_json: bool, **flags: object) -> None:
    """Restore the backup in FOLDER into an empty data folder, from which a server can be started.

    Each file is compared with its hash in the backup; a damaged backup restores nothing. No server may run on the
    data folder. Afterwards start the server as usual: it loads what was waiting, and events that are sent again are
    duplicates, as before. Events that came after the moment of the backup are missing: callers that kept them may
    send them again.

    The secrets are restored too, so API keys and page tokens of that time work again, even those that were revoked
    since: revoke them again. Never run the old and the restored server on one ClickHouse.

    \b
    Examples:
      millimetric restore /backups/2026-11-25 --data-dir /var/lib/millimetric
    """
    settings = read_settings(**flags)
    try:
        with lock_server_folders(settings, "restore"), progress_bar("restore", is_shown=not as_json) as bar:
            task = bar.add_task("restore", total=read_manifest(folder).bytes)
            manifest = restore_backup(folder, settings, lambda size: bar.update(task, advance=size))
    except (BackupError, FolderError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"The backup can't be restored: {error}") from error
    if as_json:
        click.echo(json.dumps({"data_dir": str(settings.data_path), **describe(manifest)}))
        return
    counts = manifest.counts
    click.echo(
        f"{settings.data_path} is restored as of {manifest.taken_at}: {counts.stored:,} stored events, "
        f"{counts.waiting:,} waiting. Start the server with `millimetric serve`, then run `millimetric doctor`."
    )
    if manifest.control != "sqlite":
        click.echo(
            "The control database was PostgreSQL: restore it with pg_restore before you start the server.", err=True
        )
