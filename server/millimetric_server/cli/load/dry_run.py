"""What a load would do, without a server: where names go, the first rows, and what would be refused."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

import click

from millimetric_server.api.messages import Event, Instant
from millimetric_server.cli.load.rows import Row
from millimetric_server.cli.load.summary import REASONS_SHOWN, explain_row
from millimetric_server.cli.tables import print_table
from millimetric_server.control.records import KeyKind
from millimetric_server.doors.codecs.proto import decode_proto
from millimetric_server.ingest.check_event import RejectedEvent, check_event

_ROWS_SHOWN = 5
_SHOWN_CHARS = 40


def run_dry(name: str, rows: Iterator[Row], places: Sequence[tuple[str, str]]) -> int:
    """Read all rows and show what would become of them; returns how many would be rejected."""
    if places:
        print_table("Columns", ("column", "goes to"), [(column, place or "nowhere") for column, place in places])
    first = list(islice(rows, _ROWS_SHOWN))
    reasons: list[str] = []
    counts = {"read": 0, "valid": 0, "rejected": 0}
    for group in (first, rows):
        for row in group:
            counts["read"] += 1
            if problem := _find_problem(row):
                counts["rejected"] += 1
                reasons += [problem] if len(reasons) < REASONS_SHOWN else []
            else:
                counts["valid"] += 1
    shown = [_describe(row) for row in first if not isinstance(row.event, tuple)]
    if shown:
        print_table("First rows", ("event", "timestamp", "visitor", "page", "properties"), shown)
    print_table(f"{name}, dry run: nothing was sent", tuple(counts), [tuple(counts.values())])
    for reason in reasons:
        click.echo(reason)
    return counts["rejected"]


def _find_problem(row: Row) -> str:
    if isinstance(row.event, tuple):
        return explain_row(row.line, row.event)
    event = decode_proto(Event, row.event.SerializeToString())
    assert isinstance(event, Event)  # noqa: S101 - tells the type checker what was asked for
    checked = check_event(event, int(datetime.now(UTC).timestamp() * 1_000_000), KeyKind.SECRET)
    return explain_row(row.line, checked.violations) if isinstance(checked, RejectedEvent) else ""


def _describe(row: Row) -> tuple[str, ...]:
    event = row.event
    assert not isinstance(event, tuple)  # noqa: S101 - rejected rows are not shown
    has_time = event.HasField("timestamp")
    time = Instant(event.timestamp.ToMicroseconds()).to_text() if has_time else "now"
    texts = (event.event, time, event.user_id or event.anonymous_id, event.url or event.path, event.properties_json)
    return tuple(text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…" for text in texts)
