"""Results as JSON for machines and as Markdown for people, side by side in bench/results/."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.machine import Machine

FOLDER = Path(__file__).parent / "results"
DOCS_PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- newest {} -->", "<!-- end of {} -->"


class Table(msgspec.Struct, frozen=True):
    """A table with a sentence above it."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def to_markdown(self) -> str:
        """The table as Markdown; all columns but those of words stand right."""
        rule = ["---:" if _looks_numeric(column) else "---" for column in zip(*self.rows, strict=True)]
        lines = [self.head, rule, *self.rows]
        return f"{self.caption}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_results(name: str, machine: Machine, load_after: float, tables: Sequence[Table], data: Any) -> Path:
    """Write <date>-<name>.json and .md; show the tables in docs/benchmarks.md too. Returns the Markdown's path."""
    FOLDER.mkdir(exist_ok=True)
    day = dt.datetime.now(dt.UTC).date().isoformat()
    text = "\n\n".join([_describe(machine, load_after), *(table.to_markdown() for table in tables)])
    document = {"name": name, "date": day, "machine": machine, "load_after": load_after, "data": data}
    encoded = msgspec.json.format(msgspec.json.encode(document), indent=1)
    path = FOLDER / f"{day}-{name}.md"
    path.with_suffix(".json").write_bytes(encoded + b"\n")
    path.write_text(f"# {name}, {day}\n\n{text}\n", "utf-8")
    _show_in_docs(name, f"{day}. {text}")
    return path


def _describe(machine: Machine, load_after: float) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    return (
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb} GB; {machine.kernel}; Python {machine.python}; "
        f"{libraries}. Load average {machine.load_before} before and {load_after} after the run."
    )


def _show_in_docs(name: str, text: str) -> None:
    begin, end = _BEGIN.format(name), _END.format(name)
    page = DOCS_PAGE.read_text("utf-8") if DOCS_PAGE.exists() else ""
    if begin not in page or end not in page:
        return
    before, _, rest = page.partition(begin)
    DOCS_PAGE.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}", "utf-8")


def _looks_numeric(column: Sequence[str]) -> bool:
    return all(text[:1].isdigit() or text in ("", "-") for text in column)
