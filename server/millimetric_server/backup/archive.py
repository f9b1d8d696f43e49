"""A backup's folder: the files, and a manifest with the size and hash of each.

manifest.json  journal.db  control.db  secrets.json  clickhouse/metadata/…  clickhouse/store/…
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

MANIFEST = "manifest.json"
JOURNAL, CONTROL, SECRETS, ENGINE = "journal.db", "control.db", "secrets.json", "clickhouse"
FORMAT = 1
_CHUNK_BYTES = 1024 * 1024
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600

Advance = Callable[[int], None]  # so many bytes more are done; may raise to break off


class BackupError(Exception):
    """A backup or restore can't continue; the message says why and what to do."""


class ArchivedFile(msgspec.Struct, frozen=True):
    """A file of the archive."""

    bytes: int
    sha256: str


class Counts(msgspec.Struct, frozen=True):
    """The counts at the moment of the backup, from the journal's ledger."""

    received: int
    stored: int
    waiting: int
    projects: int


class Manifest(msgspec.Struct, frozen=True):
    """The contents of an archive. Written last: a folder without it is not a backup."""

    format: int
    server_version: str
    taken_at: str  # RFC 3339, UTC
    journal_version: int
    schema_version: int
    database: str  # of ClickHouse
    control: str  # "sqlite", or what is left out and has to be saved by its own tools
    counts: Counts
    links: dict[str, str]  # of the engine: symbolic link to its target, both relative
    files: dict[str, ArchivedFile]

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.bytes for file in self.files.values())


def read_manifest(folder: Path) -> Manifest:
    """Read an archive's manifest. Raises BackupError."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise BackupError(f"{folder} is not a backup: it has no {MANIFEST}.") from None
    except (OSError, msgspec.DecodeError) as error:
        raise BackupError(f"{folder / MANIFEST} can't be read: {error}") from error
    if manifest.format != FORMAT:
        raise BackupError(
            f"{folder} has format {manifest.format}, this version reads {FORMAT}: run a newer millimetric."
        )
    targets = (os.path.normpath(Path(link).parent / target) for link, target in manifest.links.items())
    for name in (*manifest.files, *manifest.links, *targets):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BackupError(f"{folder / MANIFEST} names a file outside the backup.")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest so that people can read it too."""
    with create_file(folder / MANIFEST) as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def create_file(path: Path) -> BinaryIO:
    """Create a file, and the folders above it, readable only by its user."""
    for folder in reversed([one for one in path.parents if not one.exists()]):
        folder.mkdir(_FOLDER_MODE)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE), "wb")


def copy_file(source: Path, target: Path, advance: Advance) -> ArchivedFile:
    """Copy a file and hash what was copied."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb", buffering=0) as reader, create_file(target) as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            digest.update(chunk)
            writer.write(chunk)
            size += len(chunk)
            advance(len(chunk))
    return ArchivedFile(size, digest.hexdigest())


def hash_file(path: Path) -> ArchivedFile:
    """Measure and hash a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return ArchivedFile(path.stat().st_size, digest.hexdigest())
