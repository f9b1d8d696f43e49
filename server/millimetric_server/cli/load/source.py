"""The file of a load and how it is read."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from millimetric_server.cli.load.open_file import unpack
from millimetric_server.cli.load.preset_rows import read_preset
from millimetric_server.cli.load.presets import PRESETS
from millimetric_server.cli.load.records import DELIMITERS, CsvReader
from millimetric_server.cli.load.rows import Row, read_csv, read_ndjson
from millimetric_server.cli.load.shaping import Shaper

STDIN = Path("stdin")  # names the rejected rows of what came through a pipe


@dataclass
class Source:
    """The file to load, and how it is read."""

    path: Path | None  # None: standard input
    format: str
    delimiter: str
    preset: str
    shaper: Shaper = field(default_factory=Shaper)

    @property
    def name(self) -> str:
        """The file's name, as it is shown."""
        return self.path.name if self.path else STDIN.name

    @property
    def options(self) -> str:
        """What says how it is read, as options of the command; the default is none."""
        parts = [f"--from {self.preset}"] if self.preset else []
        parts += [f"--map {name}={place}" for name, place in self.shaper.renamed.items()]
        return " ".join(parts + ([f"--delimiter {self.delimiter}"] if self.delimiter else []))

    def open(self) -> BinaryIO:
        """Open it as it lies on the disk, packed or not; the caller closes it, unless it is a pipe."""
        return sys.stdin.buffer if self.path is None else self.path.open("rb")

    def read(self, raw: BinaryIO, seed: str) -> Iterator[Row]:
        """Read its rows. Raises FormatError, and what a damaged archive raises."""
        file = unpack(raw, self.name)
        sign, is_csv = DELIMITERS.get(self.delimiter, ""), self.format == "csv"
        if self.preset:
            preset = PRESETS[self.preset]
            return read_preset(file, seed, preset, self.shaper, is_csv=is_csv, delimiter=sign)
        return read_csv(file, seed, self.shaper, sign) if is_csv else read_ndjson(file, seed, self.shaper)

    def list_places(self) -> list[tuple[str, str]]:
        """Where the columns of a CSV file go; nothing for other files, and for pipes, which can be read once."""
        if self.path is None or self.format != "csv" or self.preset:
            return []
        with self.path.open("rb") as raw:
            reader = CsvReader(unpack(raw, self.name), DELIMITERS.get(self.delimiter, ""))
            places = self.shaper.list_places(reader.header)
            reader.detach()
        return places
