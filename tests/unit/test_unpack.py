"""A packed body is unpacked whole, whatever number of members it has, or refused; and the work for it is bounded."""

import gzip
import random
import zlib
from collections.abc import Callable

import pytest

from millimetric_server.api.errors import AppError, Reason
from millimetric_server.doors.codecs.unpack import MEMBERS_MAX, unpack, zstd

_MIB = 1024 * 1024
_PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}
_each_encoding = pytest.mark.parametrize("encoding", sorted(_PACK))


def _refusal(body: bytes, encoding: str, bytes_max: int = _MIB) -> AppError:
    answer = unpack(body, encoding, bytes_max)
    assert isinstance(answer, AppError)
    return answer


@_each_encoding
@pytest.mark.parametrize("parts", [[b"one"], [b"one", b"two"], [b"", b"one", b"", b"two", b""], [b"x" * 100_000] * 7])
def test_all_members_are_unpacked(encoding: str, parts: list[bytes]) -> None:
    assert unpack(b"".join(map(_PACK[encoding], parts)), encoding, _MIB) == b"".join(parts)


@_each_encoding
def test_members_of_any_length_are_unpacked(encoding: str) -> None:
    chance = random.Random(7)
    for _ in range(200):
        parts = [chance.randbytes(chance.choice([0, 1, 1000, 70_000])) for _ in range(chance.randrange(1, 5))]
        assert unpack(b"".join(map(_PACK[encoding], parts)), encoding, _MIB) == b"".join(parts)


@_each_encoding
def test_the_bound_holds_for_all_members_together(encoding: str) -> None:
    member = _PACK[encoding](b"x" * 1000)
    assert unpack(member * 10, encoding, 10_000) == b"x" * 10_000
    assert _refusal(member * 10, encoding, 9_999).reason is Reason.PAYLOAD_TOO_LARGE
    assert _refusal(_PACK[encoding](b"\0" * 100 * _MIB), encoding).reason is Reason.PAYLOAD_TOO_LARGE


@_each_encoding
def test_what_comes_out_is_told_piece_by_piece(encoding: str) -> None:
    told: list[int] = []
    assert unpack(_PACK[encoding](b"\0" * 5 * _MIB), encoding, 8 * _MIB, told.append) == b"\0" * 5 * _MIB
    assert (sum(told), max(told)) == (5 * _MIB, _MIB)


@_each_encoding
@pytest.mark.parametrize("tail", [b"x", b"\0" * 512, b'{"event":"x"}'])
def test_what_follows_the_last_member_is_refused(encoding: str, tail: bytes) -> None:
    _check_bad_body(_PACK[encoding](b"one") + tail, encoding)


@_each_encoding
def test_half_a_member_is_refused(encoding: str) -> None:
    pack = _PACK[encoding]
    for body in (b"", b"none", pack(b"one")[:-1], pack(b"one") + pack(b"two")[:-1]):
        _check_bad_body(body, encoding)


@pytest.mark.parametrize(
    "body", [gzip.compress(b"one")[:-8] + b"\0" * 8, zlib.compress(b"one")], ids=["wrong-sum", "zlib"]
)
def test_what_is_nearly_gzip_is_refused(body: bytes) -> None:
    _check_bad_body(body, "gzip")


@_each_encoding
def test_members_are_counted(encoding: str) -> None:
    member = _PACK[encoding](b"")
    assert unpack(member * MEMBERS_MAX, encoding, _MIB) == b""
    assert "at most 1000" in _refusal(member * (MEMBERS_MAX + 1), encoding).message
    assert "at most 1000" in _refusal(member * (16 * _MIB // len(member)), encoding).message


@pytest.mark.parametrize("encoding", ["deflate", "br", "gzip, gzip", ""])
def test_other_encodings_are_refused(encoding: str) -> None:
    assert _refusal(b"x", encoding).violations[0].field == "content-encoding"


def _check_bad_body(body: bytes, encoding: str) -> None:
    refusal = _refusal(body, encoding)
    assert refusal.reason is Reason.INVALID_PAYLOAD
    assert [violation.field for violation in refusal.violations] == ["body"]
