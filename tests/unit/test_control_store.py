"""The store's rules and messages, on SQLite in memory. The port test is in tests/integration."""

import secrets
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import pytest

from millimetric_server.control.errors import ControlError
from millimetric_server.control.records import Environment, KeyKind, RateLimit
from millimetric_server.control.rows import format_rate_limits, parse_rate_limits
from millimetric_server.control.store import ControlStore, open_control_store

PEPPER = b"a pepper for tests"
KEY_TEXT = "sk_live_0123abcd_" + "s" * 43


@pytest.fixture
def store() -> Iterator[ControlStore]:
    store = open_control_store("sqlite://")
    yield store
    store.close()


@pytest.mark.parametrize("name", ["a", "x" * 64, "Ünïcode ☕", "' OR 1=1 --"])
def test_a_name_may_be_this(store: ControlStore, name: str) -> None:
    assert store.create_project(name).name == name


@pytest.mark.parametrize(
    "name",
    ["", "x" * 65, " a", "a ", "a\nb", "a\0b", "\ud800", "a\u200bb", "prj_0123456789abcdef", KEY_TEXT],
    ids=ascii,
)
def test_a_name_may_not_be_this(store: ControlStore, name: str) -> None:
    with pytest.raises(ControlError):
        store.create_project(name)
    with pytest.raises(ControlError):
        store.create_account(name)


def test_two_spellings_of_one_name_are_one_name(store: ControlStore) -> None:
    project = store.create_project("cafe\u0301")
    assert store.find_project("caf\u00e9") == project
    with pytest.raises(ControlError, match="already"):
        store.create_project("caf\u00e9")


def test_an_account_is_named_once(store: ControlStore) -> None:
    with pytest.raises(ControlError, match="already an account named 'default'"):
        store.create_account("default")


def test_a_project_with_a_bad_origin_is_not_made(store: ControlStore) -> None:
    with pytest.raises(ControlError, match="not an origin"):
        store.create_project("shop", ["https://good.example", "bad"])
    assert store.list_projects() == ()


@pytest.mark.parametrize(
    "change",
    [
        {"rule_set": ""},
        {"rule_set": "Standard"},
        {"rule_set": "../etc"},
        {"retention_days": 0},
        {"retention_days": 36_501},
        {"rate_limits": {"Track": RateLimit(1, 1)}},
    ],
    ids=str,
)
def test_a_setting_may_not_be_this(store: ControlStore, change: dict[str, Any]) -> None:
    project = store.create_project("shop")
    with pytest.raises(ControlError):
        store.update_project("shop", **change)
    assert store.find_project("shop") == project


@pytest.mark.parametrize(("rate_per_s", "burst"), [(0, 1), (-1, 1), (float("nan"), 1), (float("inf"), 1), (1, 0)])
def test_a_bucket_may_not_be_this(rate_per_s: float, burst: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        RateLimit(rate_per_s, burst)


def test_limits_survive_their_json_and_bad_json_is_a_value_error() -> None:
    limits = {"track": RateLimit(12.5, 3), "batch": None}
    assert parse_rate_limits(format_rate_limits(limits)) == limits
    for text in ("", "[]", '{"track": {"rate_per_s": 0, "burst": 1}}', '{"track": 5}'):
        with pytest.raises(ValueError):  # noqa: PT011
            parse_rate_limits(text)


def test_only_an_account_key_goes_without_a_project(store: ControlStore) -> None:
    store.create_project("shop")
    with pytest.raises(ControlError, match="account key"):
        store.create_key(KeyKind.ACCOUNT, Environment.LIVE, PEPPER, project="shop")
    with pytest.raises(ControlError, match="account key"):
        store.create_key(KeyKind.SECRET, Environment.LIVE, PEPPER)


def test_a_prefix_that_is_taken_is_drawn_again(store: ControlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = chain(["0123abcd", "0123abcd", "4567cdef"], repeat("4567cdef"))
    store.create_project("shop")
    monkeypatch.setattr(secrets, "token_hex", lambda _: next(drawn))
    made = [store.create_key(KeyKind.READ, Environment.LIVE, PEPPER, project="shop") for _ in range(2)]

    assert [created.key.prefix for created in made] == ["0123abcd", "4567cdef"]
    with pytest.raises(ControlError, match="try again"):
        store.create_key(KeyKind.READ, Environment.LIVE, PEPPER, project="shop")


def test_no_secret_in_a_repr_or_a_message(store: ControlStore) -> None:
    store.create_project("shop")
    created = store.create_key(KeyKind.SECRET, Environment.LIVE, PEPPER, project="shop")
    secret = created.text.removeprefix(f"sk_live_{created.key.prefix}_")
    shown = repr([created, created.key, store.list_keys("shop"), store.read_snapshot()])

    assert secret not in shown
    assert repr(created.key.secret_hash) not in shown
    assert str(PEPPER) not in shown
    for misuse in (
        lambda: store.create_project(created.text),
        lambda: store.resolve_project(created.text),
        lambda: store.resolve_project("shop", account=created.text),
        lambda: store.revoke_key(created.text),
        lambda: store.revoke_key(secret),
        lambda: store.create_key(KeyKind.READ, Environment.LIVE, PEPPER, project="shop", label=created.text),
    ):
        with pytest.raises(ControlError) as caught:
            misuse()
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "control.db", "mysql://localhost/x", "postgresql://u:sesame@host:port/x", "foo:sesame"]
)
def test_a_bad_url_is_told_without_its_password(url: str) -> None:
    with pytest.raises(ControlError, match="sqlite:///path") as caught:
        open_control_store(url)
    assert "sesame" not in str(caught.value)
