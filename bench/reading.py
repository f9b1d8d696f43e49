"""What reading costs: each question over gRPC by one caller, beside the same SQL without a server."""

import contextlib
import datetime as dt
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import msgspec
from tests.support.clickhouse_server import ClickHouseServer
from tests.support.server_process import ProjectKeys, ServerProcess

from bench.apart import ApartError, OnProgress, run_apart
from bench.direct import RPCS, Direct, Place, Repeat, measure_direct, time_calls
from bench.history import DAY_S, History, Order, make_history
from bench.load import find_quantile
from bench.questions import Question, find_emptiness, list_questions
from bench.server import CLICKHOUSE_URL, ENVIRON, RunningServer, temporary_data_dir
from millimetric_server.config import Settings, load_settings
from millimetric_server.doors.codecs.proto import decode_proto, encode_proto
from millimetric_server.server_secrets import load_secrets

_ROUNDS = 3  # server and SQL take turns, so that other work on the machine disturbs both
_SECONDS_MAX, _CALLS_MIN = 10.0, 4  # of a question and round: a slow one is asked less often
_TIMEOUT_S = 30
_NOTE = "history.json"


class ReadsError(Exception):
    """An answer is empty or wrong, or could not be had: then no figure means anything."""


class Plan(msgspec.Struct, frozen=True):
    """How to measure."""

    events: int
    repeats: int
    data_parent: str
    keep: str  # a folder for histories that stay; empty: they go
    is_embedded: bool
    with_growth: bool


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One question about one history. Times are in milliseconds."""

    question: str
    rpc: str
    aim_ms: float | None
    calls: int
    rows: int
    p50_ms: float
    p95_ms: float
    sql_p50_ms: float
    sql_p95_ms: float
    statements: int

    @property
    def ratio(self) -> float:
        """The answer's time as a multiple of its SQL's."""
        return self.p50_ms / self.sql_p50_ms


class Round(msgspec.Struct, frozen=True):
    """A history and what its questions took."""

    history: History
    measures: Sequence[Measure]


class Reads(msgspec.Struct, frozen=True):
    """The rounds, the smaller history first."""

    rounds: Sequence[Round]
    skipped: Sequence[str]  # questions of an RPC that the server does not have
    is_embedded: bool


class _Kept(msgspec.Struct, frozen=True):
    """What is known of a history that was made: written beside it when it is whole."""

    history: History
    keys: ProjectKeys


class _Asked(msgspec.Struct, frozen=True):
    """A question and what gRPC answered."""

    question: Question
    body: bytes
    response: bytes
    rows: int
    latencies_ms: list[float]


def measure(plan: Plan, on_progress: OnProgress) -> Reads:
    """Make the histories and measure on each. Raises ReadsError."""
    sizes = [plan.events // 10, plan.events] if plan.with_growth else [plan.events]
    try:
        rounds = [_measure_size(size, plan, on_progress) for size in sizes]
    except (ApartError, AssertionError, grpc.RpcError, TimeoutError) as error:
        raise ReadsError(str(error)) from error
    skipped = [one.name for one in list_questions(0) if one.rpc not in RPCS]
    return Reads(rounds, skipped, plan.is_embedded)


def _measure_size(size: int, plan: Plan, on_progress: OnProgress) -> Round:
    def tell(what: str, done: int, total: int) -> None:
        on_progress(f"{size:,} events: {what}", done, total)

    with _folder(size, plan) as folder, _engine(folder, plan) as environ:
        settings = load_settings(environ | {"MILLIMETRIC_DATA_DIR": str(folder)})
        kept = _make_or_find(folder, size, settings, tell)
        place = Place(
            settings.resolved_clickhouse_url,
            settings.clickhouse_database,
            kept.keys.project_id,
            load_secrets(settings).key_pepper,
        )
        process = ServerProcess(environ=environ, data_dir=folder)
        pairs = [
            pair
            for number in range(_ROUNDS)
            for pair in _ask_both(process, kept, place, -(-plan.repeats // _ROUNDS), _number(tell, number))
        ]
    by_question: dict[str, list[tuple[_Asked, Direct]]] = {}
    for asked, direct in pairs:
        by_question.setdefault(asked.question.name, []).append((asked, direct))
    return Round(kept.history, [_describe(found) for found in by_question.values()])


def _number(tell: OnProgress, number: int) -> OnProgress:
    return lambda what, done, total: tell(f"round {number + 1} of {_ROUNDS}, {what}", done, total)


def _ask_both(
    process: ServerProcess, kept: _Kept, place: Place, repeats: int, on_progress: OnProgress
) -> list[tuple[_Asked, Direct]]:
    """Ask the server, and when it has stopped the engine: a folder belongs to one process. Raises ReadsError."""
    asked = _ask_server(process, kept, repeats, on_progress)
    again = [Repeat(one.question.name, one.question.rpc, one.body, len(one.latencies_ms)) for one in asked]
    directs: list[Direct] = run_apart(measure_direct, place, again, on_progress=on_progress)
    pairs = list(zip(asked, directs, strict=True))
    for one, direct in pairs:
        response = RPCS[one.question.rpc].response  # the bytes of messages have no fixed order of properties
        if decode_proto(response, one.response) != decode_proto(response, direct.response):
            raise ReadsError(f"{one.question.name}: the answer over gRPC is not the one of its SQL without a server")
    return pairs


@contextlib.contextmanager
def _folder(size: int, plan: Plan) -> Iterator[Path]:
    if not plan.keep:
        with temporary_data_dir(plan.data_parent) as folder:
            yield folder.resolve()
        return
    folder = Path(plan.keep).resolve() / f"{'embedded' if plan.is_embedded else 'server'}-{size}"
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / _NOTE).exists():
        raise ReadsError(f"{folder.name} in the folder to keep has no whole history: remove it")
    yield folder


@contextlib.contextmanager
def _engine(folder: Path, plan: Plan) -> Iterator[dict[str, str]]:
    """The settings of the engine under test; a ClickHouse server runs as long as the block."""
    if plan.is_embedded:
        yield dict(ENVIRON)
        return
    engine = folder / "engine"
    engine.mkdir(exist_ok=True)
    process = ClickHouseServer(folder=engine)
    try:  # not as a context manager, which would remove the folder
        process.start()
        yield {**ENVIRON, CLICKHOUSE_URL: process.url}
    finally:
        process.stop()


def _make_or_find(folder: Path, size: int, settings: Settings, on_progress: OnProgress) -> _Kept:
    note = folder / _NOTE
    if note.exists():
        return msgspec.json.decode(note.read_bytes(), type=_Kept)
    environ = {CLICKHOUSE_URL: settings.clickhouse_url} if settings.clickhouse_url else {}
    keys = ServerProcess(environ=environ, data_dir=folder).create_project("bench")
    midnight = int(dt.datetime.now(dt.UTC).timestamp()) // DAY_S * DAY_S
    order = Order(settings.resolved_clickhouse_url, settings.clickhouse_database, keys.project_id, size, midnight)
    kept = _Kept(run_apart(make_history, order, on_progress=on_progress), keys)
    note.touch(0o600)
    note.write_bytes(msgspec.json.encode(kept))
    return kept


def _ask_server(process: ServerProcess, kept: _Kept, repeats: int, on_progress: OnProgress) -> list[_Asked]:
    """Ask a real server every question that it can answer."""
    questions = [one for one in list_questions(kept.history.end_s) if one.rpc in RPCS]
    try:
        process.start()
        counted = RunningServer(process, kept.keys).count_events()
        if counted != kept.history.events:
            raise ReadsError(f"{kept.history.events} events were made and Stats counts {counted}")
        asked = []
        with grpc.insecure_channel(process.grpc_address) as channel:
            for number, question in enumerate(questions):
                on_progress(f"gRPC: {question.name}", number, len(questions))
                asked.append(_ask(channel, kept.keys.read, question, repeats))
        return asked
    finally:
        process.stop()


def _ask(channel: grpc.Channel, key: str, question: Question, repeats: int) -> _Asked:
    rpc, body = RPCS[question.rpc], encode_proto(question.request)
    method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(rpc.path, bytes, bytes)
    metadata = (("authorization", f"Bearer {key}"),)

    def ask() -> bytes:
        return method(body, timeout=_TIMEOUT_S, metadata=metadata)

    response = ask()
    decoded = decode_proto(rpc.response, response)
    if fault := find_emptiness(decoded):
        raise ReadsError(f"{question.name}: {fault}")
    rows = len(decoded.rows)  # type: ignore[attr-defined]  # every answer of a read has them
    return _Asked(question, body, response, rows, time_calls(ask, repeats, _SECONDS_MAX, _CALLS_MIN))


def _describe(pairs: Sequence[tuple[_Asked, Direct]]) -> Measure:
    """All rounds of a question as one."""
    asked, direct = pairs[0]
    answers = sorted(latency for one, _ in pairs for latency in one.latencies_ms)
    sql = sorted(latency for _, one in pairs for latency in one.latencies_ms)
    return Measure(
        question=asked.question.name,
        rpc=asked.question.rpc,
        aim_ms=asked.question.aim_ms,
        calls=len(answers),
        rows=asked.rows,
        p50_ms=statistics.median(answers),
        p95_ms=find_quantile(answers, 0.95),
        sql_p50_ms=statistics.median(sql),
        sql_p95_ms=find_quantile(sql, 0.95),
        statements=direct.statements,
    )
