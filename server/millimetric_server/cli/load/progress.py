"""Shows a load's progress: a bar on a terminal, otherwise a line for each reason to wait."""

import time
from types import TracebackType
from typing import Self

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from millimetric_server.cli.tables import open_console


class LoadProgress:
    """A progress bar by bytes of the file, with rows and rows per second, on standard error."""

    def __init__(self, name: str, size: int | None) -> None:
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[rows]:,} rows"),
            TextColumn("{task.fields[rate]:,.0f} rows/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[wait]}", markup=False),
            console=open_console(is_error=True),
        )
        self._task = self._bar.add_task(name, total=size, rows=0, rate=0.0, wait="")
        self._first_rows: int | None = None
        self._began_s = time.monotonic()
        self._told: set[str] = set()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, rows: int, position: int | None) -> None:
        """Show how many rows are acknowledged, and the position in the file."""
        now_s = time.monotonic()
        if self._first_rows is None:  # a resumed load's rate is that of this run
            self._first_rows, self._began_s = rows, now_s
        seconds = now_s - self._began_s
        rate = (rows - self._first_rows) / seconds if seconds > 0 else 0.0
        self._bar.update(self._task, completed=position, rows=rows, rate=rate, wait="")

    def tell_wait(self, reason: str, wait_s: float) -> None:
        """Show why the load waits; without a terminal, once for each reason."""
        self._bar.update(self._task, wait=f"waiting {wait_s:.1f} s: {reason}")
        if not self._bar.console.is_terminal and reason not in self._told:
            self._told.add(reason)
            click.echo(f"Waiting for the server: {reason}.", err=True)
