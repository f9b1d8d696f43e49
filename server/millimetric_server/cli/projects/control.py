"""The control database for the commands on projects, keys and origins: the server's own, opened while it may run."""

import contextlib
from collections.abc import Iterator
from datetime import datetime

import click

from millimetric_server.cli.settings import read_settings
from millimetric_server.config import ConfigError, Settings
from millimetric_server.control.errors import ControlError, ControlUnavailableError
from millimetric_server.control.store import ControlStore, open_control_store
from millimetric_server.server_secrets import load_secrets


@contextlib.contextmanager
def open_control(flags: dict[str, object]) -> Iterator[tuple[ControlStore, Settings]]:
    """Open the control plane that these flags and the environment name; its failures become sentences."""
    settings = read_settings(**flags)
    with tell_planned_errors(), contextlib.closing(open_control_store(settings.resolved_database_url)) as store:
        yield store, settings


@contextlib.contextmanager
def tell_planned_errors() -> Iterator[None]:
    """Turn what may go wrong in the control plane into a sentence and exit code 1."""
    try:
        yield
    except (ControlError, ConfigError) as error:
        raise click.ClickException(str(error)) from error
    except ControlUnavailableError as error:
        raise click.ClickException(f"{error}\nRun `millimetric doctor` to see what is wrong.") from error


def read_pepper(settings: Settings, store: ControlStore) -> bytes:
    """The secret under which the server hashes keys; made if this comes before its first start."""
    return load_secrets(settings, store.has_keys).key_pepper


def format_time(moment: datetime | None) -> str:
    """A time as tables show it, to the minute in UTC."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
