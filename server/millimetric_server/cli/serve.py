"""`millimetric serve`."""

import logging
from typing import Any

import click

from millimetric_server.cli.settings import read_settings, setting_options
from millimetric_server.config import ConfigError
from millimetric_server.control.errors import ControlError, ControlUnavailableError
from millimetric_server.journal.database import JournalError
from millimetric_server.store.clickhouse import StoreUnavailableError
from millimetric_server.store.migrations import SchemaError

_PLANNED = (
    ConfigError,
    ControlError,
    ControlUnavailableError,
    JournalError,
    SchemaError,
    StoreUnavailableError,
    OSError,
)


@click.command()
@setting_options("host", "grpc_port", "http_port", "data_dir", "clickhouse_url", "database_url")
def serve(**flags: Any) -> None:
    """Run the server: gRPC on one port, REST, Connect, health and metrics on the other.

    Without any setting it keeps everything in ./var and runs ClickHouse inside this process. SIGTERM ends it
    in order: running calls finish and the journal is loaded.
    """
    settings = read_settings(**flags)
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    from millimetric_server.app import Server  # the engine's libraries are loaded only to serve

    try:
        Server(settings).run()
    except _PLANNED as error:
        raise click.ClickException(f"{error}\nRun `millimetric doctor` to see what is wrong.") from error
