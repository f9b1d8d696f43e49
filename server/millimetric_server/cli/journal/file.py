"""The server's journal for the commands that look into it, opened beside the server or without one."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from millimetric_server.cli.projects.control import open_control
from millimetric_server.cli.settings import read_settings
from millimetric_server.journal.database import connect, connect_read_only
from millimetric_server.journal.migrations import SCHEMA_VERSION


def find_journal(flags: dict[str, Any]) -> Path:
    """The journal of the data folder that these flags and the environment name."""
    return read_settings(**flags).data_path / "journal.db"


def find_project(flags: dict[str, Any], project: str | None) -> str:
    """The id of the project with this name or id; empty where none is asked for."""
    if project is None:
        return ""
    with open_control(flags) as (store, _):
        return store.resolve_project(project).project_id


def read_version(connection: sqlite3.Connection) -> int:
    """The version of the file's schema."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


@contextlib.contextmanager
def open_journal(path: Path, *, is_written: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the journal to read it or to write it; what may go wrong becomes a sentence."""
    if not path.exists():
        raise click.ClickException(f"There is no journal at {path}. Start the server once: it makes it.")
    try:
        with contextlib.closing(connect_read_only(path)) as connection:
            _check_version(read_version(connection))
        with contextlib.closing(connect(path) if is_written else connect_read_only(path)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise click.ClickException(f"{path}: {error}\nRun `millimetric doctor` to see what is wrong.") from error


def _check_version(version: int) -> None:
    """Refuse files whose tables are not those that this command knows."""
    if version < SCHEMA_VERSION:
        raise click.ClickException(
            f"The journal has the older version {version}. Start the server once: it upgrades the file."
        )
    if version > SCHEMA_VERSION:
        raise click.ClickException(
            f"The journal has version {version}, this command knows {SCHEMA_VERSION}: run a newer millimetric."
        )
