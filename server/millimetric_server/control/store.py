"""Reads and writes the control plane. Every write is one transaction that names a new revision.

Calls block on the database: request threads ask the directory instead. Records are answered as they are
after the change.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, delete, insert, select, update

from millimetric_server.control import names, queries
from millimetric_server.control.database import Database, open_engine
from millimetric_server.control.errors import ControlError, ControlUnavailableError
from millimetric_server.control.records import (
    DEFAULT_ACCOUNT,
    DEFAULT_RETENTION_DAYS,
    DEFAULT_RULE_SET,
    Account,
    Environment,
    Key,
    KeyKind,
    Project,
    RateLimits,
    Revision,
    Snapshot,
)
from millimetric_server.control.rows import (
    format_rate_limits,
    format_texts,
    make_id,
    read_account,
    read_key,
    read_project,
)
from millimetric_server.control.tables import accounts, keys, project_origins, projects


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A new key, and its text: the one time that it can be shown."""

    key: Key
    text: str = field(repr=False)


def open_control_store(url: str) -> "ControlStore":
    """Open the control plane at `sqlite:///path`, `sqlite://` (memory) or `postgresql://…`.

    The file, its folder, the tables and the account `default` are made where they are missing.

    Raises:
        ControlError: the URL cannot be used.
        ControlUnavailableError: the database does not answer.
    """
    engine = open_engine(url)
    try:
        Database(engine).create_tables()
    except ControlUnavailableError:
        engine.dispose()
        raise
    return ControlStore(engine)


