from __future__ import annotations

import re
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from millimetric_server.enrich.identity import (
    derive_daily_anonymous_id,
    derive_session_id,
    derive_user_anonymous_id,
    make_random_id,
)

_UUID8 = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_any_text = st.text(st.characters())


@given(st.binary(), _any_text, _any_text)
def test_a_users_id_is_a_uuid8(key: bytes, project_id: str, user_id: str) -> None:
    derived = derive_user_anonymous_id(key, project_id, user_id)
    assert _UUID8.fullmatch(derived)
    assert derived == derive_user_anonymous_id(key, project_id, user_id)


@given(st.binary(), _any_text, _any_text, _any_text | st.ip_addresses().map(str), _any_text)
def test_a_daily_id_is_a_uuid8(salt: bytes, day: str, project_id: str, ip: str, user_agent: str) -> None:
    derived = derive_daily_anonymous_id(salt, day, project_id, ip, user_agent)
    assert _UUID8.fullmatch(derived)
    assert UUID(derived).version == 8


@given(st.lists(st.tuples(_any_text, _any_text), min_size=2, max_size=2, unique=True))
def test_fields_are_not_confused(pairs: list[tuple[str, str]]) -> None:
    first, second = (derive_user_anonymous_id(b"key", *pair) for pair in pairs)
    assert first != second


def test_fields_cannot_be_shifted() -> None:
    assert derive_user_anonymous_id(b"k", "ab", "c") != derive_user_anonymous_id(b"k", "a", "bc")
    assert derive_user_anonymous_id(b"k", "a\0", "b") != derive_user_anonymous_id(b"k", "a", "\0b")


def test_users_and_visitors_do_not_share_ids() -> None:
    user = derive_user_anonymous_id(b"k2026-11-23", "project", "")
    visitor = derive_daily_anonymous_id(b"k", "2026-11-23", "project", "", "")
    assert user != visitor


def test_random_ids_are_uuid7_and_sorted() -> None:
    ids = [make_random_id() for _ in range(1000)]
    assert {UUID(text).version for text in ids} == {7}
    assert ids == sorted(set(ids))


@given(_any_text, st.integers(min_value=0, max_value=253_402_300_799_999_999))
def test_a_session_lasts_half_an_hour_of_the_clock(anonymous_id: str, timestamp_us: int) -> None:
    begin_us = timestamp_us - timestamp_us % 1_800_000_000
    session_id = derive_session_id(anonymous_id, timestamp_us)
    assert session_id == derive_session_id(anonymous_id, begin_us)
    assert session_id == derive_session_id(anonymous_id, begin_us + 1_799_999_999)
    assert session_id != derive_session_id(anonymous_id, begin_us + 1_800_000_000)
    assert session_id.startswith(f"{anonymous_id}-")
