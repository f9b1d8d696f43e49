"""Migrates the control database's schema; there are no downgrades."""

import logging

from sqlalchemy import Connection, inspect, text

from millimetric_server.control.errors import ControlError

FIRST, NEWEST = "0001", "0001"  # of migrations/versions
log = logging.getLogger(__name__)


def migrate(connection: Connection) -> None:
    """Make the schema that this version works with, in the caller's transaction; he holds the write lock.

    Raises:
        ControlError: a newer version has made the database.
    """
    has_tables, version = inspect(connection).has_table("control_revision"), _read_version(connection)
    if version == NEWEST:
        return
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
    if version is None and has_tables:
        command.stamp(config, FIRST)  # made before its schema had a version
    command.upgrade(config, "head")
    if has_tables:
        log.info("control database: schema %s", NEWEST)


def _read_version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
