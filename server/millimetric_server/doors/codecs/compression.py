"""Compresses answers for callers who accept it: gzip and zstd, whole messages and streams piece by piece."""

import sys
import zlib
from collections.abc import Callable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BYTES_MIN = 1024  # below, the headers cost more than is saved
ENCODINGS = ("zstd", "gzip")  # the better first: half of gzip's time for the same size
_GZIP = 16 + zlib.MAX_WBITS
_GZIP_LEVEL, _ZSTD_LEVEL = 4, 3
Compress = Callable[[bytes], bytes]


def choose_encoding(accepted: str) -> str:
    """Choose from an Accept-Encoding header, or gRPC's and Connect's lists; empty: the answer stays as it is."""
    weights: dict[str, float] = {}
    for item in accepted.lower().split(","):
        name, _, parameters = item.partition(";")
        weights[name.strip()] = _read_weight(parameters)
    rest = weights.get("*", 0.0)
    best = max(ENCODINGS, key=lambda name: weights.get(name, rest))  # of equal ones the first
    return best if weights.get(best, rest) > 0 else ""


def compress(data: bytes, encoding: str) -> bytes:
    """Compress a whole message."""
    if encoding == "zstd":
        return zstd.compress(data, _ZSTD_LEVEL)
    return zlib.compress(data, _GZIP_LEVEL, _GZIP)


def start_stream(encoding: str) -> tuple[Compress, Callable[[], bytes]]:
    """Begin a compressed stream; returns what compresses a piece, to its last byte, and what ends the stream."""
    if encoding == "zstd":
        packer = zstd.ZstdCompressor(_ZSTD_LEVEL)
        return lambda piece: packer.compress(piece, zstd.ZstdCompressor.FLUSH_BLOCK), packer.flush
    stream = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    return lambda piece: stream.compress(piece) + stream.flush(zlib.Z_SYNC_FLUSH), stream.flush


def _read_weight(parameters: str) -> float:
    """The `q` of an item, 1 if it has none, 0 if it can't be read."""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return max(float(value), 0.0)
            except ValueError:
                return 0.0
    return 1.0
