"""`millimetric load`: backfill from a file, through Batch."""

import itertools
import secrets
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from millimetric_server.api.limits import BATCH_EVENTS_MAX
from millimetric_server.cli.addresses import grpc_address
from millimetric_server.cli.load.batch_sender import BatchSender, SendError
from millimetric_server.cli.load.dry_run import run_dry
from millimetric_server.cli.load.open_file import ZstdError, strip_packing
from millimetric_server.cli.load.presets import PRESETS
from millimetric_server.cli.load.progress import LoadProgress
from millimetric_server.cli.load.records import DELIMITERS, FormatError
from millimetric_server.cli.load.rows import Row
from millimetric_server.cli.load.run import Loading
from millimetric_server.cli.load.shaping import MappingError, Shaper, parse_map
from millimetric_server.cli.load.source import STDIN, Source
from millimetric_server.cli.load.state import (
    LoadState,
    RejectedFile,
    StateError,
    rejected_path_of,
    resume_state,
    save_state,
    start_state,
)
from millimetric_server.cli.load.summary import print_names, print_summary
from millimetric_server.cli.settings import read_settings
from millimetric_server.control.keys import ParsedKey, parse_key
from millimetric_server.control.records import KeyKind

_FORMATS = {".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson", ".csv": "csv", ".tsv": "csv"}


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
    type=click.Choice(sorted(set(_FORMATS.values()))),
    help="The format of FILE, if its name does not show it; ndjson is also a JSON array. [default for a pipe: ndjson]",
)
@click.option(
    "--from",
    "preset",
    type=click.Choice(sorted(PRESETS)),
    help="FILE was written by this product: read its names as docs/loading.md says.",
)
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="FROM=TO",
    help="A column, or a path such as context.page.url, goes to this field or to properties.NAME; to nothing if TO is "
    "empty. Repeat it for several.",
)
@click.option(
    "--delimiter",
    type=click.Choice(list(DELIMITERS)),
    help="What divides the cells of a CSV file. [default: the sign that divides the header]",
)
@click.option(
    "--dry-run", is_flag=True, help="Show what would be loaded, and send nothing; needs no key and no server."
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
    *,
    file: str,
    key: str | None,
    server: str | None,
    format_name: str | None,
    preset: str | None,
    maps: tuple[str, ...],
    delimiter: str | None,
    dry_run: bool,
    batch_size: int,
    restart: bool,
    patience: float,
) -> None:
    """Load the events in FILE, and count each of them once.

    FILE is NDJSON (one JSON object per line), a JSON array or CSV, also as .gz or .zst, or `-` for a pipe. Field names
    are those of the API: event, event_id, timestamp, anonymous_id, user_id, session_id, url, path, referrer,
    properties. In CSV the first row names the columns; `properties.plan` is a property, `properties` is a JSON object,
    and any other column becomes a property too. Names that a JSON file has beyond these are counted and told, not
    loaded. Exports of a Millimetric server load back as they are; for files of other products see --from and --map, and
    look at the result with --dry-run first.

    A timestamp is RFC 3339, `2026-11-01 10:00:00 UTC`, or seconds, milliseconds or microseconds since 1970. A row
    without one counts as happening now; one that is older than the project's retention (365 days by default) is not
    stored.

    Progress is saved in FILE.millimetric-load.json: after a crash, run the same command again to resume. Rows without
    an event_id get one that depends only on the file and the line, so a batch that is sent twice counts once (within
    the server's idempotency window, 7 days by default). A load from a pipe can't be resumed.

    Rows that are not valid events are written to FILE.rejected.ndjson with their line and the reason, and the
    exit code is 1.

    \b
    Examples:
      MILLIMETRIC_KEY=sk_live_… millimetric load events.ndjson
      millimetric load orders.csv.gz --key sk_live_… --server 10.0.0.5:50051
      millimetric load orders.csv --map "Order Date=timestamp" --map Customer=user_id --dry-run
      millimetric load posthog.json.zst --from posthog
      millimetric load access.log.gz --from accesslog
    """
    path = None if file == "-" else Path(file)
    source = _make_source(path, format_name, preset, maps, delimiter)
    try:
        if dry_run:
            _show(source)
            return
        parsed = _check_key(key)
        _load(source, key or "", parsed.prefix, server or grpc_address(read_settings()), batch_size, patience, restart)
    except (OSError, EOFError, zlib.error, ZstdError) as error:
        raise click.ClickException(f"{file}: {getattr(error, 'strerror', None) or error}") from error


