"""Makes the control database's schema, or migrates an older one; there are no downgrades."""

import logging

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    insert,
    inspect,
    select,
)

from millimetric_server.control.errors import ControlError
from millimetric_server.control.tables import METADATA

FIRST, NEWEST = "0001", "0003"  # of migrations/versions
_VERSIONS = Table(  # as alembic makes it
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
log = logging.getLogger(__name__)


def migrate(connection: Connection) -> None:
    """Make the schema that this version works with, in the caller's transaction; he holds the write lock.

    Raises:
        ControlError: a newer version has made the database.
    """
    has_tables, version = inspect(connection).has_table("control_revision"), _read_version(connection)
    if version == NEWEST:
        return
    if version is None and not has_tables:
        _make_newest(connection)
    else:
        run_steps(connection, version)
        log.info("control database: schema %s", NEWEST)


def _make_newest(connection: Connection) -> None:
    """Make the tables as they are now, without the steps that led there."""
    METADATA.create_all(connection)
    _VERSIONS.create(connection)
    connection.execute(insert(_VERSIONS).values(version_num=NEWEST))


def run_steps(connection: Connection, version: str | None) -> None:
    """Bring a database of this version forward; None is an empty one, or one from before there were versions.

    Raises:
        ControlError: a newer version has made the database.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it logs each of its plugins when it is imported
    # Only now, because importing it takes longer than most commands.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "millimetric_server.control:migrations")
    config.set_main_option("path_separator", "os")
    known = [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()]
    if version is not None and version not in known:
        raise ControlError(
            f"A newer version of millimetric has made the control database (schema {version}, this one knows up to "
            f"{NEWEST}): start that version, or one after it."
        )
    if version is None and inspect(connection).has_table("control_revision"):
        command.stamp(config, FIRST)  # made before its schema had a version
    command.upgrade(config, "head")


def _read_version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSIONS.name):
        return None
    return connection.execute(select(_VERSIONS.c.version_num)).scalar()
