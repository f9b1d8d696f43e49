"""The tables of the first version."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "accounts",
        sa.Column("account_id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "projects",
        sa.Column("project_id", sa.String, primary_key=True),
        sa.Column("account_id", sa.String, sa.ForeignKey("accounts.account_id"), nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("rule_set", sa.String, nullable=False),
        sa.Column("retention_days", sa.Integer, nullable=False),
        sa.Column("rate_limits", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("account_id", "name"),
    )
    op.create_table(
        "project_origins",
        sa.Column("project_id", sa.String, sa.ForeignKey("projects.project_id"), primary_key=True),
        sa.Column("origin", sa.String, primary_key=True),
    )
    op.create_table(
        "keys",
        sa.Column("prefix", sa.String, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("environment", sa.String, nullable=False),
        sa.Column("account_id", sa.String, sa.ForeignKey("accounts.account_id"), nullable=False),
        sa.Column("project_id", sa.String, sa.ForeignKey("projects.project_id")),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        sa.Column("label", sa.String, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("(kind = 'ak') = (project_id IS NULL)", name="only_account_keys_have_no_project"),
        sa.Index("keys_by_project", "project_id"),
    )
    op.create_table(
        "control_revision",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("change_id", sa.String, nullable=False),
    )
