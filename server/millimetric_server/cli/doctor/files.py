"""Checks of files: data folder, secrets, control database, journal, country database. Read-only."""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import inspect, make_url

from millimetric_server.cli.doctor.findings import Finding, fail, ok, warn
from millimetric_server.config import SECRET_NAMES, Settings
from millimetric_server.control.database import Database, open_engine
from millimetric_server.control.errors import ControlError, ControlUnavailableError
from millimetric_server.control.store import ControlStore
from millimetric_server.enrich.geo import CountryReader
from millimetric_server.journal.errors import JournalFileError, JournalVersionError
from millimetric_server.journal.ledger import Balance
from millimetric_server.journal.sqlite.operator_journal import measure_backlog, open_operator_journal
from millimetric_server.process.folder_lock import find_holder

_PYTHON_MIN = (3, 11)
_GIB = 1024**3
_FREE_BYTES_WARN = 2 * _GIB
_FREE_BYTES_FAIL = _GIB // 4
_BACKLOG_SHARE_WARN = 0.1
_BACKLOG_SHARE_FAIL = 0.95
_JOURNAL_ADVICE = "Restore it from a backup, or move it away: the server creates a new one."
_GEOIP_DAYS_MAX = 180
_GEOIP_ADVICE = "Run `make geoip`, or set MILLIMETRIC_GEOIP_DB to a country database in .mmdb format."


def check_python(_settings: Settings) -> Finding:
    """Is this Python new enough."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _PYTHON_MIN:
        return fail("python", version, "Use Python 3.11 or newer: make PYTHON=/path/to/python3 setup.")
    return ok("python", version)


def check_data_dir(settings: Settings) -> Finding:
    """Can the server write its data folder, and is there room on its disk."""
    name, folder = "data folder", settings.data_path
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        advice = "Give this user write permission there, or choose another --data-dir (MILLIMETRIC_DATA_DIR)."
        return fail(name, f"{existing} is not a folder that can be written", advice)
    free = shutil.disk_usage(existing).free
    told = f"{folder}, {free / _GIB:.1f} GiB free" + ("" if existing == folder else "; created at the first start")
    if (holder := find_holder(folder)) is not None:
        told += f", in use by {holder.describe()}"
    advice = "Free some space: without it, writes are refused as `overloaded`."
    if free < _FREE_BYTES_FAIL:
        return fail(name, told, advice)
    return warn(name, told, advice) if free < _FREE_BYTES_WARN else ok(name, told)


def check_secrets(settings: Settings) -> Finding:
    """Do the server's secrets exist, complete and readable only by its user."""
    name, path = "secrets", settings.data_path / "secrets.json"
    if all(getattr(settings, one) for one in SECRET_NAMES):
        return ok(name, "all three come from settings")
    if not path.exists():
        if (settings.data_path / "journal.db").exists():
            advice = "Restore it from a backup: new secrets would invalidate every key and split each visitor in two."
            return fail(name, f"{path} is missing, although this server has run before", advice)
        return ok(name, "created at the first start")
    try:
        mode = path.stat().st_mode & 0o777
        kept = json.loads(path.read_text())
        is_whole = all(kept[one] for one in SECRET_NAMES)
    except (OSError, ValueError, KeyError, TypeError):
        is_whole, mode = False, 0
    if not is_whole:
        return fail(name, f"{path} can't be read as the server's secrets", "Restore it from a backup.")
    if mode & 0o077:
        return fail(name, f"{path} has mode {mode:04o}: others can read it", f"Run chmod 600 {path}")
    return ok(name, f"{path}, mode {mode:04o}")


def check_control_database(settings: Settings) -> Finding:
    """Does the control database answer, and how many projects does it hold."""
    name, url = "control database", settings.resolved_database_url
    try:
        engine = open_engine(url) if not _is_missing_sqlite(url) else None
        if engine is None:
            return ok(name, "created at the first start")
        database = Database(engine)
        with contextlib.closing(database):
            with database.read() as connection:
                kind = connection.dialect.name
                is_empty = not inspect(connection).has_table("projects")
            if is_empty:
                return ok(name, f"{kind} answers; its tables are created at the first start")
            count = len(ControlStore(engine).list_projects())
    except (ControlError, ControlUnavailableError) as error:
        advice = "Start the database, or correct --database-url (MILLIMETRIC_DATABASE_URL)."
        return fail(name, str(error), advice)
    if count == 0:
        return warn(name, f"{kind}, no project yet", "Create one: millimetric project create NAME")
    return ok(name, f"{kind}, {count} project{'s' if count > 1 else ''}")


