"""`millimetric demo`: a month of an invented shop's events, and reports on them."""

import contextlib
import itertools
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from millimetric.v1 import event_pb2
from millimetric_server.cli.addresses import grpc_address, http_url
from millimetric_server.cli.demo.events import DAYS, SITE, count_events, make_day
from millimetric_server.cli.demo.http_reads import ReadError, read_json
from millimetric_server.cli.load.batch_sender import BatchSender, SendError
from millimetric_server.cli.projects.control import open_control, read_pepper
from millimetric_server.cli.settings import CONTROL_FLAGS, read_settings, setting_options
from millimetric_server.cli.tables import open_console, print_table
from millimetric_server.control.records import Environment, KeyKind, Project
from millimetric_server.control.store import ControlStore

PROJECT = "demo"
_LABEL = "millimetric demo"
_LENT_KEY_WAIT_S = 10.0
_GIVEN_KEY_WAIT_S = 3.0  # it may have been made a moment ago
_BATCH = 500


@click.command()
@click.option(
    "--events",
    "events_total",
    type=click.IntRange(DAYS, 100_000),
    default=3000,
    show_default=True,
    help="About how many events, over 30 days.",
)
@click.option(
    "--until",
    type=click.DateTime(("%Y-%m-%d",)),
    metavar="YYYY-MM-DD",
    help="The 30 days before this day (UTC), which may not be in the future. The same day and number of events give "
    "the same events, ids and times included. [default: today]",
)
@click.option("--server", metavar="HOST:PORT", help="The server's gRPC address. [default: 127.0.0.1:50051]")
@click.option("--http", "http", metavar="URL", help="The server's HTTP URL. [default: http://127.0.0.1:8080]")
@click.option(
    "--key",
    metavar="sk_…",
    help="Send to the project of this secret key instead of project `demo` of the control database.",
)
@setting_options(*CONTROL_FLAGS)
def demo(
    events_total: int, until: datetime | None, server: str | None, http: str | None, key: str | None, **flags: Any
) -> None:
    """Send a month of invented events to a running server, then show Stats and Sources as tables.

    The events go into project `demo`, which is created if it is missing, under a key that exists only while this
    command runs. They are the same on every run: a second run adds only new days, and counts nothing twice.

    \b
    Examples:
      millimetric serve &
      millimetric demo --events 5000
      millimetric demo --until 2026-04-01 --key sk_live_…
    """
    settings = read_settings(**flags)
    days = _list_days(until)
    address, url = server or grpc_address(settings), http or http_url(settings)
    sender: BatchSender | None = None
    try:
        read_json(url, "/healthz", timeout_s=5)
        with _lend_key(flags) if key is None else contextlib.nullcontext(key) as secret:
            sender = BatchSender(address, secret, lambda _reason, _seconds: None, patience_s=60)
            sender.connect()
            _wait_for_key(url, secret, _LENT_KEY_WAIT_S if key is None else _GIVEN_KEY_WAIT_S)
            _send_missing(sender, url, secret, days, events_total)
            _show(url, secret, days)
    except (SendError, ReadError) as error:
        raise click.ClickException(str(error)) from error
    finally:
        if sender is not None:
            sender.close()


@contextlib.contextmanager
def _lend_key(flags: dict[str, Any]) -> Iterator[str]:
    """A secret key of project `demo`, revoked in the end: its text could not be read again later."""
    with open_control(flags) as (store, settings):
        project = find_or_create_demo(store)
        pepper = read_pepper(settings, store)
        made = store.create_key(KeyKind.SECRET, Environment.LIVE, pepper, project=project.project_id, label=_LABEL)
        try:
            yield made.text
        finally:
            store.revoke_key(made.key.prefix)


def find_or_create_demo(store: ControlStore) -> Project:
    """Project `demo`, made if it is missing."""
    return store.find_project(PROJECT) or store.create_project(PROJECT, (SITE,))


