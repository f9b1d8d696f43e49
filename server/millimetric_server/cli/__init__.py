"""The command line: each command is one file, and all are listed here."""

import os

import click

from millimetric_server import __version__
from millimetric_server.cli.backup.command import backup
from millimetric_server.cli.backup.restore import restore
from millimetric_server.cli.demo.command import demo
from millimetric_server.cli.demo.quickstart import quickstart
from millimetric_server.cli.doctor.command import doctor
from millimetric_server.cli.journal.command import journal
from millimetric_server.cli.load.command import load
from millimetric_server.cli.projects.key import key
from millimetric_server.cli.projects.origin import origin
from millimetric_server.cli.projects.project import project
from millimetric_server.cli.reclassify import reclassify_command
from millimetric_server.cli.serve import serve

COMMANDS: tuple[click.Command, ...] = (
    serve,
    quickstart,
    project,
    key,
    origin,
    load,
    demo,
    reclassify_command,
    journal,
    backup,
    restore,
    doctor,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="millimetric")
def main() -> None:
    """Event analytics with typed APIs, honest numbers and visitors' privacy.

    \b
    To begin:
      millimetric serve
      millimetric project create my-shop
      millimetric demo
    """
    os.umask(0o077)  # only the user may read what these commands write


for _command in COMMANDS:
    main.add_command(_command)
