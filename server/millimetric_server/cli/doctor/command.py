"""`millimetric doctor`: what is wrong with this installation, and how to fix it."""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict

import click
from rich.table import Table
from rich.text import Text

from millimetric_server.cli.doctor.files import (
    check_control_database,
    check_data_dir,
    check_geoip,
    check_journal,
    check_ledger,
    check_python,
    check_secrets,
)
from millimetric_server.cli.doctor.findings import Finding, Verdict, fail, ok
from millimetric_server.cli.doctor.services import (
    check_clickhouse,
    check_grpc_port,
    check_http_port,
    check_metrics,
    check_trusted_proxies,
)
from millimetric_server.cli.doctor.store import check_store
from millimetric_server.cli.settings import SERVER_FLAGS, setting_options
from millimetric_server.cli.tables import open_console
from millimetric_server.config import ConfigError, Settings, load_settings

CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    check_python,
    check_data_dir,
    check_secrets,
    check_control_database,
    check_journal,
    check_ledger,
    check_grpc_port,
    check_http_port,
    check_metrics,
    check_clickhouse,
    check_store,
    check_geoip,
    check_trusted_proxies,
)
_STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@setting_options(*SERVER_FLAGS)
def doctor(as_json: bool, **flags: object) -> None:
    """Check settings, disk, ports, databases and ClickHouse, and say how to fix problems.

    Pass the same flags and environment as to the server. It changes nothing and may run while the server runs.
    The exit code is 1 if a check fails; warnings do not count.

    \b
    Examples:
      millimetric doctor
      millimetric doctor --data-dir /var/lib/millimetric --json
    """
    for name in ("millimetric_server", "clickhouse_connect"):  # the findings tell what they would log
        logging.getLogger(name).addHandler(logging.NullHandler())
    findings = examine(flags)
    is_well = all(finding.verdict is not Verdict.FAIL for finding in findings)
    if as_json:
        click.echo(json.dumps({"ok": is_well, "checks": [asdict(finding) for finding in findings]}))
    else:
        _show(findings)
    if not is_well:
        raise SystemExit(1)


def examine(flags: dict[str, object]) -> list[Finding]:
    """Run all checks; where the settings can't be read, that is the only finding."""
    try:
        settings = load_settings(os.environ, flags)
    except ConfigError as error:
        return [fail("settings", str(error), "Correct it; docs/configuration.md lists all settings.")]
    return [ok("settings", "are valid"), *(check(settings) for check in CHECKS)]


def _show(findings: list[Finding]) -> None:
    table = Table("check", "", "found", "what to do", title="millimetric doctor", title_justify="left")
    for one in findings:
        verdict = Text(one.verdict.value, style=_STYLES[one.verdict])
        table.add_row(Text(one.check), verdict, Text(one.told), Text(one.advice))
    open_console().print(table)
