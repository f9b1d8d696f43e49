"""The url parameters that redaction leaves alone for a project."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; projects that exist keep none."""
    op.add_column("projects", sa.Column("kept_parameters", sa.Text))
