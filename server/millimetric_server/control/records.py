"""The control plane's records, as immutable values. Secrets never appear in a repr."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from math import isfinite

DEFAULT_ACCOUNT = "default"
DEFAULT_RULE_SET = "standard-2"
DEFAULT_RETENTION_DAYS = 365


class KeyKind(StrEnum):
    """What a key may do; the value is the first part of the key's text."""

    PUBLIC = "pk"
    SECRET = "sk"  # noqa: S105
    READ = "rk"
    ACCOUNT = "ak"


class Environment(StrEnum):
    """Which of a project's two worlds a key belongs to."""

    LIVE = "live"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket: `rate_per_s` tokens flow in each second, at most `burst` lie in it.

    Raises:
        ValueError: the rate is not a positive finite number, or the burst is below 1.
    """

    rate_per_s: float
    burst: int

    def __post_init__(self) -> None:
        if not (isfinite(self.rate_per_s) and self.rate_per_s > 0):
            raise ValueError("rate_per_s must be a positive number.")
        if self.burst < 1:
            raise ValueError("burst must be at least 1.")


RateLimits = Mapping[str, RateLimit | None]


@dataclass(frozen=True, slots=True)
class Account:
    """The owner of projects. Every installation has the one named `default`."""

    account_id: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Project:
    """One tenant's events and the rules that apply to them.

    `origins` are as `normalise_origin` writes them, sorted. `rate_limits` maps an RPC's snake_case name
    to its own bucket, or to None for "no limit"; an RPC that is absent, and a whole mapping that is
    None, keep the server's setting. `ignored_referrers` are hosts as `normalise_referrer` writes them;
    `kept_parameters` are names of url parameters that redaction leaves alone, in lower case.
    `created_at` is in UTC.
    """

    project_id: str
    account_id: str
    name: str
    created_at: datetime
    origins: tuple[str, ...] = ()
    rule_set: str = DEFAULT_RULE_SET
    retention_days: int = DEFAULT_RETENTION_DAYS
    rate_limits: RateLimits | None = None
    ignored_referrers: frozenset[str] = frozenset()
    kept_parameters: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is stored: all but its secret, of which only the HMAC is known.

    `project_id` is None for account keys and for no others. Times are in UTC.
    """

    prefix: str
    kind: KeyKind
    environment: Environment
    account_id: str
    project_id: str | None
    secret_hash: bytes = field(repr=False)
    label: str
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Revision:
    """Names one state of the control plane. Compare with ==, never with <.

    The number alone would not do: after a restored backup or a fail-over that lost a write, the same
    number comes again with other contents, but never with the same random `change_id`.
    """

    number: int
    change_id: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole control plane at one revision, by id or prefix. Revoked keys are left out."""

    revision: Revision
    accounts: Mapping[str, Account]
    projects: Mapping[str, Project]
    keys: Mapping[str, Key]
