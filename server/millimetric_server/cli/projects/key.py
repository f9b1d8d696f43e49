"""`millimetric key`: the credentials of callers."""

import json

import click

from millimetric_server.cli.projects.control import format_time, open_control, read_pepper
from millimetric_server.cli.settings import CONTROL_FLAGS, setting_options
from millimetric_server.cli.tables import print_table
from millimetric_server.control.records import Environment, Key, KeyKind

_KIND_HELP = (
    "pk (public) sends events from web pages; sk (secret) sends, reads and forgets, for servers only; "
    "rk (read) reads; ak (account) reads all projects of the account and takes no --project."
)


@click.group()
def key() -> None:
    """Create, list and revoke keys. New keys work at once; revoked ones stop within 10 seconds."""


@key.command("create")
@click.option("--project", default=None, metavar="P", help="The project's name or id; none for kind ak.")
@click.option("--kind", required=True, type=click.Choice([kind.value for kind in KeyKind]), help=_KIND_HELP)
@click.option(
    "--env",
    "environment",
    type=click.Choice([environment.value for environment in Environment]),
    default=Environment.LIVE.value,
    show_default=True,
    help="The environment named in the key, so that people don't mix keys up.",
)
@click.option("--label", default="", metavar="TEXT", help="What the key is for; shown in the list.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@setting_options(*CONTROL_FLAGS)
def create_key(project: str | None, kind: str, environment: str, label: str, as_json: bool, **flags: object) -> None:
    """Create a key and print it. It can't be shown again.

    \b
    Examples:
      millimetric key create --project shop --kind rk --label dashboard
      millimetric key create --kind ak --label "monthly report"
    """
    with open_control(flags) as (store, settings):
        made = store.create_key(
            KeyKind(kind), Environment(environment), read_pepper(settings, store), project=project, label=label
        )
    if as_json:
        click.echo(json.dumps({**_describe(made.key), "key": made.text}))
        return
    click.echo(made.text)
    click.echo("The key is shown only once: store it where you store passwords.", err=True)


@key.command("list")
@click.option(
    "--project", default=None, metavar="P", help="The project's name or id. Without it: the account's own keys."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array and nothing else.")
@setting_options(*CONTROL_FLAGS)
def list_keys(project: str | None, as_json: bool, **flags: object) -> None:
    """List a project's keys, including revoked ones. Only a key's owner knows its secret.

    \b
    Example:
      millimetric key list --project shop
    """
    with open_control(flags) as (store, _):
        found = store.list_account_keys() if project is None else store.list_keys(project)
    if as_json:
        click.echo(json.dumps([_describe(one) for one in found]))
        return
    rows = [
        (
            one.prefix,
            one.kind.value,
            one.environment.value,
            one.label,
            format_time(one.created_at),
            format_time(one.revoked_at),
        )
        for one in found
    ]
    columns = ("prefix", "kind", "env", "label", "created (UTC)", "revoked (UTC)")
    print_table("Keys of the account" if project is None else f"Keys of {project}", columns, rows)


@key.command("revoke")
@click.argument("prefix")
@setting_options(*CONTROL_FLAGS)
def revoke_key(prefix: str, **flags: object) -> None:
    """Revoke the key with this PREFIX, permanently.

    The prefix is the 8 hex digits between a key's second and third underscore; `key list` shows it. Servers
    refuse the key within 10 seconds.

    \b
    Example:
      millimetric key revoke 0123abcd
    """
    with open_control(flags) as (store, _):
        revoked = store.revoke_key(prefix)
    click.echo(f"Revoked {revoked.kind.value}_{revoked.environment.value}_{revoked.prefix}_…")


def _describe(one: Key) -> dict[str, object]:
    return {
        "prefix": one.prefix,
        "kind": one.kind.value,
        "env": one.environment.value,
        "project_id": one.project_id,
        "label": one.label,
        "created_at": one.created_at.isoformat(),
        "revoked_at": one.revoked_at and one.revoked_at.isoformat(),
    }
