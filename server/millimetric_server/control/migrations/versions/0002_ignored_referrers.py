"""The hosts that begin no visit for a project."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; projects that exist ignore none."""
    op.add_column("projects", sa.Column("ignored_referrers", sa.Text))
