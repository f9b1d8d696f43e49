"""Progress of one long thing after the other."""

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn


class _RateColumn(TextColumn):
    """How many a second, of what is counted in thousands."""

    def render(self, task: Task) -> Any:
        return f"{task.speed:,.0f}/s" if task.speed and task.total and task.total >= 1000 else ""


class Meter:
    """A progress bar for one thing after the other: each with its own total, or none."""

    def __init__(self, console: Console) -> None:
        what = TextColumn("{task.description}")  # last: cut short where the terminal is narrow
        columns = (BarColumn(20), MofNCompleteColumn(), _RateColumn(""), TimeRemainingColumn(), what)
        self._progress = Progress(*columns, console=console, transient=True)
        self._task: TaskID | None = None
        self._total = 0

    def __enter__(self) -> Callable[[str, int, int], None]:
        self._progress.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _show(self, what: str, done: int, total: int) -> None:
        if self._task is None or self._total != total:  # a new thing, with a rate of its own
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task, self._total = self._progress.add_task(what, total=total or None), total
        self._progress.update(self._task, description=what, completed=done)
