"""Inputs that nobody would write, tens of thousands at each door; then the count of what was stored."""

import time
from collections.abc import Callable, Sequence

import msgspec
from tests.support.fuzzing import TARGETS, Tally, throw_inputs

from bench.machine import Cores
from bench.server import RunningServer, millimetric_server

_ROUND = 1000  # inputs between two steps of the progress bar
OnProgress = Callable[[str], None]


class Plan(msgspec.Struct, frozen=True):
    """How many inputs, at which doors."""

    inputs: int
    doors: Sequence[str]
    data_parent: str
    cores: Cores


class Door(msgspec.Struct, frozen=True):
    """What a door answered."""

    name: str
    inputs: int
    seconds: float
    answered: dict[str, int]  # by status or code
    stored_events: int


class Fuzz(msgspec.Struct, frozen=True):
    """A whole run."""

    doors: Sequence[Door]
    faults: Sequence[str]


def count_steps(plan: Plan) -> int:
    """How many steps a run takes."""
    return len(plan.doors) * -(-plan.inputs // _ROUND)


def measure(plan: Plan, on_progress: OnProgress) -> Fuzz:
    """Throw the inputs at one server, door after door."""
    doors: list[Door] = []
    faults: list[str] = []
    with millimetric_server(plan.data_parent, plan.cores) as server:
        for name in plan.doors:
            target = TARGETS[name](server.process, server.keys.secret)
            began = time.perf_counter()
            try:
                for start in range(0, plan.inputs, _ROUND):
                    throw_inputs(target, min(_ROUND, plan.inputs - start))
                    on_progress(f"{name}: {target.tally.inputs} inputs")
            except AssertionError as error:
                faults.append(f"{name}: {error}")
            doors.append(_describe(name, target.tally, time.perf_counter() - began))
        faults += _settle(server, sum(door.stored_events for door in doors), is_exact="http" not in plan.doors)
    return Fuzz(doors, faults)


def _describe(name: str, tally: Tally, seconds: float) -> Door:
    return Door(name, tally.inputs, seconds, dict(sorted(tally.answered.items())), tally.stored_events)


def _settle(server: RunningServer, stored: int, *, is_exact: bool) -> list[str]:
    """Hold what is stored against what was answered; how many requests raw bytes hold only the server knows."""
    server.wait_until_loaded()
    counted = server.count_events()
    faults = []
    if counted < stored or (is_exact and counted > stored):
        faults.append(f"{stored} events were answered as stored, {counted} are")
    if server.read_account().missing:
        faults.append("the ledger does not add up")
    if "Traceback" in server.process.log:
        faults.append("the server's log has a fault in it")
    return faults