def check_journal(settings: Settings) -> Finding:
    """Can the journal be read, and how much of it waits for ClickHouse."""
    name, path = "journal", settings.data_path / "journal.db"
    if not path.exists():
        return ok(name, "created at the first start")
    try:
        waiting = measure_backlog(path)
    except JournalFileError as error:
        return fail(name, f"{path} can't be read: {error}", _JOURNAL_ADVICE)
    share = waiting.bytes / settings.journal_max_bytes
    told = f"{waiting.rows:,} events ({waiting.bytes / 1024**2:.1f} MiB) wait for ClickHouse, {share:.0%} of the limit"
    advice = "Check that ClickHouse answers: events wait here until it takes them; at the limit, writes are refused."
    if share >= _BACKLOG_SHARE_FAIL:
        return fail(name, told, advice)
    return warn(name, told, advice) if share >= _BACKLOG_SHARE_WARN else ok(name, told)


def check_ledger(settings: Settings) -> Finding:
    """Is every received event accounted for, and did ClickHouse refuse none."""
    name, path = "ledger", settings.data_path / "journal.db"
    if not path.exists():
        return ok(name, "begins with the first event")
    try:
        with open_operator_journal(path) as journal:
            return _judge_balances(name, journal.load_status().balances)
    except JournalVersionError as error:
        if error.found < error.known:
            return ok(name, f"begins at the next start, which upgrades the journal from version {error.found}")
        told = f"the journal has version {error.found}, known is {error.known}"
        return fail(name, told, "Run a newer millimetric.")
    except JournalFileError as error:
        return fail(name, f"{path} can't be read: {error}", _JOURNAL_ADVICE)


def _judge_balances(name: str, balances: Sequence[Balance]) -> Finding:
    if wrong := [one for one in balances if one.missing]:
        advice = (
            "Compare with `millimetric journal status`, keep a copy of the data folder, and report it with the log: "
            "events were lost, or counted twice."
        )
        return fail(name, "; ".join(map(_describe_balance, wrong)), advice)
    received, stored, waiting, refused = (
        sum(getattr(one, part) for one in balances) for part in ("received", "stored", "journaled", "dead_letter")
    )
    told = f"all {received:,} received events are accounted for: {stored:,} stored, {waiting:,} waiting"
    if refused:
        advice = "See which and why: run `millimetric journal dead-letters`."
        return warn(name, f"{told}, {refused:,} refused by ClickHouse and set aside as dead letters", advice)
    return ok(name, told)


def _describe_balance(one: Balance) -> str:
    parts = {
        "stored": one.stored,
        "duplicate": one.duplicate,
        "rejected": sum(one.rejected.values()),
        "dropped": sum(one.dropped.values()),
        "waiting": one.journaled,
        "dead letters": one.dead_letter,
    }
    known = ", ".join(f"{count:,} {part}" for part, count in parts.items())
    return f"project {one.project_id}: {one.received:,} received, but {known}: {one.missing:,} missing"


def check_geoip(settings: Settings) -> Finding:
    """Is there a country database, and is it recent."""
    from millimetric_server.app import find_geoip_db

    name, path = "country database", find_geoip_db(settings)
    if path is None:
        return warn(name, "none: country stays empty", _GEOIP_ADVICE)
    with contextlib.closing(CountryReader(Path(path))) as reader:
        info = reader.info
    if info is None:
        return fail(name, f"{path} can't be read: country stays empty", _GEOIP_ADVICE)
    age_days = (datetime.now(UTC) - info.built_at).days
    told = f"{info.database_type} of {info.built_at:%Y-%m-%d}"
    if age_days > _GEOIP_DAYS_MAX:
        return warn(name, f"{told}, {age_days} days old", f"{_GEOIP_ADVICE} A running server notices it.")
    return ok(name, told)


def _is_missing_sqlite(url: str) -> bool:
    with contextlib.suppress(Exception):  # open_engine explains better why a URL can't be read
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            return not Path(parsed.database).exists()
    return False
