"""`millimetric origin`: the web pages that may use a project's public key."""

import click

from millimetric_server.cli.projects.control import open_control
from millimetric_server.cli.settings import CONTROL_FLAGS, setting_options

_project_option = click.option("--project", required=True, metavar="P", help="The project's name or id.")


@click.group()
def origin() -> None:
    """Choose the web origins from which a project's public keys may send events.

    An origin is scheme://host[:port], with nothing after it. https://*.example.com covers all subdomains of
    example.com, but not example.com itself.
    """


@origin.command("add")
@click.argument("url")
@_project_option
@setting_options(*CONTROL_FLAGS)
def add_origin(url: str, project: str, **flags: object) -> None:
    """Allow the origin URL; it may be allowed already.

    \b
    Example:
      millimetric origin add https://www.example.com --project shop
    """
    with open_control(flags) as (store, _):
        _show(store.add_origin(project, url).origins)


@origin.command("remove")
@click.argument("url")
@_project_option
@setting_options(*CONTROL_FLAGS)
def remove_origin(url: str, project: str, **flags: object) -> None:
    """Remove the origin URL from the project's list.

    \b
    Example:
      millimetric origin remove https://www.example.com --project shop
    """
    with open_control(flags) as (store, _):
        _show(store.remove_origin(project, url).origins)


@origin.command("list")
@_project_option
@setting_options(*CONTROL_FLAGS)
def list_origins(project: str, **flags: object) -> None:
    """List the project's origins, one per line.

    \b
    Example:
      millimetric origin list --project shop
    """
    with open_control(flags) as (store, _):
        _show(store.list_origins(project))


def _show(origins: tuple[str, ...]) -> None:
    for one in origins:
        click.echo(one)
    if not origins:
        click.echo("No origin is allowed: no page can use the public key.", err=True)
