"""`millimetric project`: the tenants of a server."""

import json

import click
from rich.panel import Panel
from rich.text import Text

from millimetric_server.cli.projects.control import format_time, open_control, read_pepper
from millimetric_server.cli.projects.update import update_project
from millimetric_server.cli.settings import CONTROL_FLAGS, setting_options
from millimetric_server.cli.tables import open_console, print_table
from millimetric_server.control.records import Environment, KeyKind, Project
from millimetric_server.control.store import ControlStore

_KEYS = (
    ("public_key", KeyKind.PUBLIC, "for web pages: sends events, from the project's origins only"),
    ("secret_key", KeyKind.SECRET, "for your servers: sends, reads and forgets"),
    ("read_key", KeyKind.READ, "for dashboards: reads"),
)


@click.group()
def project() -> None:
    """Create, list and change projects. A project is one tenant: its keys never see another project's events."""


project.add_command(update_project)


@project.command("create")
@click.argument("name")
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="URL",
    help="A web origin that may use the public key, such as https://www.example.com or "
    "https://*.example.com for all its subdomains. May be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@setting_options(*CONTROL_FLAGS)
def create_project(name: str, origins: tuple[str, ...], as_json: bool, **flags: object) -> None:
    """Create a project and print its three keys.

    The keys can't be shown again, because only a hash of them is stored. They work at once in every running server.

    \b
    Examples:
      millimetric project create shop --origin https://shop.example
      millimetric project create shop --json
    """
    with open_control(flags) as (store, settings):
        pepper = read_pepper(settings, store)
        made = store.create_project(name, origins)
        texts = _create_keys(store, made, pepper)
    if as_json:
        click.echo(json.dumps({"project_id": made.project_id, **texts}))
    else:
        _show(made, texts)


@project.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array and nothing else.")
@setting_options(*CONTROL_FLAGS)
def list_projects(as_json: bool, **flags: object) -> None:
    """List all projects, oldest first.

    \b
    Example:
      millimetric project list
    """
    with open_control(flags) as (store, _):
        found = store.list_projects()
    if as_json:
        click.echo(json.dumps([_describe(one) for one in found]))
        return
    if not found:
        click.echo("There is no project yet. Create one: millimetric project create NAME")
        return
    rows = [
        (
            one.name,
            one.project_id,
            "\n".join(one.origins),
            one.rule_set,
            one.retention_days,
            format_time(one.created_at),
        )
        for one in found
    ]
    columns = ("name", "project_id", "origins", "rule set", "days kept", "created (UTC)")
    print_table("Projects", columns, rows, unbroken=("project_id",))


def _create_keys(store: ControlStore, owner: Project, pepper: bytes) -> dict[str, str]:
    return {
        name: store.create_key(kind, Environment.LIVE, pepper, project=owner.project_id).text for name, kind, _ in _KEYS
    }


def _show(made: Project, texts: dict[str, str]) -> None:
    print_table(
        f"Project {made.name} ({made.project_id})",
        ("key", "text"),
        [(name.removesuffix("_key"), texts[name]) for name, _, _ in _KEYS],
        unbroken=("text",),
    )
    uses = "\n".join(f"{name.removesuffix('_key')}: {use}." for name, _, use in _KEYS)
    if not made.origins:
        uses += (
            "\nNo page can use the public key yet: "
            "millimetric origin add https://www.example.com --project " + made.project_id
        )
    notice = "The keys are shown only once: store them where you store passwords."
    open_console().print(Panel(Text(f"{notice}\n\n{uses}"), expand=False))


def _describe(one: Project) -> dict[str, object]:
    return {
        "project_id": one.project_id,
        "name": one.name,
        "origins": list(one.origins),
        "rule_set": one.rule_set,
        "retention_days": one.retention_days,
        "ignored_referrers": sorted(one.ignored_referrers),
        "kept_parameters": sorted(one.kept_parameters),
        "created_at": one.created_at.isoformat(),
    }
