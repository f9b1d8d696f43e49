"""A copy of the repository in which a test does what CONTRIBUTING says, and runs what comes of it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from repo.doc_files import ROOT, list_files

_BIN = Path(sys.executable).parent
_ROOMS = re.compile("^(server/millimetric_server|proto/millimetric/v1)/")


@dataclass(frozen=True)
class Edit:
    """A text that is written by hand: its file, what it goes behind, and what it is."""

    path: str
    behind: str
    text: str


@dataclass(frozen=True)
class ScratchCopy:
    """All files of the repository in a folder of their own, whose modules come before the installed ones."""

    root: Path
    environ: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        for path in list_files():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, self.root / path)
        folders = ("server", "clients/python/src", ".", "tests")
        path = os.pathsep.join(str(self.root / folder) for folder in folders)
        object.__setattr__(self, "environ", {"PYTHONPATH": path})

    def edit(self, edits: Iterable[Edit], files: Mapping[str, str]) -> None:
        """Put in the texts and the new files, then make what `make generate` makes."""
        for one in edits:
            content = (self.root / one.path).read_text("utf-8")
            assert content.count(one.behind) == 1, f"{one.path}: {one.behind!r}"
            (self.root / one.path).write_text(content.replace(one.behind, one.behind + one.text), "utf-8")
        for path, text in files.items():
            (self.root / path).write_text(text, "utf-8")
        protos, described = "proto/millimetric/v1", str(self.root / "build.binpb")
        self.run("buf", "generate")
        self.run("buf", "build", "--path", protos, "--as-file-descriptor-set", "--output", described)
        self.run("python", "-m", "docs.generator", described)

    def run(self, *command: str) -> None:
        """Run a command in the copy; it has to succeed."""
        environ = {**os.environ, **self.environ, "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(command, cwd=self.root, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}{done.stdout}"

    def run_tests(self, *paths: str) -> None:
        """Run these tests of the copy, by their paths under tests/."""
        self.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{path}" for path in paths))


def shorten(path: str) -> str:
    """A path as CONTRIBUTING writes it."""
    return _ROOMS.sub("", path)
