"""What is said at the end of a load: figures, reasons, and names that went nowhere."""

from collections.abc import Sequence

import click

from millimetric_server.api.errors import Violation
from millimetric_server.api.messages import DropReason
from millimetric_server.cli.load.shaping import Shaper
from millimetric_server.cli.load.state import LoadState
from millimetric_server.cli.tables import print_table

REASONS_SHOWN = 5
_NAMES_SHOWN = 10
_DROPPED = {
    DropReason.OLDER_THAN_RETENTION.value: "are older than the project's retention and were not stored: "
    "raise it with `millimetric project update --retention-days`, then load with --restart.",
    DropReason.ERASED.value: "are of people who were forgotten, and stay out.",
}


def explain_row(line: int, violations: Sequence[Violation], reason: str = "") -> str:
    """Say in a line why a row was refused."""
    told = "; ".join(f"{one.field}: {one.message}" for one in violations) or reason
    return f"line {line}: {told}"


def print_summary(name: str, state: LoadState) -> None:
    """Print the figures, why rows were dropped, and the first reasons of those that were rejected."""
    dropped = sum(state.dropped.values())
    figures = {"read": state.rows, "stored": state.stored, "duplicate": state.duplicate, "rejected": state.rejected}
    if dropped:
        figures["dropped"] = dropped
    print_table(name, tuple(figures), [tuple(figures.values())])
    for reason, count in state.dropped.items():
        click.echo(f"{count:,} rows {_DROPPED.get(reason, f'were dropped: {reason}.')}")
    for text in state.reasons:
        click.echo(text)


def print_names(shaper: Shaper) -> None:
    """Print which names of the file went nowhere."""
    if shaper.left_out:
        click.echo(f"{shaper.left_out:,} records hold no event and were left out.")
    if shaper.derived:
        click.echo(f"Left out, as the server derives them again: {', '.join(sorted(shaper.derived))}.")
    if shaper.unknown:
        names = [f"{name} ({count:,} rows)" for name, count in shaper.unknown.most_common(_NAMES_SHOWN)]
        more = f" and {len(shaper.unknown) - _NAMES_SHOWN} more" if len(shaper.unknown) > _NAMES_SHOWN else ""
        click.echo(
            f"Not loaded, because no event has such a field: {', '.join(names)}{more}. "
            "Keep one with --map NAME=properties.NAME, or read another product's file with --from."
        )