def _make_source(
    path: Path | None, format_name: str | None, preset: str | None, maps: tuple[str, ...], delimiter: str | None
) -> Source:
    if preset and maps:
        raise click.UsageError("--from and --map can't be given together.")
    try:
        shaper = Shaper(parse_map(maps))
    except MappingError as error:
        raise click.UsageError(str(error)) from None
    is_log = preset is not None and PRESETS[preset].is_log
    found = format_name or ("ndjson" if is_log else _guess_format(path))
    return Source(path, found, delimiter or "", preset or "", shaper)


def _show(source: Source) -> None:
    raw = source.open()
    try:
        rejected = run_dry(source.name, source.read(raw, ""), source.list_places())
    except FormatError as error:
        raise click.ClickException(str(error)) from None
    finally:
        if source.path is not None:
            raw.close()
    print_names(source.shaper)
    if rejected:
        raise click.ClickException(f"{rejected:,} rows would be rejected.")


def _load(
    source: Source,
    key: str,
    key_prefix: str,
    address: str,
    batch_size: int,
    patience: float,
    restart: bool,
) -> None:
    state: LoadState | None = None
    path = source.path
    try:
        state = _begin(source, address, key_prefix, restart=restart)
        if not state.is_done:
            _run(source, state, key, address, batch_size, patience)
    except (SendError, StateError, FormatError) as error:
        raise click.ClickException(f"{error}{_tell_resumption(path, state)}") from error
    except KeyboardInterrupt:
        raise click.ClickException(f"Interrupted.{_tell_resumption(path, state)}") from None
    _finish(source, state)


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
    found = _FORMATS.get(Path(strip_packing(path.name)).suffix.lower())
    if found is None:
        raise click.ClickException(f"The format of {path.name} is unknown: pass --format ndjson or --format csv.")
    return found


def _begin(source: Source, server: str, key_prefix: str, *, restart: bool) -> LoadState:
    path = source.path
    if path is None:
        return LoadState(server=server, key_prefix=key_prefix, size=0, mtime_ns=0, digest=secrets.token_hex(16))
    state = None if restart else resume_state(path, server, key_prefix, source.options)
    if state is None:
        state = start_state(path, server, key_prefix, source.options)
        save_state(path, state)
    elif state.is_done:
        click.echo(f"{path.name} was loaded already; --restart sends it again.", err=True)
    elif state.rows:
        click.echo(f"Resuming after row {state.rows:,}.", err=True)
    return state


def _run(source: Source, state: LoadState, key: str, server: str, batch_size: int, patience_s: float) -> None:
    path = source.path
    raw = source.open()
    rejected = RejectedFile(rejected_path_of(path or STDIN), state.rejected_bytes)
    progress = LoadProgress(source.name, state.size if path else None)
    sender = BatchSender(server, key, progress.tell_wait, patience_s)
    save: Callable[[], None] = (lambda: save_state(path, state)) if path is not None else lambda: None
    try:
        sender.connect()
        rows: Iterator[Row] = itertools.islice(source.read(raw, state.digest), state.rows, None)
        with progress:
            loading = Loading(sender, state, rejected, batch_size)
            for _ in loading.run(rows):
                progress.advance(state.rows, raw.tell() if path else None)
                save()
        state.is_done = True
        save()
    finally:
        sender.close()
        rejected.close()
        if path is not None:
            raw.close()


def _finish(source: Source, state: LoadState) -> None:
    print_summary(source.name, state)
    print_names(source.shaper)
    if state.rejected:
        where = rejected_path_of(source.path or STDIN)
        raise click.ClickException(f"{state.rejected:,} rows were rejected; they and the reasons are in {where}")


def _tell_resumption(path: Path | None, state: LoadState | None) -> str:
    if path is None or state is None or state.rows == 0:
        return ""
    return f"\n{state.rows:,} rows are done: run the same command to resume from there."
