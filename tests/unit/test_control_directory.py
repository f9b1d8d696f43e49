"""The directory: what it shows, when it reloads, and what it does while the store is away."""

import logging
import threading
from collections.abc import Iterator

import pytest

from millimetric_server.control.directory import Directory
from millimetric_server.control.errors import ControlUnavailableError
from millimetric_server.control.misses import Sought, SoughtKind
from millimetric_server.control.records import Environment, KeyKind, Revision, Snapshot
from millimetric_server.control.store import ControlStore, open_control_store
from support.waiting import wait_until

PEPPER = b"a pepper for tests"


class FailingSource:
    """A store that can be taken away, and that counts how often its whole content was read."""

    def __init__(self, store: ControlStore) -> None:
        self.store = store
        self.fault: Exception | None = None
        self.snapshots_read = 0

    def read_revision(self) -> Revision:
        if self.fault:
            raise self.fault
        return self.store.read_revision()

    def read_snapshot(self) -> Snapshot:
        if self.fault:
            raise self.fault
        self.snapshots_read += 1
        return self.store.read_snapshot()


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def store() -> Iterator[ControlStore]:
    store = open_control_store("sqlite://")
    yield store
    store.close()


@pytest.fixture
def source(store: ControlStore) -> FailingSource:
    return FailingSource(store)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(source: FailingSource, clock: Clock) -> Iterator[Directory]:
    directory = Directory(source, poll_interval_s=0.01, read_monotonic_s=clock)
    yield directory
    directory.close()


def wait_until_thread_count_is(count: int) -> None:
    wait_until(lambda: threading.active_count() == count, f"{count} threads")


def test_it_is_empty_until_it_is_refreshed(store: ControlStore, directory: Directory) -> None:
    project = store.create_project("shop")
    key = store.create_key(KeyKind.PUBLIC, Environment.LIVE, PEPPER, project="shop").key
    assert directory.find_project(project.project_id) is None
    assert directory.find_key(key.prefix) is None
    assert directory.projects_of_account(project.account_id) == ()

    directory.refresh()
    assert directory.find_project(project.project_id) == project
    assert directory.find_key(key.prefix) == key


def test_a_revoked_key_vanishes_with_the_refresh(store: ControlStore, directory: Directory) -> None:
    store.create_project("shop")
    key = store.create_key(KeyKind.PUBLIC, Environment.LIVE, PEPPER, project="shop").key
    directory.refresh()

    store.revoke_key(key.prefix)
    assert directory.find_key(key.prefix) == key
    directory.refresh()
    assert directory.find_key(key.prefix) is None


def test_an_account_has_its_own_projects_oldest_first(store: ControlStore, directory: Directory) -> None:
    other = store.create_account("other")
    first, theirs, second = (
        store.create_project("zebra"),
        store.create_project("shop", account="other"),
        store.create_project("ant"),
    )
    directory.refresh()

    assert directory.projects_of_account(first.account_id) == (first, second)
    assert directory.projects_of_account(other.account_id) == (theirs,)
    assert directory.projects_of_account("nobody") == ()


def test_it_reloads_only_what_has_changed(store: ControlStore, source: FailingSource, directory: Directory) -> None:
    directory.refresh()
    assert not directory.refresh_if_changed()
    store.create_project("shop")
    assert directory.refresh_if_changed()
    assert not directory.refresh_if_changed()
    assert source.snapshots_read == 2


def test_a_change_between_the_two_reads_is_not_missed(store: ControlStore) -> None:
    class ChangingSource(FailingSource):
        def read_snapshot(self) -> Snapshot:
            snapshot = super().read_snapshot()
            if self.snapshots_read == 1:
                store.create_project("in between")
            return snapshot

    directory = Directory(ChangingSource(store))
    directory.refresh()
    assert directory.refresh_if_changed()
    assert len(directory.projects_of_account(store.list_projects()[0].account_id)) == 1


