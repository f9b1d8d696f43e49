"""Puts a backup into an empty data folder: checked file by file, and complete or not begun."""

import shutil
from pathlib import Path

from millimetric_server.backup.archive import (
    CONTROL,
    ENGINE,
    JOURNAL,
    SECRETS,
    Advance,
    ArchivedFile,
    BackupError,
    Manifest,
    copy_file,
    read_manifest,
)
from millimetric_server.backup.moment import find_control_file, read_engine_folder
from millimetric_server.config import ConfigError, Settings
from millimetric_server.journal.sqlite.migrations import SCHEMA_VERSION
from millimetric_server.journal.sqlite.snapshot import renew_identity
from millimetric_server.process.folders import sync_file_system, sync_folder
from millimetric_server.store.migrations import read_migrations

_DRAFT = ".restoring"
_ENGINE_PARTS = ("metadata", "store")
# What may lie in a folder that counts as empty.
_HARMLESS = {"server.lock", "geoip.mmdb", "admin.sock", ENGINE, f"{ENGINE}.tmp"}
_HARMLESS_IN_ENGINE = {"server.lock", "status"}


def refuse_half_restored(settings: Settings) -> None:
    """Raise ConfigError if a restore into this folder was interrupted."""
    if (settings.data_path / _DRAFT).exists():
        raise ConfigError(f"A restore into {settings.data_path} was interrupted: run `millimetric restore` again.")


def restore_backup(archive: Path, settings: Settings, advance: Advance) -> Manifest:
    """Restore into the data folder of these settings, whose lock the caller holds. Raises BackupError, OSError.

    Afterwards the journal has another identity, so that ClickHouse does not take the restored server's blocks for those
    that the original server has loaded since.
    """
    manifest = read_manifest(archive)
    _check_fit(manifest, settings)
    data, engine = settings.data_path, read_engine_folder(settings)
    draft = data / _DRAFT
    if draft.exists():  # interrupted: its files are removed, and there were no others
        for path in (data / SECRETS, data / CONTROL, data / JOURNAL, *(engine / part for part in _ENGINE_PARTS)):
            _remove(path)
        _remove(draft)
    _check_empty(data, _HARMLESS)
    _check_empty(engine, _HARMLESS_IN_ENGINE)
    draft.mkdir(0o700)
    try:
        _copy(archive, manifest, draft, advance)
        renew_identity(draft / JOURNAL)
        for name, target in manifest.links.items():
            link = draft / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)
        sync_file_system(draft)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    engine.mkdir(parents=True, exist_ok=True)
    moves = [(f"{ENGINE}/{part}", engine / part) for part in _ENGINE_PARTS]
    moves += [(name, data / name) for name in (SECRETS, CONTROL, JOURNAL)]
    for name, place in moves:
        if (draft / name).exists():
            (draft / name).rename(place)
    sync_file_system(data)
    shutil.rmtree(draft)
    sync_folder(data)
    return manifest


def _check_fit(manifest: Manifest, settings: Settings) -> None:
    newest = read_migrations()[-1].version
    if manifest.journal_version > SCHEMA_VERSION or manifest.schema_version > newest:
        raise BackupError(
            f"The backup is of version {manifest.server_version}: restore it with that one or a newer one."
        )
    if manifest.database != settings.clickhouse_database:
        raise BackupError(
            f"The backup's database is {manifest.database}: set MILLIMETRIC_CLICKHOUSE_DATABASE={manifest.database}."
        )
    if CONTROL in manifest.files and find_control_file(settings) != settings.data_path / CONTROL:
        raise BackupError(
            "The backup contains a control database, but MILLIMETRIC_DATABASE_URL names another: unset it, restore, "
            "and move control.db where you want it afterwards."
        )


def _check_empty(folder: Path, harmless: set[str]) -> None:
    found = sorted(path.name for path in folder.iterdir() if path.name not in harmless) if folder.exists() else []
    if found:
        raise BackupError(f"{folder} is not empty ({found[0]}): restore into a new data folder.")


def _copy(archive: Path, manifest: Manifest, draft: Path, advance: Advance) -> None:
    for name, wanted in manifest.files.items():
        try:
            found = copy_file(archive / name, draft / name, advance)
        except FileNotFoundError:
            found = ArchivedFile(0, "")
        if found != wanted:
            raise BackupError(
                f"{archive / name} does not match its hash: the backup is damaged, and nothing was restored."
            )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
