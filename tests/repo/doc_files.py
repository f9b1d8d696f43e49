"""Reads the repository's documents: tables, fenced blocks, headings and links of Markdown files."""

import re
import subprocess
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
_CELL_END = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block and its language."""

    language: str
    text: str


@cache
def read_doc(path: str) -> str:
    """Read a file by its path in the repository."""
    return (ROOT / path).read_text("utf-8")


@cache
def list_files() -> tuple[str, ...]:
    """List the files that git has or would take, by their paths in the repository."""
    command = ["git", "-c", "core.quotepath=off", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return tuple(path for path in sorted(set(listed.stdout.splitlines())) if (ROOT / path).is_file())


def list_documents() -> list[str]:
    """List the Markdown files of the repository."""
    return [path for path in list_files() if path.endswith(".md")]


def read_table(path: str, first_column: str, *, after: str = "") -> list[dict[str, str]]:
    """Read the first table whose first column has this heading, behind the text `after`; code marks are taken off."""
    lines = iter(read_doc(path).partition(after)[2].splitlines() if after else read_doc(path).splitlines())
    for line in lines:
        header = _split_row(line)
        if header and header[0] == first_column:
            next(lines)
            return [dict(zip(header, row, strict=True)) for row in _read_rows(lines)]
    raise AssertionError(f"{path} has no table whose first column is {first_column!r}")


def read_section(path: str, heading: str) -> str:
    """The text under a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", _without_blocks(path), re.DOTALL | re.MULTILINE)
    assert found, f"{path} has no heading {heading!r}"
    return found[1]


def read_blocks(path: str) -> list[Block]:
    """List the fenced blocks of a document."""
    return [Block(language, text) for language, text in _FENCE.findall(read_doc(path))]


def read_links(path: str) -> list[str]:
    """List the targets of a document's links."""
    return _LINK.findall(_without_blocks(path))


def read_anchors(path: str) -> set[str]:
    """The names that a document's headings can be linked by, made as GitHub makes them."""
    return {_make_anchor(heading) for heading in _HEADING.findall(_without_blocks(path))}


def split_list(text: str) -> list[str]:
    """Split `a, b` into its words."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _without_blocks(path: str) -> str:
    return _FENCE.sub("", read_doc(path))


def _make_anchor(heading: str) -> str:
    kept = (c for c in heading.lower() if c in " -_" or unicodedata.category(c)[0] in "LN")
    return "".join(kept).replace(" ", "-")


def _read_rows(lines: Iterator[str]) -> Iterator[list[str]]:
    while row := _split_row(next(lines, "")):
        yield row


def _split_row(line: str) -> list[str]:
    if not line.startswith("|"):
        return []
    return [cell.strip().replace("\\|", "|").replace("`", "") for cell in _CELL_END.split(line)[1:-1]]
