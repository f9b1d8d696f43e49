"""The command line: each command one file, all of them on this screen."""

import click

from millimetric_server import __version__
from millimetric_server.cli.serve import serve

COMMANDS: tuple[click.Command, ...] = (serve,)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="millimetric")
def main() -> None:
    """Event analytics with typed APIs, honest numbers and visitors' privacy."""


for _command in COMMANDS:
    main.add_command(_command)
