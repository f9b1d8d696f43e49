from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millimetric_server.enrich.privacy import (
    hash_ip,
    is_opted_out,
    normalise_ip,
    pack_ip,
)

_any_text = st.text(st.characters())


@given(_any_text, st.binary(), _any_text)
def test_any_text_is_hashed_or_not(ip: str, salt: bytes, day: str) -> None:
    assert len(hash_ip(ip, salt, day)) in {0, 32}


@given(st.ip_addresses(v=4), st.binary(min_size=16, max_size=32), st.dates().map(str))
def test_hash_tells_neither_address_nor_spelling(address: object, salt: bytes, day: str) -> None:
    ip = str(address)
    hashed = hash_ip(ip, salt, day)
    assert hashed == hash_ip(f"::ffff:{ip}", salt, day) == hash_ip(f" {ip} ", salt, day)
    assert pack_ip(ip).hex() not in hashed
    assert hashed != hash_ip(ip, salt + b"x", day)


@given(st.ip_addresses())
def test_packed_and_normalised_addresses_agree_with_ipaddress(address: object) -> None:
    expected = ip_address(str(address))
    if expected.version == 6 and expected.ipv4_mapped:
        expected = expected.ipv4_mapped
    assert pack_ip(str(address)) == expected.packed
    assert ip_address(normalise_ip(str(address))) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "192.0.2",
        "192.0.2.256",
        "0x7f.1",
        "192.0.2.007",
        "192.0.2.7:80",
        "[::1]",
        ":",
        "é",
        "\0",
    ],
)
def test_what_is_no_address_has_no_spelling(text: str) -> None:
    assert (normalise_ip(text), pack_ip(text)) == ("", b"")


@pytest.mark.parametrize(
    ("gpc", "dnt", "ignore", "wanted"),
    [
        ("", "", "", False),
        ("1", "", "", True),
        ("", "1", "", True),
        (" 1 ", "", "", True),
        ("0", "0", "", False),
        ("?1", "yes", "", False),
        ("1", "1", "1", False),
        ("1", "1", " 1", False),
        ("1", "", "0", True),
        ("", "", "1", False),
    ],
)
def test_opt_out(gpc: str, dnt: str, ignore: str, wanted: bool) -> None:  # noqa: FBT001
    assert is_opted_out(gpc, dnt, ignore) is wanted


@given(_any_text, _any_text, _any_text)
def test_opt_out_takes_any_text(gpc: str, dnt: str, ignore: str) -> None:
    assert is_opted_out(gpc, dnt, ignore) in {True, False}
