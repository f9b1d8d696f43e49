"""`millimetric serve`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from millimetric_server.cli.settings import SERVER_FLAGS, read_settings, setting_options
from millimetric_server.cli.start_errors import PLANNED, explain
from millimetric_server.config import Settings
from millimetric_server.process.log_writer import logging_to_stderr

if TYPE_CHECKING:
    from millimetric_server.app import Server


@click.command()
@setting_options(*SERVER_FLAGS)
def serve(**flags: object) -> None:
    """Run the server: gRPC on one port, REST, Connect and health on another, metrics on a third.

    Without any setting it keeps its data in ./var and runs ClickHouse inside this process. On SIGTERM or Ctrl-C it
    shuts down in order: running calls finish and the journal is loaded. Acknowledged events survive a crash.

    Create a project and its keys with `millimetric project create`; that works while the server runs.
    docs/configuration.md lists all settings, including those without a flag.

    \b
    Examples:
      millimetric serve
      millimetric serve --host 0.0.0.0 --data-dir /var/lib/millimetric
      millimetric serve --clickhouse-url http://user:password@clickhouse:8123
    """
    run_server(read_settings(**flags))


def run_server(settings: Settings, on_ready_to_run: "Callable[[Server], None] | None" = None) -> None:
    """Run the server until a signal ends it; `on_ready_to_run` is called when all is open but nothing answers yet."""
    try:
        with logging_to_stderr(settings.log_level):
            from millimetric_server.app import Server  # the engine's libraries are loaded only to serve

            server = Server(settings)
            if on_ready_to_run is not None:
                on_ready_to_run(server)
            server.run()
    except PLANNED as error:
        raise click.ClickException(f"{explain(error, settings)}\nRun `millimetric doctor` for details.") from error
