"""`millimetric load`: backfill from a file, through Batch."""

import gzip
import itertools
import secrets
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from millimetric_server.api.limits import BATCH_EVENTS_MAX
from millimetric_server.api.messages import DropReason
from millimetric_server.cli.addresses import grpc_address
from millimetric_server.cli.load.batch_sender import BatchSender, SendError
from millimetric_server.cli.load.progress import LoadProgress
from millimetric_server.cli.load.rows import FormatError, Row, read_csv, read_ndjson
from millimetric_server.cli.load.run import Loading
from millimetric_server.cli.load.state import (
    LoadState,
    RejectedFile,
    StateError,
    rejected_path_of,
    resume_state,
    save_state,
    start_state,
)
from millimetric_server.cli.settings import read_settings
from millimetric_server.cli.tables import print_table
from millimetric_server.control.keys import ParsedKey, parse_key
from millimetric_server.control.records import KeyKind

_FORMATS = {".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson", ".csv": "csv"}
_READERS = {"ndjson": read_ndjson, "csv": read_csv}
_STDIN = Path("stdin")  # names the rejected rows of what came through a pipe


@click.command()
@click.argument("file", metavar="FILE")
@click.option(
    "--key",
    envvar="MILLIMETRIC_KEY",
    metavar="sk_…",
    help="A secret key of the project. Prefer the environment variable: other users of this machine can "
    "read a command line. [env: MILLIMETRIC_KEY]",
)
@click.option(
    "--server",
    metavar="HOST:PORT",
    help="The server's gRPC address; https://host:port for TLS. [default: 127.0.0.1:50051]",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(sorted(_READERS)),
    help="The format of FILE, if its name does not show it. [default for a pipe: ndjson]",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1, BATCH_EVENTS_MAX),
    default=BATCH_EVENTS_MAX,
    show_default=True,
    help="Rows sent and acknowledged together.",
)
@click.option("--restart", is_flag=True, help="Ignore the progress of an earlier load and start at the first row.")
@click.option(
    "--patience",
    type=click.FloatRange(0),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a server that is down or overloaded before giving up.",
)
def load(
    file: str,
    key: str | None,
    server: str | None,
    format_name: str | None,
    batch_size: int,
    restart: bool,
    patience: float,
) -> None:
    """Load the events in FILE, and count each of them once.

    FILE is NDJSON (one JSON object per line) or CSV, also as .gz, or `-` for a pipe. Field names are those of the
    API: event, event_id, timestamp, anonymous_id, user_id, session_id, url, path, referrer, properties. In CSV the
    first row names the columns; `properties.plan` is a property, `properties` is a JSON object, and any other column
    becomes a property too. A row without a timestamp counts as happening now; one that is older than the project's
    retention (365 days by default) is not stored.

    Progress is saved in FILE.millimetric-load.json: after a crash, run the same command again to resume. Rows without
    an event_id get one that depends only on the file and the line, so a batch that is sent twice counts once (within
    the server's idempotency window, 7 days by default). A load from a pipe can't be resumed.

    Rows that are not valid events are written to FILE.rejected.ndjson with their line and the reason, and the
    exit code is 1.

    \b
    Examples:
      MILLIMETRIC_KEY=sk_live_… millimetric load events.ndjson
      millimetric load orders.csv.gz --key sk_live_… --server 10.0.0.5:50051
    """
    parsed = _check_key(key)
    address = server or grpc_address(read_settings())
    path = None if file == "-" else Path(file)
    read = _READERS[format_name or _guess_format(path)]
    state: LoadState | None = None
    try:
        state = _begin(path, address, parsed.prefix, restart=restart)
        if not state.is_done:
            _run(path, read, state, key or "", address, batch_size, patience)
    except (SendError, StateError, FormatError) as error:
        raise click.ClickException(f"{error}{_tell_resumption(path, state)}") from error
    except KeyboardInterrupt:
        raise click.ClickException(f"Interrupted.{_tell_resumption(path, state)}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise click.ClickException(f"{file}: {getattr(error, 'strerror', None) or error}") from error
    _finish(path, state)


def _check_key(key: str | None) -> ParsedKey:
    if not key:
        raise click.UsageError("Give a secret key with --key or in MILLIMETRIC_KEY.")
    parsed = parse_key(key)
    if parsed is None:
        raise click.ClickException("That is not a key: keys look like sk_live_0123abcd_…; copy the whole key.")
    if parsed.kind is not KeyKind.SECRET:
        raise click.ClickException(f"Loading needs a secret key (sk_…); this is a {parsed.kind.value} key.")
    return parsed


def _guess_format(path: Path | None) -> str:
    if path is None:
        return "ndjson"
    name = path.name.lower().removesuffix(".gz")
    found = _FORMATS.get(Path(name).suffix)
    if found is None:
        raise click.ClickException(f"The format of {path.name} is unknown: pass --format ndjson or --format csv.")
    return found


def _begin(path: Path | None, server: str, key_prefix: str, *, restart: bool) -> LoadState:
    if path is None:
        return LoadState(server=server, key_prefix=key_prefix, size=0, mtime_ns=0, digest=secrets.token_hex(16))
    state = None if restart else resume_state(path, server, key_prefix)
    if state is None:
        state = start_state(path, server, key_prefix)
        save_state(path, state)
    elif state.is_done:
        click.echo(f"{path.name} was loaded already; --restart sends it again.", err=True)
    elif state.rows:
        click.echo(f"Resuming after row {state.rows:,}.", err=True)
    return state


def _run(
    path: Path | None, read: Any, state: LoadState, key: str, server: str, batch_size: int, patience_s: float
) -> None:
    raw: BinaryIO = sys.stdin.buffer if path is None else path.open("rb")
    rejected = RejectedFile(rejected_path_of(path or _STDIN), state.rejected_bytes)
    progress = LoadProgress(path.name if path else "stdin", state.size if path else None)
    sender = BatchSender(server, key, progress.tell_wait, patience_s)
    try:
        sender.connect()
        file = gzip.GzipFile(fileobj=raw) if path and path.suffix.lower() == ".gz" else raw
        rows: Iterator[Row] = itertools.islice(read(file, state.digest), state.rows, None)
        with progress:
            loading = Loading(sender, state, rejected, batch_size)
            for _ in loading.run(rows):
                progress.advance(state.rows, raw.tell() if path else None)
                if path is not None:
                    save_state(path, state)
        state.is_done = True
        if path is not None:
            save_state(path, state)
    finally:
        sender.close()
        rejected.close()
        if path is not None:
            raw.close()


def _finish(path: Path | None, state: LoadState) -> None:
    dropped = sum(state.dropped.values())
    figures = {"read": state.rows, "stored": state.stored, "duplicate": state.duplicate, "rejected": state.rejected}
    if dropped:
        figures["dropped"] = dropped
    print_table(path.name if path else "stdin", tuple(figures), [tuple(figures.values())])
    if old := state.dropped.get(DropReason.OLDER_THAN_RETENTION.value):
        click.echo(
            f"{old:,} rows are older than the project's retention and were not stored: "
            "raise it with `millimetric project update --retention-days`, then load with --restart."
        )
    if state.rejected:
        where = rejected_path_of(path or _STDIN)
        raise click.ClickException(f"{state.rejected:,} rows were rejected; they and the reasons are in {where}")


def _tell_resumption(path: Path | None, state: LoadState | None) -> str:
    if path is None or state is None or state.rows == 0:
        return ""
    return f"\n{state.rows:,} rows are done: run the same command to resume from there."
