"""A packed body is unpacked whole, whatever number of members it has, or refused; and the work for it is bounded."""

import gzip
import random
import zlib

import pytest

from millimetric_server.errors import AppError, Reason
from millimetric_server.transport.unpack import MEMBERS_MAX, unpack

_MIB = 1024 * 1024


def _refusal(body: bytes, bytes_max: int = _MIB, encoding: str = "gzip") -> AppError:
    answer = unpack(body, encoding, bytes_max)
    assert isinstance(answer, AppError)
    return answer


@pytest.mark.parametrize("parts", [[b"one"], [b"one", b"two"], [b"", b"one", b"", b"two", b""], [b"x" * 100_000] * 7])
def test_all_members_are_unpacked(parts: list[bytes]) -> None:
    assert unpack(b"".join(map(gzip.compress, parts)), "gzip", _MIB) == b"".join(parts)


def test_members_of_any_length_are_unpacked() -> None:
    chance = random.Random(7)
    for _ in range(200):
        parts = [chance.randbytes(chance.choice([0, 1, 1000, 70_000])) for _ in range(chance.randrange(1, 5))]
        assert unpack(b"".join(map(gzip.compress, parts)), "gzip", _MIB) == b"".join(parts)


def test_a_body_without_encoding_is_left_alone() -> None:
    assert unpack(b"\x1f\x8b", "identity", 1) == b"\x1f\x8b"


def test_the_bound_holds_for_all_members_together() -> None:
    member = gzip.compress(b"x" * 1000)
    assert unpack(member * 10, "gzip", 10_000) == b"x" * 10_000
    assert _refusal(member * 10, 9_999).reason is Reason.PAYLOAD_TOO_LARGE
    assert _refusal(gzip.compress(b"\0" * 100 * _MIB)).reason is Reason.PAYLOAD_TOO_LARGE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no gzip",
        gzip.compress(b"one")[:-1],
        gzip.compress(b"one") + gzip.compress(b"two")[:-1],
        gzip.compress(b"one") + b"x",
        gzip.compress(b"one") + b"\0" * 512,
        gzip.compress(b"one") + b'{"event":"x"}',
        gzip.compress(b"one")[:-8] + b"\0" * 8,
        zlib.compress(b"one"),
    ],
)
def test_what_is_not_gzip_to_its_last_byte_is_refused(body: bytes) -> None:
    refusal = _refusal(body)
    assert refusal.reason is Reason.INVALID_PAYLOAD
    assert [violation.field for violation in refusal.violations] == ["body"]


def test_members_are_counted() -> None:
    member = gzip.compress(b"")
    assert unpack(member * MEMBERS_MAX, "gzip", _MIB) == b""
    assert "members" in _refusal(member * (MEMBERS_MAX + 1)).message
    assert "members" in _refusal(member * 800_000).message  # 16 MB


@pytest.mark.parametrize("encoding", ["deflate", "br", "gzip, gzip", ""])
def test_other_encodings_are_refused(encoding: str) -> None:
    assert _refusal(b"x", encoding=encoding).violations[0].field == "content-encoding"
