"""The control plane's tables, the same for SQLite and PostgreSQL."""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)


class UtcTime(TypeDecorator[datetime]):
    """A moment, aware and in UTC on both sides. SQLite forgets the zone and PostgreSQL answers in its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Turn an aware time into UTC."""
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Turn what the database answers into an aware time in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


METADATA = MetaData()

accounts = Table(
    "accounts",
    METADATA,
    Column("account_id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("created_at", UtcTime, nullable=False),
)

projects = Table(
    "projects",
    METADATA,
    Column("project_id", String, primary_key=True),
    Column("account_id", ForeignKey("accounts.account_id"), nullable=False),
    Column("name", String, nullable=False),
    Column("rule_set", String, nullable=False),
    Column("retention_days", Integer, nullable=False),
    Column("rate_limits", Text),  # JSON, see Project.rate_limits; NULL: the server's
    Column("created_at", UtcTime, nullable=False),
    Column("ignored_referrers", Text),  # JSON, a sorted list of hosts; NULL: none
    Column("kept_parameters", Text),  # JSON, a sorted list of names; NULL: none
    UniqueConstraint("account_id", "name"),
)

project_origins = Table(
    "project_origins",
    METADATA,
    Column("project_id", ForeignKey("projects.project_id"), primary_key=True),
    Column("origin", String, primary_key=True),
)

keys = Table(
    "keys",
    METADATA,
    Column("prefix", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("environment", String, nullable=False),
    Column("account_id", ForeignKey("accounts.account_id"), nullable=False),
    Column("project_id", ForeignKey("projects.project_id")),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("label", String, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
    CheckConstraint("(kind = 'ak') = (project_id IS NULL)", name="only_account_keys_have_no_project"),
    Index("keys_by_project", "project_id"),
)

# One row. Every write transaction updates it first, so it is also the lock that puts writers in order.
control_revision = Table(
    "control_revision",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("change_id", String, nullable=False),
)
