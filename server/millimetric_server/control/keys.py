"""API keys: `{kind}_{environment}_{prefix}_{secret}`; see `parse_key` for the shape.

The prefix finds the key, the secret proves it. Only an HMAC of the secret is ever stored.
"""

import hmac
import re
import secrets
from dataclasses import dataclass, field

from millimetric_server.control.records import Environment, KeyKind

_KEY_SHAPE = re.compile(r"(pk|sk|rk|ak)_(live|test)_([0-9a-f]{8})_([A-Za-z0-9_-]{32,128})")
_PREFIX_BYTES = 4
_SECRET_BYTES = 32

# Calling an enum class costs more than the match does, and parse_key stands before every request.
_KINDS = {kind.value: kind for kind in KeyKind}
_ENVIRONMENTS = {environment.value: environment for environment in Environment}


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A new key. `text` is for its owner, once; `prefix` and `secret_hash` are what is kept."""

    text: str = field(repr=False)
    prefix: str
    secret_hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """What a caller's key claims to be; nothing of it is proven yet."""

    kind: KeyKind
    environment: Environment
    prefix: str
    secret: str = field(repr=False)


def mint_key(kind: KeyKind, environment: Environment, pepper: bytes) -> MintedKey:
    """Make a key: a prefix of 8 lower-case hex digits, a secret of 43 URL-safe characters (256 bits).

    Raises:
        ValueError: the pepper is empty.
    """
    if not pepper:
        raise ValueError("Keys cannot be created without a pepper.")
    prefix = secrets.token_hex(_PREFIX_BYTES)
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    return MintedKey(f"{kind}_{environment}_{prefix}_{secret}", prefix, _hash_secret(secret, pepper))


def parse_key(text: str) -> ParsedKey | None:
    """Split a key into its four parts, or return None if it has not the shape of one.

    Kinds pk, sk, rk, ak; environments live, test; 8 lower-case hex digits; 32 to 128 URL-safe characters.
    """
    match = _KEY_SHAPE.fullmatch(text)
    if match is None:
        return None
    kind, environment, prefix, secret = match.groups()
    return ParsedKey(_KINDS[kind], _ENVIRONMENTS[environment], prefix, secret)


def verify_secret(secret: str, secret_hash: bytes, pepper: bytes) -> bool:
    """Tell whether `secret`, as `parse_key` gave it, is the one behind `secret_hash`; in constant time."""
    return hmac.compare_digest(_hash_secret(secret, pepper), secret_hash)


def _hash_secret(secret: str, pepper: bytes) -> bytes:
    return hmac.digest(pepper, secret.encode(), "sha256")