def _wait_for_key(url: str, key: str, wait_s: float) -> None:
    """A server follows its control database; if it never knows the key, it follows another one."""
    give_up_at = time.monotonic() + wait_s
    while True:
        try:
            read_json(url, "/v1/stats", key)
        except ReadError as error:
            if error.reason != "invalid_api_key":
                raise
        else:
            return
        if time.monotonic() > give_up_at:
            raise ReadError(
                f"The server at {url} does not know the key. If it runs with another --data-dir or "
                "--database-url, pass the same one to this command, or pass one of the server's keys with --key."
            )
        time.sleep(0.1)


def _list_days(until: datetime | None) -> list[date]:
    """The days before `until`, the oldest first."""
    today = datetime.now(UTC).date()
    end = until.date() if until else today
    if end > today:
        raise click.BadParameter(f"{end} is in the future.", param_hint="--until")
    return [end - timedelta(days=number) for number in range(DAYS, 0, -1)]


def _send_missing(sender: BatchSender, url: str, key: str, days: list[date], events_total: int) -> None:
    """Send the days that do not hold their events yet: the server's memory for event ids ends after a week."""
    held = _read_days(url, key, days, include_bots="true")
    missing = [day for day in days if held.get(day, 0) < count_events(day, events_total)]
    events = [event for day in missing for event in make_day(day, count_events(day, events_total))]
    if not events:
        click.echo("The demo's events are already there.")
        return
    duplicates, dropped = _send(sender, events)
    click.echo(f"Sent {len(events):,} events for {len(missing)} days; {duplicates:,} were already there.")
    if dropped:
        click.echo(f"{dropped:,} are older than the project's retention and were not stored.")


def _send(sender: BatchSender, events: list[event_pb2.Event]) -> tuple[int, int]:
    """Send the events; returns how many were there already, and how many were dropped."""
    duplicates = dropped = 0
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=open_console(is_error=True),
    )
    with progress:
        task = progress.add_task("Sending events", total=len(events))
        for batch in _cut(events):
            response = sender.send(batch, is_stored=batch[-1] is events[-1])
            duplicates += response.duplicates
            dropped += response.dropped_count
            progress.advance(task, len(batch))
    return duplicates, dropped


def _cut(events: list[event_pb2.Event]) -> Iterator[list[event_pb2.Event]]:
    rest = iter(events)
    while batch := list(itertools.islice(rest, _BATCH)):
        yield batch


def _read_days(url: str, key: str, days: list[date], **params: str) -> dict[date, int]:
    asked = {"interval": "day", "limit": "1000", **_write_bounds(days), **params}
    rows = read_json(url, "/v1/stats", key, params=asked)["rows"]
    return {date.fromisoformat(row["bucket"][:10]): row["value"] for row in rows}


def _write_bounds(days: list[date]) -> dict[str, str]:
    return {"from": days[0].isoformat(), "to": (days[-1] + timedelta(days=1)).isoformat()}


def _show(url: str, key: str, days: list[date]) -> None:
    events, visitors = _read_days(url, key, days), _read_days(url, key, days, metric="uniques")
    print_table(
        "Stats by day",
        ("day", "events", "visitors"),
        [(day.isoformat(), count, visitors.get(day, 0)) for day, count in sorted(events.items())],
    )
    rows = read_json(url, "/v1/stats", key, params={"group_by": "event_name", **_write_bounds(days)})["rows"]
    print_table("Stats by event", ("event", "events"), [(row["event_name"], row["value"]) for row in rows])
    rows = read_json(url, "/v1/sources", key, params=_write_bounds(days))["rows"]
    print_table(
        "Sources of visits",
        ("source", "medium", "events", "visitors", "paid share"),
        [(row["source"], row["medium"], row["events"], row["uniques"], f"{row['paid_share']:.0%}") for row in rows],
    )
    click.echo("All three reports leave out bots.")
