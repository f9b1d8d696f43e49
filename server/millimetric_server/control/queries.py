"""Statements on an open transaction: what the store's methods are made of.

`require_…` raise ControlError for what does not exist; `account` and `project` are ids or names.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, or_, select

from millimetric_server.control.errors import ControlError
from millimetric_server.control.keys import MintedKey, mint_key
from millimetric_server.control.names import quote_reference
from millimetric_server.control.records import Account, Environment, Key, KeyKind, Project, Revision
from millimetric_server.control.rows import make_id, read_key, read_project
from millimetric_server.control.tables import accounts, control_revision, keys, project_origins, projects

_PREFIX_ATTEMPTS_MAX = 16


def read_revision(connection: Connection) -> Revision:
    """Read the revision that this transaction sees."""
    row = connection.execute(select(control_revision)).one()
    return Revision(row.number, row.change_id)


def require_account(connection: Connection, account: str) -> str:
    """Find an account's id."""
    row = connection.execute(_select_account_ids(account)).first()
    if row is None:
        raise ControlError(f"There is no account {quote_reference(account)}.")
    return str(row.account_id)


def insert_account(connection: Connection, name: str) -> Account:
    """Add an account whose name is free."""
    account = Account(make_id("acc"), name, datetime.now(UTC))
    connection.execute(
        insert(accounts).values(account_id=account.account_id, name=account.name, created_at=account.created_at)
    )
    return account


def find_project_row(connection: Connection, project: str, account: str) -> Row[Any] | None:
    """Find a project's row; a project of another account is not found, by its id neither."""
    reference = _normalise_reference(project)
    query = (
        select(projects)
        .where(or_(projects.c.project_id == reference, projects.c.name == reference))
        .where(projects.c.account_id.in_(_select_account_ids(account)))
    )
    return connection.execute(query).first()


def require_project(connection: Connection, project: str, account: str) -> Project:
    """Find a project with its origins."""
    row = find_project_row(connection, project, account)
    if row is None:
        raise ControlError(f"There is no project {quote_reference(project)} in account {quote_reference(account)}.")
    return read_project(row, read_origins(connection, row.project_id))


def select_projects(connection: Connection, query: Select[Any]) -> Iterator[Project]:
    """Read the projects of a query on `projects`, oldest first, in two statements however many there are."""
    origins: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(select(project_origins)):
        origins[row.project_id].append(row.origin)
    for row in connection.execute(query.order_by(projects.c.created_at, projects.c.project_id)):
        yield read_project(row, origins[row.project_id])


def read_origins(connection: Connection, project_id: str) -> list[str]:
    """Read one project's origins."""
    query = select(project_origins.c.origin).where(project_origins.c.project_id == project_id)
    return list(connection.scalars(query))


def insert_origins(connection: Connection, project_id: str, origins: Iterable[str]) -> None:
    """Add origins that the project does not have yet."""
    rows = [{"project_id": project_id, "origin": origin} for origin in origins]
    if rows:
        connection.execute(insert(project_origins), rows)


def select_keys(connection: Connection, query: Select[Any]) -> Iterator[Key]:
    """Read the keys of a query on `keys`, oldest first."""
    return map(read_key, connection.execute(query.order_by(keys.c.created_at, keys.c.prefix)))


def insert_key(connection: Connection, key: Key) -> None:
    """Add a key whose prefix is free."""
    connection.execute(
        insert(keys).values(
            prefix=key.prefix,
            kind=key.kind.value,
            environment=key.environment.value,
            account_id=key.account_id,
            project_id=key.project_id,
            secret_hash=key.secret_hash,
            label=key.label,
            created_at=key.created_at,
        )
    )


def mint_unused_key(connection: Connection, kind: KeyKind, environment: Environment, pepper: bytes) -> MintedKey:
    """Make a key whose prefix no key has, not even a revoked one; it stays free while we hold the write."""
    for _ in range(_PREFIX_ATTEMPTS_MAX):
        minted = mint_key(kind, environment, pepper)
        if connection.execute(select(keys.c.prefix).where(keys.c.prefix == minted.prefix)).first() is None:
            return minted
    raise ControlError("No free key prefix was found; try again.")


def _select_account_ids(account: str) -> Select[tuple[str]]:
    reference = _normalise_reference(account)
    return select(accounts.c.account_id).where(or_(accounts.c.account_id == reference, accounts.c.name == reference))


def _normalise_reference(text: str) -> str:
    # Names are NFC and printable. PostgreSQL takes neither NUL nor surrogates, not even to compare with.
    return unicodedata.normalize("NFC", text) if text.isprintable() else ""
