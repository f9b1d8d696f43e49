"""What callers see while ClickHouse is away: killed and started again, or a port that accepts and never answers."""

import contextlib
import socket
import statistics
import time
import urllib.error
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bench.ingest import make_targets
from bench.load import Target
from bench.machine import Cores
from bench.paced import Answers, Caller, PacedLoad
from bench.server import CLICKHOUSE_URL, RunningServer, clickhouse_server, millimetric_server

_PRESENT_S = 10.0
_CALLERS, _CALLS_A_SECOND = 4, 400.0
_READ_EVERY_S = 0.5
_CATCH_UP_TIMEOUT_S = 120
_BACKLOG = 4096  # connections that the kernel accepts and nobody looks at
STEPS = 7
OnProgress = Callable[[str], None]


class Plan(msgspec.Struct, frozen=True):
    """How long ClickHouse stays away."""

    away_s: float
    data_parent: str
    cores: Cores


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table: the calls that began in this phase."""

    round: str  # killed or silent
    name: str  # up, away or back
    seconds: float
    answers: Answers
    reads_refused: int = 0
    read_p50_ms: float | None = None  # from asking for Stats to being refused
    read_max_ms: float | None = None
    caught_up_s: float | None = None  # from the return until all that waited then was in ClickHouse


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """Both rounds."""

    phases: Sequence[Phase]
    acknowledged_events: int
    faults: Sequence[str]


def measure(plan: Plan, on_progress: OnProgress) -> Outage:
    """Run both rounds."""
    rounds = [_measure_killed(plan, on_progress), _measure_silent(plan, on_progress)]
    phases = [phase for one in rounds for phase in one.phases]
    failed = [
        f"{one.round}, {one.name}: {one.answers.errors} calls failed, first: {one.answers.first_error}"
        for one in phases
        if one.answers.errors or not one.answers.calls
    ]
    return Outage(
        phases=phases,
        acknowledged_events=sum(one.acknowledged_events for one in rounds),
        faults=[*failed, *(fault for one in rounds for fault in one.faults)],
    )


class _Round:
    """A server under load, and the phases that it has seen."""

    def __init__(self, name: str, server: RunningServer, load: PacedLoad, target: Target, advance: OnProgress) -> None:
        self._name, self._server, self._load, self._target = name, server, load, target
        self._advance = advance
        self.phases: list[Phase] = []
        self.faults: list[str] = []

    def stay_up(self) -> None:
        """Let the load run while ClickHouse is there."""
        self._advance(f"{self._name}: ClickHouse is up")
        began = time.perf_counter()
        time.sleep(_PRESENT_S)
        self._note("up", began)

    def stay_away(self, seconds: float, bring_back: Callable[[], object]) -> None:
        """Ask for figures again and again while ClickHouse is away, and end the phase when it is back."""
        self._advance(f"{self._name}: ClickHouse is away")
        began = time.perf_counter()
        refusals_ms = []
        while time.perf_counter() - began < seconds:
            asked = time.perf_counter()
            status = self._read_status()
            refusals_ms.append((time.perf_counter() - asked) * 1000)
            if status != 502:
                self.faults.append(f"{self._name}: a read was answered with {status} while ClickHouse was away")
            time.sleep(_READ_EVERY_S)
        bring_back()
        self._note(
            "away",
            began,
            reads_refused=len(refusals_ms),
            read_p50_ms=statistics.median(refusals_ms),
            read_max_ms=max(refusals_ms),
        )

    def come_back(self) -> None:
        """Wait until all that waited at the return is loaded, and let the load run on."""
        self._advance(f"{self._name}: ClickHouse is back")
        began, acknowledged = time.perf_counter(), self._load.acknowledged
        caught_up_s = None
        while caught_up_s is None and time.perf_counter() - began < _CATCH_UP_TIMEOUT_S:
            if self._server.read_account().stored >= acknowledged:
                caught_up_s = time.perf_counter() - began
            time.sleep(0.1)
        time.sleep(max(began + _PRESENT_S - time.perf_counter(), 0))
        self._note("back", began, caught_up_s=caught_up_s)

    def _note(self, phase: str, began: float, **figures: Any) -> None:
        end = time.perf_counter()
        answers = self._load.describe(self._target, began, end)
        self.phases.append(Phase(round=self._name, name=phase, seconds=end - began, answers=answers, **figures))

    def _read_status(self) -> int:
        try:
            self._server.count_events()
        except urllib.error.HTTPError as error:
            return error.code
        return 200


def _measure_killed(plan: Plan, on_progress: OnProgress) -> Outage:
    with clickhouse_server(plan.data_parent) as clickhouse:

        def play(one: _Round) -> None:
            one.stay_up()
            clickhouse.kill()
            one.stay_away(plan.away_s, clickhouse.start)
            one.come_back()

        return _play_round("killed", clickhouse.url, plan, on_progress, play)


def _measure_silent(plan: Plan, on_progress: OnProgress) -> Outage:
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG))
        port = silent.getsockname()[1]

        def bring_back() -> None:
            silent.close()
            stack.enter_context(clickhouse_server(plan.data_parent, port))

        def play(one: _Round) -> None:
            one.stay_away(plan.away_s, bring_back)
            one.come_back()

        return _play_round("silent", f"http://127.0.0.1:{port}", plan, on_progress, play)


def _play_round(
    name: str, clickhouse_url: str, plan: Plan, on_progress: OnProgress, play: Callable[[_Round], None]
) -> Outage:
    with millimetric_server(plan.data_parent, plan.cores, {CLICKHOUSE_URL: clickhouse_url}) as server:
        address, key = server.process.grpc_address, server.keys.secret
        target = make_targets(address, server.http_address, key, gives_ids=False)["grpc", "Track"]
        callers = [Caller(target, _CALLS_A_SECOND / _CALLERS)] * _CALLERS
        with PacedLoad(callers) as load:
            one = _Round(name, server, load, target, on_progress)
            play(one)
        on_progress(f"{name}: waiting for the last events")
        _, faults = server.settle(load.acknowledged)
    faults = [*one.faults, *(f"{name}: {fault}" for fault in faults)]
    return Outage(phases=one.phases, acknowledged_events=load.acknowledged, faults=faults)