def test_an_outage_keeps_the_last_snapshot_and_is_logged_once(
    store: ControlStore,
    source: FailingSource,
    directory: Directory,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    project = store.create_project("shop")
    directory.refresh()
    assert directory.is_stale_since is None

    source.fault = ControlUnavailableError("The control database failed: away")
    for clock.now_s in (101.0, 102.0, 103.0):
        with pytest.raises(ControlUnavailableError):
            directory.refresh_if_changed()
    assert directory.is_stale_since == 100.0
    assert directory.find_project(project.project_id) == project

    source.fault = None
    directory.refresh_if_changed()
    assert directory.is_stale_since is None
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            "Control database unreachable; keys and projects stay as last read. The control database failed: away",
        ),
        ("INFO", "Control database back after 3.0 s."),
    ]


def test_the_thread_survives_any_fault(store: ControlStore, source: FailingSource, directory: Directory) -> None:
    directory.start()
    source.fault = RuntimeError("nobody thought of this")
    wait_until(lambda: directory.is_stale_since is not None, "the fault is noticed")
    project = store.create_project("shop")
    source.fault = None
    wait_until(lambda: directory.find_project(project.project_id) is not None, "the project is known")


def test_a_store_that_hangs_counts_as_away(source: FailingSource, clock: Clock) -> None:
    directory = Directory(source, poll_interval_s=3600, read_monotonic_s=clock)
    directory.start()
    clock.now_s += 3609
    assert directory.is_stale_since is None
    clock.now_s += 2
    assert directory.is_stale_since == 100.0
    directory.close()


def test_nothing_starts_while_the_store_is_away(source: FailingSource, directory: Directory) -> None:
    before = threading.active_count()
    source.fault = ControlUnavailableError("away")
    with pytest.raises(ControlUnavailableError):
        directory.start()
    assert threading.active_count() == before


def test_it_stops_when_closed_and_may_be_started_again(store: ControlStore, directory: Directory) -> None:
    before = threading.active_count()
    for name in ("first", "second"):
        project = store.create_project(name)
        directory.start()
        assert threading.active_count() == before + 1
        directory.close()
        directory.close()
        wait_until_thread_count_is(before)
        assert directory.find_project(project.project_id) == project


def test_a_look_finds_what_was_made_a_moment_ago(store: ControlStore, source: FailingSource) -> None:
    directory = Directory(source, poll_interval_s=3600)
    directory.start()
    store.create_project("shop")
    key = store.create_key(KeyKind.PUBLIC, Environment.LIVE, PEPPER, project="shop").key
    assert directory.find_key(key.prefix) is None
    look = directory.look_again(Sought(SoughtKind.KEY, key.prefix))
    assert look is not None
    look.result(60)
    assert directory.find_key(key.prefix) == key
    assert directory.looks == 1
    directory.close()


def test_nobody_waits_for_a_store_that_is_away(source: FailingSource) -> None:
    unknown = [Sought(SoughtKind.KEY, f"{number:08x}") for number in range(5)]
    directory = Directory(source, poll_interval_s=3600)
    assert directory.look_again(unknown[0]) is None  # nothing follows the store yet
    directory.start()
    source.fault = ControlUnavailableError("away")
    look = directory.look_again(unknown[1])
    assert look is not None
    look.result(60)  # the one that finds out
    assert directory.look_again(unknown[2]) is None
    directory.close()


def test_a_look_that_hangs_holds_nobody_who_comes_later(store: ControlStore, clock: Clock) -> None:
    answers = threading.Event()

    class HangingSource(FailingSource):
        def read_revision(self) -> Revision:
            answers.wait(10)
            return super().read_revision()

    directory = Directory(HangingSource(store), poll_interval_s=3600, read_monotonic_s=clock)
    directory.start()
    first = directory.look_again(Sought(SoughtKind.KEY, "00000001"))
    wait_until(lambda: directory.looks > 0, "the look has begun")
    clock.now_s += 1
    assert directory.look_again(Sought(SoughtKind.KEY, "00000002")) is None
    answers.set()
    assert first is not None
    first.result(60)
    directory.close()
