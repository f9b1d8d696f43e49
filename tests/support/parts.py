"""The parts that doors are made of, for tests that build a door without a server."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from millimetric_server.control.directory import Directory
from millimetric_server.control.records import Environment, KeyKind
from millimetric_server.control.store import ControlStore
from millimetric_server.doors.deps import DoorDeps, StatusDeps
from millimetric_server.enrich.client_ip import NO_PROXIES
from millimetric_server.guards.deps import GuardDeps
from millimetric_server.journal.owed import Ledger
from millimetric_server.shares.limiter import Limiter
from millimetric_server.shares.places import Places

PEPPER = b"p" * 32


def make_project(store: ControlStore) -> tuple[Directory, str]:
    """A project and its secret key, and a directory that knows them."""
    store.create_project("shop")
    key = store.create_key(KeyKind.SECRET, Environment.LIVE, PEPPER, project="shop")
    directory = Directory(store)
    directory.refresh()
    return directory, key.text


def make_door_deps(directory: Directory, ledger: Ledger, read_clock_us: Callable[[], int] = lambda: 0) -> DoorDeps:
    """What doors work with, without limits."""
    return DoorDeps(GuardDeps(directory, Limiter({}), PEPPER), ledger, NO_PROXIES, read_clock_us)


def make_status_deps(directory: Directory) -> StatusDeps:
    """What health looks at, where nobody asks for it."""
    nothing: Any = SimpleNamespace()
    return StatusDeps(directory, nothing, nothing, nothing, Places("streams", 1))
