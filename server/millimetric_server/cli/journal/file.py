"""The server's journal for commands, opened with or without a running server."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from millimetric_server.cli.projects.control import open_control
from millimetric_server.cli.settings import read_settings
from millimetric_server.journal.errors import JournalFileError, JournalVersionError
from millimetric_server.journal.port import OperatorJournal
from millimetric_server.journal.sqlite.operator_journal import open_operator_journal


def find_journal(flags: dict[str, object]) -> Path:
    """The journal of the data folder that these flags and the environment name."""
    return read_settings(**flags).data_path / "journal.db"


def find_project(flags: dict[str, object], project: str | None) -> str:
    """The id of the project with this name or id; empty where none is asked for."""
    if project is None:
        return ""
    with open_control(flags) as (store, _):
        return store.resolve_project(project).project_id


@contextlib.contextmanager
def open_journal(path: Path, *, is_written: bool = False) -> Iterator[OperatorJournal]:
    """Open the journal to read it or to write it; what may go wrong becomes a sentence."""
    if not path.exists():
        raise click.ClickException(f"There is no journal at {path}. Start the server once: it creates the journal.")
    try:
        with open_operator_journal(path, is_written=is_written) as journal:
            yield journal
    except JournalVersionError as error:
        raise click.ClickException(_explain_version(error)) from error
    except JournalFileError as error:
        raise click.ClickException(f"{path}: {error}\nRun `millimetric doctor` to see what is wrong.") from error


def _explain_version(error: JournalVersionError) -> str:
    if error.found < error.known:
        return f"The journal has the older version {error.found}. Start the server once: it upgrades the file."
    return f"The journal has version {error.found}, this command knows {error.known}: run a newer millimetric."
