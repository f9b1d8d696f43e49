"""Tables on the terminal, whose cells are shown as they are: no markup, no line breaks inside a key."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_MIN = 100  # where there is no terminal, and where a key would not fit


def open_console(*, is_error: bool = False) -> Console:
    """A console on standard output (or error) that is never too narrow for a key."""
    console = Console(stderr=is_error, highlight=False)
    if console.width < WIDTH_MIN and not console.is_terminal:
        console.width = WIDTH_MIN
    return console


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, unbroken: Sequence[str] = ()
) -> None:
    """Print a table; numbers stand to the right, and columns named in `unbroken` are never wrapped."""
    content = [list(row) for row in rows]
    table = Table(title=Text(title), title_justify="left", title_style="bold")
    for index, name in enumerate(columns):
        is_number = bool(content) and all(isinstance(row[index], int | float) for row in content)
        table.add_column(
            name,
            justify="right" if is_number else "left",
            no_wrap=name in unbroken,
            overflow="ignore" if name in unbroken else "fold",
        )
    for row in content:
        table.add_row(*(_write_cell(value) for value in row))
    open_console().print(table)


def _write_cell(value: object) -> Text:
    return Text(f"{value:,}" if isinstance(value, int) else str(value))
