"""A writer of small MaxMind DB files for tests, after the format's public specification 2.0."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, ip_network
from pathlib import Path

_UNSIGNED = {"uint16": 5, "uint32": 6, "uint64": 9}
_METADATA_MARKER = b"\xab\xcd\xefMaxMind.com"


@dataclass(frozen=True)
class Uint:
    """An unsigned integer with the type it has in the file."""

    kind: str
    value: int


@dataclass(eq=False)
class _Node:
    """A node of the search tree: two branches, each a node, an offset into the data, or nothing."""

    branches: list[_Node | int | None] = field(default_factory=lambda: [None, None])
    number: int = 0


def write_mmdb(
    path: Path,
    records: dict[str, object],
    *,
    database_type: str = "Test-Country",
    build_epoch: int = 1_790_000_000,
    ip_version: int = 6,
) -> None:
    """Write `{network: record}`; records are str, dict, list or Uint; networks must not overlap."""
    root, data = _Node(), bytearray()
    for network, record in records.items():
        _insert(root, _bits_of(network, ip_version), len(data))
        data += _encode(record)
    nodes = _number_nodes(root)
    tree = b"".join(_encode_branch(branch, len(nodes)) for node in nodes for branch in node.branches)
    metadata = _encode(
        {
            "binary_format_major_version": Uint("uint16", 2),
            "binary_format_minor_version": Uint("uint16", 0),
            "build_epoch": Uint("uint64", build_epoch),
            "database_type": database_type,
            "description": {"en": "made by a test"},
            "ip_version": Uint("uint16", ip_version),
            "languages": ["en"],
            "node_count": Uint("uint32", len(nodes)),
            "record_size": Uint("uint16", 32),
        }
    )
    path.write_bytes(tree + bytes(16) + bytes(data) + _METADATA_MARKER + metadata)


def _bits_of(network: str, ip_version: int) -> str:
    parsed = ip_network(network)
    bits = f"{int(parsed.network_address):0{parsed.max_prefixlen}b}"[: parsed.prefixlen]
    is_mapped = isinstance(parsed, IPv4Network) and ip_version == 6
    return "0" * 96 + bits if is_mapped else bits


def _insert(root: _Node, bits: str, offset: int) -> None:
    node = root
    for bit in bits[:-1]:
        branch = node.branches[int(bit)]
        if not isinstance(branch, _Node):
            branch = node.branches[int(bit)] = _Node()
        node = branch
    node.branches[int(bits[-1])] = offset


def _number_nodes(root: _Node) -> list[_Node]:
    nodes = [root]
    for node in nodes:  # grows while it is walked
        node.number = nodes.index(node)
        nodes += [branch for branch in node.branches if isinstance(branch, _Node)]
    return nodes


def _encode_branch(branch: _Node | int | None, node_count: int) -> bytes:
    if isinstance(branch, _Node):
        return branch.number.to_bytes(4, "big")
    return (node_count if branch is None else node_count + 16 + branch).to_bytes(4, "big")


def _encode(value: object) -> bytes:
    match value:
        case str():
            text = value.encode()
            return _control(2, len(text)) + text
        case dict():
            return _control(7, len(value)) + b"".join(_encode(k) + _encode(v) for k, v in value.items())
        case list():
            return _control(11, len(value)) + b"".join(map(_encode, value))
        case Uint(kind, number):
            digits = number.to_bytes((number.bit_length() + 7) // 8, "big")
            return _control(_UNSIGNED[kind], len(digits)) + digits
    raise TypeError(value)


def _control(kind: int, size: int) -> bytes:
    """The byte before a value: kind and size; kinds beyond 7 take a second byte, sizes beyond 28 one more."""
    short_size, extra = (size, b"") if size < 29 else (29, bytes([size - 29]))
    if kind <= 7:
        return bytes([kind << 5 | short_size]) + extra
    return bytes([short_size, kind - 7]) + extra
