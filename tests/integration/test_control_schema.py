"""The control database's schema: its steps make the tables that the code works with, and older databases come along."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import alembic.command
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, inspect, text
from sqlalchemy.engine import Engine

from millimetric_server.control import schema
from millimetric_server.control.database import Database, open_engine
from millimetric_server.control.errors import ControlError
from millimetric_server.control.store import open_control_store
from millimetric_server.control.tables import METADATA, accounts, control_revision, projects

_NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/control.db"
    made: str = request.getfixturevalue("postgres_server").create_database()
    return made


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    yield engine
    engine.dispose()


def run_steps(connection: Connection) -> None:
    schema.run_steps(connection, None)


def read_version(connection: Connection) -> str:
    (version,) = connection.execute(text("SELECT version_num FROM alembic_version")).scalars()
    return str(version)


@pytest.fixture(params=["as they are now", "by steps"])
def made(request: pytest.FixtureRequest, engine: Engine) -> Engine:
    """A new database: what a start makes, and what the steps of all versions lead to."""
    if request.param == "by steps":
        with engine.begin() as connection:
            run_steps(connection)
    Database(engine).create_tables()
    return engine


def test_the_steps_make_the_tables_that_the_code_works_with(made: Engine) -> None:
    with made.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        assert read_version(connection) == schema.NEWEST


def test_a_new_database_is_what_the_steps_lead_to(tmp_path: Path) -> None:
    """To the letter, so with its checks, which alembic's comparison leaves out."""
    found = []
    for make in (schema.migrate, run_steps):
        engine = open_engine(f"sqlite:///{tmp_path}/{len(found)}.db")
        with engine.begin() as connection:
            make(connection)
            statements = connection.execute(text("SELECT name, sql FROM sqlite_master")).all()
        engine.dispose()
        found.append({name: " ".join((sql or "").split()) for name, sql in statements})
    assert found[0] == found[1]


def test_a_database_from_before_the_schema_had_versions_keeps_its_rows(url: str, engine: Engine) -> None:
    with engine.begin() as connection:  # as version 0.1 made it
        METADATA.create_all(connection)
        for column in ("ignored_referrers", "kept_parameters"):
            connection.execute(text(f"ALTER TABLE projects DROP COLUMN {column}"))
        connection.execute(insert(control_revision).values(id=1, number=7, change_id="c"))
        connection.execute(insert(accounts).values(account_id="acc_1", name="default", created_at=_NOW))
        row = {"project_id": "prj_1", "account_id": "acc_1", "name": "shop", "rule_set": "standard-1"}
        connection.execute(insert(projects).values(**row, retention_days=30, created_at=_NOW))
    for _ in range(2):
        with contextlib.closing(open_control_store(url)) as store:
            (project,) = store.list_projects()
            assert (project.name, project.rule_set) == ("shop", "standard-1")
            assert project.ignored_referrers == project.kept_parameters == frozenset()
    with engine.connect() as connection:
        assert read_version(connection) == schema.NEWEST


def test_a_database_of_a_newer_version_is_refused_and_stays_as_it_is(url: str, engine: Engine) -> None:
    open_control_store(url).close()
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ControlError, match=r"newer version of millimetric has made .* \(schema 9999"):
        open_control_store(url)
    with engine.connect() as connection:
        assert read_version(connection) == "9999"


@pytest.mark.parametrize("owner", [schema, alembic.command], ids=["as they are now", "by steps"])
def test_a_change_that_fails_leaves_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch, owner: Any) -> None:
    name, change = ("_make_newest", schema.migrate) if owner is schema else ("upgrade", run_steps)
    make = getattr(owner, name)

    def fail_afterwards(*arguments: Any) -> None:
        make(*arguments)
        raise RuntimeError("the machine goes away")

    monkeypatch.setattr(owner, name, fail_afterwards)
    with pytest.raises(RuntimeError), Database(engine)._writer.begin() as connection:
        change(connection)
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == []
    monkeypatch.undo()
    Database(engine).create_tables()
    with engine.connect() as connection:
        assert read_version(connection) == schema.NEWEST