class ControlStore:
    """Accounts, projects, keys and origins in one database.

    `project` and `account` are ids or names, and a project is only ever found in its own account.
    Each method raises ControlError for what cannot be done as asked (unknown, taken, badly written), and
    ControlUnavailableError when the database fails; then nothing has changed, unless it failed at the very
    moment of the commit.
    """

    def __init__(self, engine: Engine) -> None:
        """Take an engine of `open_engine`, with the tables already made."""
        self._database = Database(engine)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def create_account(self, name: str) -> Account:
        """Create an account; its name is unique."""
        name = names.check_name(name)
        with self._database.write() as connection:
            if connection.execute(select(accounts).where(accounts.c.name == name)).first():
                raise ControlError(f"There is already an account named {name!r}.")
            return queries.insert_account(connection, name)

    def create_project(self, name: str, origins: Iterable[str] = (), account: str = DEFAULT_ACCOUNT) -> Project:
        """Create a project; its name is unique in its account."""
        name = names.check_name(name)
        entries = {names.check_origin(origin) for origin in origins}
        with self._database.write() as connection:
            account_id = queries.require_account(connection, account)
            if queries.find_project_row(connection, name, account):
                raise ControlError(f"There is already a project named {name!r}.")
            project_id = make_id("prj")
            connection.execute(
                insert(projects).values(
                    project_id=project_id,
                    account_id=account_id,
                    name=name,
                    rule_set=DEFAULT_RULE_SET,
                    retention_days=DEFAULT_RETENTION_DAYS,
                    created_at=datetime.now(UTC),
                )
            )
            queries.insert_origins(connection, project_id, entries)
            return queries.require_project(connection, project_id, account)

    def find_project(self, project: str, account: str = DEFAULT_ACCOUNT) -> Project | None:
        """Find a project by its id or name, or return None."""
        with self._database.read() as connection:
            row = queries.find_project_row(connection, project, account)
            return row and read_project(row, queries.read_origins(connection, row.project_id))

    def resolve_project(self, project: str, account: str = DEFAULT_ACCOUNT) -> Project:
        """Find a project by its id or name, or raise ControlError."""
        with self._database.read() as connection:
            return queries.require_project(connection, project, account)

    def list_projects(self, account: str | None = None) -> tuple[Project, ...]:
        """List the projects of one account or of all, oldest first."""
        with self._database.read() as connection:
            query = select(projects)
            if account is not None:
                query = query.where(projects.c.account_id == queries.require_account(connection, account))
            return tuple(queries.select_projects(connection, query))

    def update_project(
        self,
        project: str,
        account: str = DEFAULT_ACCOUNT,
        *,
        rule_set: str | None = None,
        retention_days: int | None = None,
        rate_limits: RateLimits | None = None,
        ignored_referrers: Iterable[str] | None = None,
        kept_parameters: Iterable[str] | None = None,
    ) -> Project:
        """Change what is given and leave what is None. Empty `rate_limits` return to the server's."""
        changes: dict[str, Any] = {}
        if rule_set is not None:
            changes["rule_set"] = names.check_rule_set(rule_set)
        if retention_days is not None:
            changes["retention_days"] = names.check_retention_days(retention_days)
        if rate_limits is not None:
            changes["rate_limits"] = format_rate_limits(names.check_rate_limits(rate_limits))
        if ignored_referrers is not None:
            changes["ignored_referrers"] = format_texts(names.check_ignored_referrers(ignored_referrers))
        if kept_parameters is not None:
            changes["kept_parameters"] = format_texts(names.check_kept_parameters(kept_parameters))
        if not changes:
            return self.resolve_project(project, account)
        with self._database.write() as connection:
            project_id = queries.require_project(connection, project, account).project_id
            connection.execute(update(projects).where(projects.c.project_id == project_id).values(changes))
            return queries.require_project(connection, project_id, account)

    def list_origins(self, project: str, account: str = DEFAULT_ACCOUNT) -> tuple[str, ...]:
        """List a project's origins in their normal form, sorted."""
        return self.resolve_project(project, account).origins

    def add_origin(self, project: str, origin: str, account: str = DEFAULT_ACCOUNT) -> Project:
        """Allow an origin; one that is allowed already stays so."""
        entry = names.check_origin(origin)
        with self._database.write() as connection:
            found = queries.require_project(connection, project, account)
            queries.insert_origins(connection, found.project_id, {entry} - set(found.origins))
            return queries.require_project(connection, found.project_id, account)

    def remove_origin(self, project: str, origin: str, account: str = DEFAULT_ACCOUNT) -> Project:
        """Take an origin off the project's list, or raise ControlError if it is not on it."""
        entry = names.check_origin(origin)
        with self._database.write() as connection:
            found = queries.require_project(connection, project, account)
            if entry not in found.origins:
                raise ControlError(f"{entry} is not among the origins of project {found.name!r}.")
            connection.execute(
                delete(project_origins)
                .where(project_origins.c.project_id == found.project_id)
                .where(project_origins.c.origin == entry)
            )
            return queries.require_project(connection, found.project_id, account)

    def create_key(
        self,
        kind: KeyKind,
        environment: Environment,
        pepper: bytes,
        *,
        project: str | None = None,
        account: str = DEFAULT_ACCOUNT,
        label: str = "",
    ) -> CreatedKey:
        """Create a key: of a project, or of the whole account if its kind is ACCOUNT."""
        if (kind is KeyKind.ACCOUNT) != (project is None):
            raise ControlError("An account key has no project, and every other key has one.")
        label = names.check_label(label)
        with self._database.write() as connection:
            if project is None:
                project_id, account_id = None, queries.require_account(connection, account)
            else:
                owner = queries.require_project(connection, project, account)
                project_id, account_id = owner.project_id, owner.account_id
            minted = queries.mint_unused_key(connection, kind, environment, pepper)
            key = Key(
                prefix=minted.prefix,
                kind=kind,
                environment=environment,
                account_id=account_id,
                project_id=project_id,
                secret_hash=minted.secret_hash,
                label=label,
                created_at=datetime.now(UTC),
            )
            queries.insert_key(connection, key)
            return CreatedKey(key, minted.text)

    def list_keys(self, project: str, account: str = DEFAULT_ACCOUNT) -> tuple[Key, ...]:
        """List a project's keys, the revoked ones too, oldest first."""
        with self._database.read() as connection:
            project_id = queries.require_project(connection, project, account).project_id
            query = select(keys).where(keys.c.project_id == project_id)
            return tuple(queries.select_keys(connection, query))

    def has_keys(self) -> bool:
        """Tell whether there is any key that works."""
        with self._database.read() as connection:
            return (
                connection.execute(select(keys.c.prefix).where(keys.c.revoked_at.is_(None)).limit(1)).first()
                is not None
            )

    def list_account_keys(self, account: str = DEFAULT_ACCOUNT) -> tuple[Key, ...]:
        """List the keys of the account itself, the revoked ones too, oldest first."""
        with self._database.read() as connection:
            account_id = queries.require_account(connection, account)
            query = select(keys).where(keys.c.account_id == account_id, keys.c.project_id.is_(None))
            return tuple(queries.select_keys(connection, query))

    def revoke_key(self, prefix: str) -> Key:
        """Revoke a key by its prefix, for good. A second time changes nothing."""
        this_key = keys.c.prefix == names.check_prefix(prefix)
        with self._database.write() as connection:
            row = connection.execute(select(keys).where(this_key)).first()
            if row is None:
                raise ControlError(f"There is no key with the prefix {prefix!r}.")
            if row.revoked_at is None:
                connection.execute(update(keys).where(this_key).values(revoked_at=datetime.now(UTC)))
            return read_key(connection.execute(select(keys).where(this_key)).one())

    def read_revision(self) -> Revision:
        """Read which state the control plane is in."""
        with self._database.read() as connection:
            return queries.read_revision(connection)

    def read_snapshot(self) -> Snapshot:
        """Read the whole control plane as it was at one moment, without revoked keys."""
        unrevoked = select(keys).where(keys.c.revoked_at.is_(None))
        with self._database.read() as connection:
            return Snapshot(
                revision=queries.read_revision(connection),
                accounts={row.account_id: read_account(row) for row in connection.execute(select(accounts))},
                projects={
                    project.project_id: project for project in queries.select_projects(connection, select(projects))
                },
                keys={key.prefix: key for key in queries.select_keys(connection, unrevoked)},
            )
