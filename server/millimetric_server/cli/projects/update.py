"""`millimetric project update`: the rules that apply to a project's events."""

from collections.abc import Mapping

import click

from millimetric_server.cli.projects.control import open_control
from millimetric_server.cli.projects.rule_sets import check_rule_set
from millimetric_server.cli.settings import CONTROL_FLAGS, setting_options
from millimetric_server.cli.tables import print_table
from millimetric_server.config import REFUSED, ConfigError, parse_rate_limits
from millimetric_server.control.records import Project, RateLimit

_DEFAULT = "default"
_NONE = "none"


@click.command("update")
@click.argument("name")
@click.option("--rule-set", metavar="S", help="The attribution rule set for new events, such as standard-2.")
@click.option("--retention-days", type=int, metavar="N", help="How many days new events are kept.")
@click.option(
    "--rate-limits",
    metavar="LIMITS",
    help="Calls a second / burst of this project, such as track=100/400,batch=off; `off` lifts all limits, and "
    "`default` returns to the server's. Replaces what was set before.",
)
@click.option(
    "--ignored-referrers",
    metavar="HOSTS",
    help="Hosts that begin no visit, such as pay.example.com,login.example.org, each with its subdomains; `none` "
    "clears the list. Replaces what was set before. For rule sets from standard-2 on.",
)
@click.option(
    "--keep-parameter",
    "kept_parameters",
    metavar="NAME",
    multiple=True,
    help="A url parameter whose values redaction leaves alone, such as name where it is a shop's filter; repeat it for "
    "more, `none` clears the list. Replaces what was set before.",
)
@setting_options(*CONTROL_FLAGS)
def update_project(
    name: str,
    rule_set: str | None,
    retention_days: int | None,
    rate_limits: str | None,
    ignored_referrers: str | None,
    kept_parameters: tuple[str, ...],
    **flags: object,
) -> None:
    """Change the settings of the project NAME (or its id) and show them; without options, only show them.

    A running server follows within a few seconds. Stored events stay as they are: `millimetric reclassify` applies
    another rule set to them, and each event keeps the retention that applied when it arrived.

    \b
    Examples:
      millimetric project update shop --rule-set millimetric-1
      millimetric project update shop --retention-days 90 --rate-limits track=100/400
      millimetric project update shop --ignored-referrers pay.example.com,login.example.org
      millimetric project update shop --keep-parameter name --keep-parameter key
    """
    if rule_set is not None:
        check_rule_set(rule_set)
    limits = None if rate_limits is None else _read_limits(rate_limits)
    hosts = None if ignored_referrers is None else _read_hosts(ignored_referrers)
    with open_control(flags) as (store, _):
        changed = store.update_project(
            name,
            rule_set=rule_set,
            retention_days=retention_days,
            rate_limits=limits,
            ignored_referrers=hosts,
            kept_parameters=_read_parameters(kept_parameters),
        )
    _show(changed)


def _read_hosts(text: str) -> list[str]:
    return [] if text.strip().lower() == _NONE else text.split(",")


def _read_parameters(names: tuple[str, ...]) -> tuple[str, ...] | None:
    if not names:
        return None
    return () if [name.strip().lower() for name in names] == [_NONE] else names


def _read_limits(text: str) -> Mapping[str, RateLimit | None]:
    """Read the limits that are named, and no others: those stay the server's."""
    if text.strip().lower() == _DEFAULT:
        return {}
    try:
        limits = parse_rate_limits(text)
    except ConfigError as error:
        raise click.BadParameter(str(error).partition(": ")[2], param_hint="--rate-limits") from error
    limits = {name: limit for name, limit in limits.items() if name != REFUSED}
    if text.strip().lower() == "off":
        return limits
    named = {entry.partition("=")[0].strip() for entry in text.split(",")}
    if REFUSED in named:
        raise click.BadParameter(
            f"`{REFUSED}` applies to the whole server and can't be set for a project", param_hint="--rate-limits"
        )
    return {name: limit for name, limit in limits.items() if name in named}


def _show(project: Project) -> None:
    rows = [
        ("rule set", project.rule_set),
        ("days kept", str(project.retention_days)),
        ("rate limits", _write_limits(project)),
        ("ignored referrers", ", ".join(sorted(project.ignored_referrers)) or _NONE),
        ("kept parameters", ", ".join(sorted(project.kept_parameters)) or _NONE),
    ]
    print_table(f"Project {project.name} ({project.project_id})", ("rule", "value"), rows)


def _write_limits(project: Project) -> str:
    limits = project.rate_limits or {}
    told = [
        f"{name}={'off' if limit is None else f'{limit.rate_per_s:g}/{limit.burst}'}" for name, limit in limits.items()
    ]
    return ", ".join(told) or "the server's"
