"""The command line: each command is one file, and all are listed here."""

import importlib
import os
from collections.abc import Mapping

import click

from millimetric_server import __version__

# By name: the module in this package, and the command in it.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "serve": ("serve", "serve"),
    "quickstart": ("demo.quickstart", "quickstart"),
    "project": ("projects.project", "project"),
    "key": ("projects.key", "key"),
    "origin": ("projects.origin", "origin"),
    "load": ("load.command", "load"),
    "demo": ("demo.command", "demo"),
    "reclassify": ("reclassify", "reclassify_command"),
    "journal": ("journal.command", "journal"),
    "backup": ("backup.command", "backup"),
    "restore": ("backup.restore", "restore"),
    "doctor": ("doctor.command", "doctor"),
}


class _LateGroup(click.Group):
    """Imports a command when it is run or described, because importing all of them takes most of a second."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Their names, as `--help` lists them."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        return command


@click.group(cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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
