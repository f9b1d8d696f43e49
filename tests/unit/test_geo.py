from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from pathlib import Path

import geoip2.database
import maxminddb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millimetric_server.enrich.geo import CountryReader
from unit.mmdb_writer import Uint, write_mmdb

_RECORDS: dict[str, object] = {
    "192.0.2.0/25": {"country_code": "GB"},
    "192.0.2.128/25": {"country": {"iso_code": "DE", "geoname_id": Uint("uint32", 2921044)}},
    "198.51.100.0/26": {"country_code": "EU"},
    "198.51.100.64/26": {"country_code": "gb"},
    "198.51.100.128/26": {"continent": {"code": "EU"}},
    "198.51.100.192/27": {"country_code": Uint("uint32", 7)},
    "198.51.100.224/28": "GB",
    "198.51.100.240/28": {"country": "GB"},
    "2001:db8::/48": {"country_code": "FR"},
}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "country.mmdb"
    write_mmdb(path, _RECORDS, database_type="Test-Country", build_epoch=1_780_000_000)
    return path


def _replace(path: Path, records: dict[str, object]) -> None:
    fresh = path.with_suffix(".new")
    write_mmdb(fresh, records)
    fresh.rename(path)


@pytest.mark.parametrize(
    ("ip", "country"),
    [
        ("192.0.2.1", "GB"),
        ("192.0.2.200", "DE"),
        ("2001:db8::1", "FR"),
        ("2001:0DB8:0:0::0001", "FR"),
        ("::ffff:192.0.2.1", "GB"),
        ("::ffff:c000:201", "GB"),
        ("203.0.113.1", ""),
        ("2001:db8:ffff::1", ""),
        ("198.51.100.1", ""),  # a region, no country
        ("198.51.100.65", ""),
        ("198.51.100.129", ""),
        ("198.51.100.193", ""),
        ("198.51.100.225", ""),
        ("198.51.100.241", ""),
        ("", ""),
        ("localhost", ""),
        ("192.0.2.1:80", ""),
    ],
)
def test_country_of_both_record_shapes(database: Path, ip: str, country: str) -> None:
    assert CountryReader(database).country(ip) == country


def test_the_library_reads_by_its_c_extension(database: Path) -> None:
    assert type(maxminddb.open_database(database)).__module__ == "maxminddb.extension"


_MAXMIND_RECORDS: dict[str, object] = {
    "192.0.2.0/25": {
        "country": {"iso_code": "GB", "geoname_id": Uint("uint32", 2635167), "names": {"en": "United Kingdom"}},
        "registered_country": {"iso_code": "US"},
    },
    "192.0.2.128/25": {"registered_country": {"iso_code": "US"}},
    "198.51.100.0/25": {"country": {"iso_code": "EU"}},
    "198.51.100.128/25": {"country": "GB"},  # damaged: no shape of MaxMind's
}


