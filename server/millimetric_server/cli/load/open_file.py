"""Opens a file to load: as it is, or packed as .gz or .zst; the position is that in the packed file."""

import gzip
import io
import sys
from pathlib import Path
from typing import BinaryIO, cast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACKED = (".gz", ".zst")
ZstdError = zstd.ZstdError


def unpack(raw: BinaryIO, name: str) -> BinaryIO:
    """Return what reads the content of a file of this name, piece by piece."""
    if name.lower().endswith(".gz"):
        return cast("BinaryIO", gzip.GzipFile(fileobj=raw))
    if name.lower().endswith(".zst"):
        return cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", zstd.ZstdFile(raw))))
    return raw


def strip_packing(name: str) -> str:
    """The name of the file as it was before it was packed."""
    suffix = Path(name).suffix.lower()
    return name[: -len(suffix)] if suffix in PACKED else name
