"""Settings on the command line: flags that share their words with config.Settings."""

import os
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import click

from millimetric_server.config import PREFIX, ConfigError, Settings, load_settings

Command = TypeVar("Command", bound=Callable[..., Any])
_HELP = {setting.name: (setting.metadata["help"], setting.default) for setting in fields(Settings)}

# What `serve` takes as flags, and what the commands on projects, keys and origins take.
SERVER_FLAGS = ("host", "grpc_port", "http_port", "metrics_address", "data_dir", "clickhouse_url", "database_url")
CONTROL_FLAGS = ("data_dir", "database_url")


def setting_options(*names: str) -> Callable[[Command], Command]:
    """Add a flag for each of these settings; a flag wins over the environment, which wins over the default."""

    def decorate(command: Command) -> Command:
        for name in reversed(names):
            text, default = _HELP[name]
            told = (
                f" [env: {PREFIX}{name.upper()}; default: {default}]"
                if default != ""
                else f" [env: {PREFIX}{name.upper()}]"
            )
            option = click.option(_flag(name), name, type=type(default), default=None, help=text + told)
            command = option(command)
        return command

    return decorate


def read_settings(**flags: object) -> Settings:
    """Read the environment and these flags. Raises click.ClickException with a sentence."""
    try:
        return load_settings(os.environ, flags)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error


def render_settings_table() -> str:
    """Write all settings as the Markdown table that docs/configuration.md holds between its two marks."""
    lines = ["| Setting | Environment | Flag of `serve` | Default | Meaning |", "| --- | --- | --- | --- | --- |"]
    for name, (text, default) in _HELP.items():
        flag = f"`{_flag(name)}`" if name in SERVER_FLAGS else ""
        shown = "" if default == "" else f"`{default}`"
        lines.append(f"| {name} | `{PREFIX}{name.upper()}` | {flag} | {shown} | {_escape(text)} |")
    return "\n".join(lines)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