@pytest.mark.parametrize("kind", ["GeoLite2-Country", "GeoIP2-Country", "GeoLite2-City", "GeoIP2-Enterprise"])
def test_a_database_of_maxmind_is_read_by_its_own_library(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    class Watched(geoip2.database.Reader):
        def __init__(self, path: Path) -> None:
            opened.append(path)
            super().__init__(path)

    monkeypatch.setattr(geoip2.database, "Reader", Watched)
    path = tmp_path / "country.mmdb"
    write_mmdb(path, _MAXMIND_RECORDS, database_type=kind)
    reader = CountryReader(path)
    assert opened == [path]
    ips = (
        "192.0.2.1",
        "::ffff:192.0.2.1",
        "192.0.2.200",
        "198.51.100.1",
        "198.51.100.200",
        "203.0.113.1",
        "no address",
    )
    assert [reader.country(ip) for ip in ips] == ["GB", "GB", "", "", "", "", ""]


@pytest.mark.parametrize("kind", ["GeoLite2-ASN", "DBIP-Country-Lite", "ipinfo generic_country.mmdb"])
def test_any_other_database_is_read_by_the_shape_of_its_records(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "country.mmdb"
    write_mmdb(path, _RECORDS, database_type=kind)
    assert [CountryReader(path).country(ip) for ip in ("192.0.2.1", "192.0.2.200")] == ["GB", "DE"]


def test_ipv6_in_an_ipv4_database_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "ipv4.mmdb"
    write_mmdb(path, {"192.0.2.0/24": {"country_code": "GB"}}, ip_version=4)
    reader = CountryReader(path)
    assert (reader.country("192.0.2.1"), reader.country("2001:db8::1")) == ("GB", "")


def test_info_for_doctor(database: Path) -> None:
    info = CountryReader(database).info
    assert info is not None
    assert (info.path, info.database_type, info.description) == (
        str(database),
        "Test-Country",
        "made by a test",
    )
    assert info.built_at == datetime.fromtimestamp(1_780_000_000, UTC)


@pytest.mark.parametrize("content", [None, b"", b"no database", bytes(4096)])
def test_unreadable_file_is_one_warning_and_empty_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    path = tmp_path / "country.mmdb"
    if content is not None:
        path.write_bytes(content)
    reader = CountryReader(path)
    assert (reader.country("192.0.2.1"), reader.info, reader.reload_if_replaced()) == ("", None, False)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(path) in record.getMessage()


def test_truncated_file_never_raises(database: Path, tmp_path: Path) -> None:
    whole = database.read_bytes()
    for size in range(0, len(whole), 97):
        path = tmp_path / f"{size}.mmdb"
        path.write_bytes(whole[:size])
        assert CountryReader(path).country("192.0.2.1") == ""


def test_damaged_data_never_raises(database: Path, tmp_path: Path) -> None:
    whole = bytearray(database.read_bytes())
    start = whole.index(b"country_code") - 2
    whole[start : start + 40] = b"\xff" * 40
    path = tmp_path / "damaged.mmdb"
    path.write_bytes(whole)
    assert CountryReader(path).country("192.0.2.1") == ""


def test_no_path_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    reader = CountryReader(None)
    assert (reader.country("192.0.2.1"), reader.info, reader.reload_if_replaced()) == ("", None, False)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_reload_answers_from_the_new_file(database: Path) -> None:
    reader = CountryReader(database)
    assert (reader.country("192.0.2.1"), reader.reload_if_replaced()) == ("GB", False)
    _replace(database, {"192.0.2.0/24": {"country_code": "IE"}})
    assert reader.country("192.0.2.1") == "GB"
    assert (reader.reload_if_replaced(), reader.reload_if_replaced()) == (True, False)
    assert reader.country("192.0.2.1") == "IE"


def test_reload_keeps_the_old_data_if_the_new_file_is_bad(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    reader = CountryReader(database)
    bad = database.with_suffix(".new")
    bad.write_bytes(b"no database")
    bad.rename(database)
    assert [reader.reload_if_replaced() for _ in range(3)] == [False] * 3
    database.unlink()
    assert [reader.reload_if_replaced() for _ in range(3)] == [False] * 3
    assert reader.country("192.0.2.1") == "GB"
    assert len([one for one in caplog.records if one.levelno == logging.WARNING]) == 2
    _replace(database, {"192.0.2.0/24": {"country_code": "IE"}})
    assert reader.reload_if_replaced()
    assert reader.country("192.0.2.1") == "IE"


def test_file_that_appears_later_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "country.mmdb"
    reader = CountryReader(path)
    _replace(path, _RECORDS)
    assert reader.reload_if_replaced()
    assert reader.country("192.0.2.1") == "GB"


def test_lookups_during_reloads_see_one_database_or_the_other(database: Path) -> None:
    reader = CountryReader(database, cached_addresses_max=1)
    seen: set[str] = set()
    is_over = threading.Event()

    def look_up() -> None:
        while not is_over.is_set():
            seen.update((reader.country("192.0.2.1"), reader.country("192.0.2.2")))

    threads = [threading.Thread(target=look_up) for _ in range(2)]
    for thread in threads:
        thread.start()
    for code in ("IE", "GB") * 3:
        _replace(database, {"192.0.2.0/24": {"country_code": code}})
        assert reader.reload_if_replaced()
    is_over.set()
    for thread in threads:
        thread.join()
    assert seen <= {"GB", "IE"}


def test_close_lets_the_database_go(database: Path) -> None:
    reader = CountryReader(database)
    reader.close()
    assert (reader.country("192.0.2.1"), reader.info, reader.reload_if_replaced()) == ("", None, False)


def test_no_address_is_logged(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    CountryReader(database).country("192.0.2.1")
    assert "192.0.2.1" not in caplog.text


def test_any_text_has_a_country_or_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("geo") / "country.mmdb"
    write_mmdb(path, _RECORDS)
    reader = CountryReader(path)

    @given(st.text(st.characters()) | st.ip_addresses().map(str))
    def check(ip: str) -> None:
        assert reader.country(ip) in {"", "GB", "DE", "FR"}

    check()
