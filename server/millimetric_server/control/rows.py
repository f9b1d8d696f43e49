"""Converts between records and table rows: ids, the JSON of settings, and one function per record."""

import secrets
from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

import msgspec
from sqlalchemy import Row

from millimetric_server.control.records import (
    Account,
    Environment,
    Key,
    KeyKind,
    Project,
    RateLimit,
    RateLimits,
)

_ID_BYTES = 8


def make_id(kind: str) -> str:
    """Make an id like `prj_0123456789abcdef`: 64 random bits after the kind."""
    return f"{kind}_{secrets.token_hex(_ID_BYTES)}"


def format_rate_limits(limits: RateLimits) -> str | None:
    """Write limits as JSON, `{"track": {"rate_per_s": 50.0, "burst": 200}, "batch": null}`; None for none."""
    return msgspec.json.encode(dict(limits)).decode() if limits else None


def parse_rate_limits(text: str | None) -> RateLimits | None:
    """Read what `format_rate_limits` wrote.

    Raises:
        ValueError: the text is something else.
    """
    if text is None:
        return None
    return MappingProxyType(msgspec.json.decode(text, type=dict[str, RateLimit | None]))


def format_texts(texts: Iterable[str]) -> str | None:
    """Write hosts or names as a sorted JSON list; None for none."""
    listed = sorted(texts)
    return msgspec.json.encode(listed).decode() if listed else None


def parse_texts(text: str | None) -> frozenset[str]:
    """Read what `format_texts` wrote.

    Raises:
        ValueError: the text is something else.
    """
    return frozenset() if text is None else msgspec.json.decode(text, type=frozenset[str])


def read_account(row: Row[Any]) -> Account:
    """Make an account of a row of `accounts`."""
    return Account(row.account_id, row.name, row.created_at)


def read_project(row: Row[Any], origins: Iterable[str]) -> Project:
    """Make a project of a row of `projects` and its rows of `project_origins`."""
    return Project(
        project_id=row.project_id,
        account_id=row.account_id,
        name=row.name,
        created_at=row.created_at,
        origins=tuple(sorted(origins)),
        rule_set=row.rule_set,
        retention_days=row.retention_days,
        rate_limits=parse_rate_limits(row.rate_limits),
        ignored_referrers=parse_texts(row.ignored_referrers),
        kept_parameters=parse_texts(row.kept_parameters),
    )


def read_key(row: Row[Any]) -> Key:
    """Make a key of a row of `keys`."""
    return Key(
        prefix=row.prefix,
        kind=KeyKind(row.kind),
        environment=Environment(row.environment),
        account_id=row.account_id,
        project_id=row.project_id,
        secret_hash=bytes(row.secret_hash),
        label=row.label,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
    )
