"""The visitor's country from a MaxMind DB file that the operator may replace while the server runs."""

import contextlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import geoip2.database
import geoip2.errors
import maxminddb

from millimetric_server.enrich.privacy import normalise_ip

_LOG = logging.getLogger(__name__)
_CACHED_ADDRESSES = 65_536
_ALPHA_2 = re.compile("[A-Z]{2}")
# MaxMind's own kinds of database that know the country: geoip2 has a model for each. It refuses the records of others.
_MAXMIND = re.compile("(?:GeoIP2|GeoLite2)-.*(Country|City|Enterprise)")
_Find = Callable[[str], str | None]  # the country's code as the database has it; raises as its library does
# Codes in country databases that are no countries: regions of old GeoIP files, and "unknown".
_NOT_COUNTRIES = frozenset({"AP", "EU", "XX", "ZZ"})


@dataclass(frozen=True, slots=True)
class DatabaseInfo:
    """What `doctor` reports about the country database; `built_at` is UTC."""

    path: str
    database_type: str
    built_at: datetime
    description: str


class CountryReader:
    """Countries of IP addresses by a .mmdb file; without a readable file every answer is ''.

    MaxMind's databases are read by geoip2, all others by maxminddb, in both shapes that their records have:
    `{'country_code': 'GB'}` and `{'country': {'iso_code': 'GB'}}`.
    Replace the file by renaming a new one over it (the old one stays mapped until it is closed); writing into
    the file that is open can crash the process. Lookups are safe during a reload.
    """

    def __init__(self, path: Path | None, cached_addresses_max: int = _CACHED_ADDRESSES) -> None:
        self._path = path
        self._cached_addresses_max = cached_addresses_max
        self._file_state: tuple[int, int, int] | None = None
        self._metadata: maxminddb.reader.Metadata | None = None
        self._find = _find_nothing
        if path is None:
            _LOG.warning("no country database is configured: country stays empty")
            return
        self._file_state = _read_file_state(path)
        self._open(path)

    def country(self, ip: str) -> str:
        """ISO 3166-1 alpha-2 code of any spelling of an IP address, '' if unknown; never raises."""
        return self._find(ip)

    def reload_if_replaced(self) -> bool:
        """Open the file again if it was replaced; True if a new one is in use now.

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
        metadata = self._metadata
        if metadata is None:
            return None
        return DatabaseInfo(
            path=str(self._path),
            database_type=metadata.database_type,
            built_at=datetime.fromtimestamp(metadata.build_epoch, UTC),
            description=metadata.description.get("en", ""),
        )

    def close(self) -> None:
        """Close the database; every answer is '' from now on."""
        self._path = self._metadata = None
        self._find = _find_nothing

    def _open(self, path: Path) -> bool:
        try:
            metadata, find = _open_database(path)
        except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
            kept = "the previous data stays in use" if self._metadata else "country stays empty"
            _LOG.warning("country database %s cannot be read (%s): %s", path, error, kept)
            return False
        # The old database is not closed but dropped: its file is unmapped when the last lookup has returned. Its cache
        # goes with it, so that a new database never answers with old countries.
        self._metadata = metadata
        self._find = lru_cache(self._cached_addresses_max)(lambda ip: _find_country(find, ip))
        _LOG.info("country database %s: %s", path, metadata.database_type)
        return True


def _open_database(path: Path) -> tuple[maxminddb.reader.Metadata, _Find]:
    """Open the file with the library for its type, and look one address up: damage shows here."""
    reader = maxminddb.open_database(path)
    metadata = reader.metadata()
    match = _MAXMIND.match(metadata.database_type)
    find = _find_by_maxmind(geoip2.database.Reader(path), match[1]) if match else _find_by_shape(reader)
    with contextlib.suppress(geoip2.errors.AddressNotFoundError):
        find("2001:db8::" if metadata.ip_version == 6 else "192.0.2.0")  # noqa: PLR2004
    return metadata, find


def _find_by_maxmind(reader: geoip2.database.Reader, kind: str) -> _Find:
    look_up = {"Country": reader.country, "City": reader.city, "Enterprise": reader.enterprise}[kind]
    return lambda ip: look_up(ip).country.iso_code


def _find_by_shape(reader: maxminddb.Reader) -> _Find:
    return lambda ip: _read_code(reader.get(ip))


def _read_code(record: object) -> str | None:
    """The country's code in a record of a database that is not MaxMind's."""
    if not isinstance(record, dict):
        return None
    code = record.get("country_code")
    if code is None and isinstance(country := record.get("country"), dict):
        code = country.get("iso_code")
    return code if isinstance(code, str) else None


def _find_nothing(_ip: str) -> str:
    return ""


def _find_country(find: _Find, ip: str) -> str:
    try:
        code = find(normalise_ip(ip))
    # No address, one of IPv6 in an IPv4 file, damaged data; and geoip2 raises for an address that it does not know.
    except (ValueError, TypeError, maxminddb.InvalidDatabaseError, geoip2.errors.GeoIP2Error):
        return ""
    return code if isinstance(code, str) and _is_country(code) else ""


def _is_country(code: str) -> bool:
    return _ALPHA_2.fullmatch(code) is not None and code not in _NOT_COUNTRIES


def _read_file_state(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
