"""The visitor's country from a MaxMind DB file that the operator may replace while the server runs."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import maxminddb

from millimetric_server.enrich.privacy import normalise_ip

_LOG = logging.getLogger(__name__)
_CACHED_ADDRESSES = 65_536
_ALPHA_2 = re.compile("[A-Z]{2}")
# Codes in country databases that are no countries: regions of old GeoIP files, and "unknown".
_NOT_COUNTRIES = frozenset({"AP", "EU", "XX", "ZZ"})


@dataclass(frozen=True, slots=True)
class DatabaseInfo:
    """What `doctor` tells about the country database; `built_at` is UTC."""

    path: str
    database_type: str
    built_at: datetime
    description: str


class CountryReader:
    """Countries of IP addresses by a .mmdb file; without a readable file every answer is ''.

    Both record shapes are read: `{'country_code': 'GB'}` and GeoLite2's `{'country': {'iso_code': 'GB'}}`.
    Replace the file by renaming a new one over it (the old one stays mapped until it is let go); writing into
    the file that is open can crash the process. Lookups are safe during a reload.
    """

    def __init__(self, path: Path | None, cached_addresses_max: int = _CACHED_ADDRESSES) -> None:
        self._path = path
        self._cached_addresses_max = cached_addresses_max
        self._file_state: tuple[int, int, int] | None = None
        self._reader: maxminddb.Reader | None = None
        self._find = self._make_find(None)
        if path is None:
            _LOG.warning("no country database is configured: country stays empty")
            return
        self._file_state = _read_file_state(path)
        self._open(path)

    def country(self, ip: str) -> str:
        """ISO 3166-1 alpha-2 code of any spelling of an IP address, '' if unknown; never raises."""
        return self._find(ip)

    def reload_if_replaced(self) -> bool:
        """Open the file anew if it is another than last time; True if a new one is in use now.

        Call it from a timer. A file that is gone or cannot be read is warned of once; the old data stays.
        """
        if self._path is None:
            return False
        state = _read_file_state(self._path)
        if state == self._file_state:
            return False
        self._file_state = state
        return self._open(self._path)

    @property
    def info(self) -> DatabaseInfo | None:
        """The open database's own description, None if there is none."""
        reader = self._reader
        if reader is None:
            return None
        metadata = reader.metadata()
        return DatabaseInfo(
            path=str(self._path),
            database_type=metadata.database_type,
            built_at=datetime.fromtimestamp(metadata.build_epoch, UTC),
            description=metadata.description.get("en", ""),
        )

    def close(self) -> None:
        """Let the database go; every answer is '' from now on."""
        self._path = None
        self._use(None)

    def _open(self, path: Path) -> bool:
        try:
            reader = maxminddb.open_database(path)
            reader.get("2001:db8::" if reader.metadata().ip_version == 6 else "192.0.2.0")  # noqa: PLR2004
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            kept = "the former data stays in use" if self._reader else "country stays empty"
            _LOG.warning("country database %s cannot be read (%s): %s", path, error, kept)
            return False
        self._use(reader)
        _LOG.info("country database %s: %s", path, reader.metadata().database_type)
        return True

    def _use(self, reader: maxminddb.Reader | None) -> None:
        # The old reader is not closed but dropped: its file is unmapped when the last lookup has returned.
        self._reader = reader
        self._find = self._make_find(reader)

    def _make_find(self, reader: maxminddb.Reader | None) -> Callable[[str], str]:
        """A lookup with a cache of its own, so that a new database never answers with old countries."""
        if reader is None:
            return _find_nothing
        get = reader.get
        return lru_cache(self._cached_addresses_max)(lambda ip: _find_country(get, ip))


def _find_nothing(_ip: str) -> str:
    return ""


def _find_country(get: Callable[[str], Any], ip: str) -> str:
    try:
        record = get(normalise_ip(ip))
    except (ValueError, maxminddb.InvalidDatabaseError):  # no address, IPv6 in an IPv4 file, damaged data
        return ""
    if not isinstance(record, dict):
        return ""
    code = record.get("country_code")
    if code is None and isinstance(country := record.get("country"), dict):
        code = country.get("iso_code")
    return code if isinstance(code, str) and _is_country(code) else ""


def _is_country(code: str) -> bool:
    return _ALPHA_2.fullmatch(code) is not None and code not in _NOT_COUNTRIES


def _read_file_state(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
