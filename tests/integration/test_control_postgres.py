"""The control store's port test: the same cases on a SQLite file and on a real PostgreSQL."""

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from integration.postgres_server import PostgresServer
from millimetric_server.control.directory import Directory
from millimetric_server.control.errors import ControlError, ControlUnavailableError
from millimetric_server.control.keys import parse_key, verify_secret
from millimetric_server.control.records import Environment, KeyKind, RateLimit
from millimetric_server.control.store import ControlStore, open_control_store
from support.waiting import communicate, wait_until

PEPPER = b"a pepper for tests"
OPEN_AND_COUNT = """
import sys
from millimetric_server.control.store import open_control_store
store = open_control_store(sys.argv[1])
store.create_project(sys.argv[2])
print(len(store.read_snapshot().accounts))
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/made/on/the/way/control.db"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.create_database()


@pytest.fixture
def open_store(url: str) -> Iterator[Callable[[], ControlStore]]:
    with ExitStack() as stack:

        def open_one() -> ControlStore:
            store = open_control_store(url)
            stack.callback(store.close)
            return store

        yield open_one


@pytest.fixture
def store(open_store: Callable[[], ControlStore]) -> ControlStore:
    return open_store()


class TestStorePort:
    def test_a_project_comes_back_as_it_was_made(self, store: ControlStore) -> None:
        made = store.create_project("Büro ☕", ["https://www.example.com", "https://*.Example.com:443"])

        assert made.origins == ("https://*.example.com", "https://www.example.com")
        assert (made.rule_set, made.retention_days, made.rate_limits) == ("standard-2", 365, None)
        assert made.created_at.tzinfo is UTC
        assert abs(datetime.now(UTC) - made.created_at) < timedelta(minutes=1)
        assert store.find_project(made.project_id) == made
        assert store.find_project("Büro ☕") == made
        assert store.list_projects() == store.list_projects("default") == (made,)
        assert store.read_snapshot().projects == {made.project_id: made}

    def test_settings_change_one_by_one_and_limits_go_back_to_the_servers(self, store: ControlStore) -> None:
        store.create_project("shop")
        limits = {"track": RateLimit(0.5, 2), "batch": None}

        store.update_project("shop", retention_days=30)
        changed = store.update_project("shop", rule_set="standard-1", rate_limits=limits)

        assert (changed.rule_set, changed.retention_days, changed.rate_limits) == ("standard-1", 30, limits)
        assert store.update_project("shop") == changed
        assert store.update_project("shop", rate_limits={}).rate_limits is None

    def test_a_key_is_stored_without_its_secret_and_verifies(self, store: ControlStore) -> None:
        project = store.create_project("shop")
        created = store.create_key(KeyKind.SECRET, Environment.LIVE, PEPPER, project="shop", label="the worker")
        parsed = parse_key(created.text)
        (key,) = store.list_keys("shop")

        assert parsed is not None
        assert key == created.key == store.read_snapshot().keys[parsed.prefix]
        assert (key.project_id, key.account_id, key.label) == (
            project.project_id,
            project.account_id,
            "the worker",
        )
        assert type(key.secret_hash) is bytes
        assert verify_secret(parsed.secret, key.secret_hash, PEPPER)

    def test_an_account_key_belongs_to_the_account_alone(self, store: ControlStore) -> None:
        store.create_project("shop")
        key = store.create_key(KeyKind.ACCOUNT, Environment.TEST, PEPPER).key

        assert key.project_id is None
        assert store.list_account_keys() == (key,)
        assert store.list_keys("shop") == ()

    def test_a_revoked_key_is_listed_and_leaves_the_snapshot(self, store: ControlStore) -> None:
        store.create_project("shop")
        prefix = store.create_key(KeyKind.READ, Environment.LIVE, PEPPER, project="shop").key.prefix

        revoked = store.revoke_key(prefix)

        assert revoked.revoked_at is not None
        assert store.revoke_key(prefix) == revoked
        assert store.list_keys("shop") == (revoked,)
        assert prefix not in store.read_snapshot().keys

    def test_origins_are_added_and_removed_in_any_spelling(self, store: ControlStore) -> None:
        store.create_project("shop")
        store.add_origin("shop", "https://BÜCHER.de:443")
        store.add_origin("shop", "https://xn--bcher-kva.de")
        assert store.list_origins("shop") == ("https://xn--bcher-kva.de",)

        assert store.remove_origin("shop", "HTTPS://bücher.de").origins == ()
        with pytest.raises(ControlError, match="not among the origins"):
            store.remove_origin("shop", "https://bücher.de")

    def test_a_project_is_found_in_its_own_account_only(self, store: ControlStore) -> None:
        other = store.create_account("other")
        mine, theirs = store.create_project("shop"), store.create_project("shop", account="other")

        assert store.find_project("shop") == mine
        assert store.find_project("shop", other.account_id) == theirs
        assert store.find_project(theirs.project_id) is None
        assert store.list_projects() == (mine, theirs)

    @pytest.mark.parametrize("reference", ["nobody", "", "a\0b", "\ud800", "x" * 1000, "' OR 1=1 --"])
    def test_what_is_unknown_is_told_so(self, store: ControlStore, reference: str) -> None:
        assert store.find_project(reference) is None
        with pytest.raises(ControlError, match="There is no project"):
            store.add_origin(reference, "https://example.com")
        with pytest.raises(ControlError, match="There is no account"):
            store.create_project("shop", account=reference)
        with pytest.raises(ControlError, match=r"There is no key|prefix is 8"):
            store.revoke_key("0123abcd" if reference == "nobody" else reference)

    def test_each_write_names_a_new_revision_and_a_failed_one_does_not(self, store: ControlStore) -> None:
        first = store.read_revision()
        store.create_project("shop")
        second = store.read_revision()
        with pytest.raises(ControlError, match="already a project"):
            store.create_project("shop")

        assert second.number == first.number + 1
        assert second.change_id != first.change_id
        assert store.read_revision() == second == store.read_snapshot().revision

    def test_concurrent_creates_all_arrive_and_one_name_is_given_once(
        self, open_store: Callable[[], ControlStore]
    ) -> None:
        stores = [open_store() for _ in range(4)]
        before = stores[0].read_revision().number

        def create(number: int) -> bool:
            stores[number % 4].create_project(f"project {number}")
            try:
                stores[number % 4].create_project("the only one")
            except ControlError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(create, range(24)))

        assert sum(won) == 1
        assert len(stores[0].list_projects()) == 25
        assert stores[0].read_revision().number == before + 25

    def test_processes_that_start_at_once_make_one_set_of_tables(self, url: str) -> None:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", OPEN_AND_COUNT, url, f"project {number}"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for number in range(6)
        ]
        ends = [communicate(process) for process in processes]

        assert [(out.strip(), err) for out, err in ends] == [(b"1", b"")] * 6

    def test_another_process_change_is_seen_in_about_a_second(self, open_store: Callable[[], ControlStore]) -> None:
        here, elsewhere = open_store(), open_store()
        directory = Directory(here)
        directory.start()
        try:
            project = elsewhere.create_project("shop")
            wait_until(lambda: directory.find_project(project.project_id) is not None, "the project is known")
            key = elsewhere.create_key(KeyKind.PUBLIC, Environment.LIVE, PEPPER, project=project.project_id).key
            wait_until(lambda: directory.find_key(key.prefix) == key, "the key is known")
            elsewhere.revoke_key(key.prefix)
            wait_until(lambda: directory.find_key(key.prefix) is None, "the key is revoked")
        finally:
            directory.close()

    def test_a_database_taken_back_to_the_same_number_is_still_noticed(self, store: ControlStore, url: str) -> None:
        project = store.create_project("shop")
        directory = Directory(store)
        directory.refresh()
        restored = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        with restored.begin() as connection:  # as a backup would: other rows, the same number
            connection.execute(text("UPDATE projects SET name = 'store'"))
            connection.execute(text("UPDATE control_revision SET change_id = 'of the backup'"))
        restored.dispose()

        assert directory.refresh_if_changed()
        found = directory.find_project(project.project_id)
        assert found is not None
        assert found.name == "store"


def test_sqlite_keeps_its_promises_on_disk(tmp_path: Path) -> None:
    store = open_control_store(f"sqlite:///{tmp_path}/control.db")
    with store._database.read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "busy_timeout", "foreign_keys", "synchronous")
        }
    store.close()

    assert pragmas == {"journal_mode": "wal", "busy_timeout": 10_000, "foreign_keys": 1, "synchronous": 2}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ControlUnavailableError, match="cannot be created"):
        open_control_store(f"sqlite:///{tmp_path}/file/control.db")


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "control.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(ControlUnavailableError, match="not a database"):
        open_control_store(f"sqlite:///{tmp_path}/control.db")


def test_an_outage_keeps_the_keys_and_is_logged_once(
    postgres_server: "PostgresServer", caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store = open_control_store(postgres_server.create_database())
    project = store.create_project("shop")
    key = store.create_key(KeyKind.SECRET, Environment.LIVE, PEPPER, project="shop").key
    directory = Directory(store, poll_interval_s=0.05)
    directory.start()
    try:
        postgres_server.stop()
        try:
            wait_until(lambda: directory.is_stale_since is not None, "the outage is noticed")
            time.sleep(0.3)
            assert directory.find_key(key.prefix) == key
            with pytest.raises(ControlUnavailableError, match="The control database failed"):
                store.revoke_key(key.prefix)
        finally:
            postgres_server.start()
        wait_until(lambda: directory.is_stale_since is None, "the outage is over")
        store.revoke_key(key.prefix)
        directory.refresh()
        assert directory.find_key(key.prefix) is None
        assert directory.projects_of_account(project.account_id) == (project,)
    finally:
        directory.close()
        store.close()

    ours = [record for record in caplog.records if record.name.startswith("millimetric_server.control")]
    assert [record.levelname for record in ours] == ["WARNING", "INFO"]


def test_a_wrong_password_never_reaches_the_message(postgres_server: "PostgresServer") -> None:
    port = postgres_server.port
    with pytest.raises(ControlUnavailableError) as caught:
        open_control_store(f"postgresql://nobody:sesame@127.0.0.1:{port}/nowhere")
    assert "sesame" not in str(caught.value)
    assert "sesame" not in str(caught.value.__cause__)
