"""API keys: their shape, their making and their proof."""

import pytest

from millimetric_server.control.keys import mint_key, parse_key, verify_secret
from millimetric_server.control.records import Environment, KeyKind

PEPPER = b"a pepper for tests"
SECRET = "s" * 43
TEXT = f"sk_live_0123abcd_{SECRET}"


@pytest.mark.parametrize("kind", KeyKind)
@pytest.mark.parametrize("environment", Environment)
def test_a_minted_key_parses_and_verifies(kind: KeyKind, environment: Environment) -> None:
    minted = mint_key(kind, environment, PEPPER)
    parsed = parse_key(minted.text)

    assert parsed is not None
    assert (parsed.kind, parsed.environment, parsed.prefix) == (kind, environment, minted.prefix)
    assert len(parsed.secret) == 43
    assert len(minted.secret_hash) == 32
    assert verify_secret(parsed.secret, minted.secret_hash, PEPPER)


def test_two_keys_share_nothing() -> None:
    first, second = (mint_key(KeyKind.PUBLIC, Environment.TEST, PEPPER) for _ in range(2))
    assert first.prefix != second.prefix
    assert first.secret_hash != second.secret_hash


def test_a_key_needs_a_pepper() -> None:
    with pytest.raises(ValueError, match="pepper"):
        mint_key(KeyKind.PUBLIC, Environment.TEST, b"")


@pytest.mark.parametrize("secret_length", [32, 128])
def test_the_secret_may_be_this_long(secret_length: int) -> None:
    assert parse_key("rk_test_0123abcd_" + "_" * secret_length) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sk",
        "sk_live_0123abcd_",
        "sk_live_0123abcd_" + "s" * 31,
        "sk_live_0123abcd_" + "s" * 129,
        "sk_live_0123abcd_" + "s" * 10_000_000,
        f"xk_live_0123abcd_{SECRET}",
        f"SK_live_0123abcd_{SECRET}",
        f"sk_prod_0123abcd_{SECRET}",
        f"sk_live_0123ABCD_{SECRET}",
        f"sk_live_0123abc_{SECRET}",
        f"sk_live_0123abcde_{SECRET}",
        f"sk_live_\u0660123abcd_{SECRET}",
        f"sk_live_0123abcd_{SECRET}=",
        f"sk_live_0123abcd_{SECRET}é",
        f"sk_live_0123abcd_{SECRET}\ud800",
        f"sk-live-0123abcd-{SECRET}",
        f" {TEXT}",
        f"{TEXT}\n",
        f"{TEXT}\0",
        f"Bearer {TEXT}",
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_what_is_not_a_key_is_none(text: str) -> None:
    assert parse_key(text) is None


def test_another_secret_hash_or_pepper_does_not_verify() -> None:
    minted = mint_key(KeyKind.SECRET, Environment.LIVE, PEPPER)
    secret = minted.text.removeprefix(f"sk_live_{minted.prefix}_")

    assert not verify_secret(secret[:-1] + ("a" if secret[-1] != "a" else "b"), minted.secret_hash, PEPPER)
    assert not verify_secret(secret, minted.secret_hash[:-1], PEPPER)
    assert not verify_secret(secret, minted.secret_hash, PEPPER + b"!")


def test_no_repr_shows_a_secret() -> None:
    minted = mint_key(KeyKind.SECRET, Environment.LIVE, PEPPER)
    parsed = parse_key(minted.text)

    assert parsed is not None
    assert parsed.secret not in repr(parsed) + repr(minted)
    assert repr(minted.secret_hash) not in repr(minted)
