from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import millimetric_server.enrich.user_agent as module
from millimetric_server.enrich.pattern_table import compile_patterns
from millimetric_server.enrich.rust_user_agent import RustUserAgent
from millimetric_server.enrich.user_agent import NO_HINTS, ClientHints, Device, describe_user_agent

_DATA = Path(module.__file__).parent / "data" / "user_agents.toml"
_DEVICE_TYPES = {"desktop", "mobile", "tablet", "tv", "console", ""}
_BROWSERS = {
    "chrome", "safari", "firefox", "edge", "opera", "samsung", "brave", "vivaldi", "duckduckgo", "yandex",
    "uc", "ie", "",
}  # fmt: skip
_SYSTEMS = {"windows", "macos", "ios", "ipados", "android", "linux", "chromeos", ""}
_WINDOWS_CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Safari/537.36"
)

_any_text = st.text(st.characters(), max_size=600)
_PIECES = [
    "Mozilla/5.0", "(", ")", ";", " ", "Android 15", "iPhone", "iPad", "Windows NT 10.0", "Mobile", "Tablet",
    "K)", "Chrome/146.0", "Safari/537.36", "TV", "Xbox", "FBAN/", "bot", "?1", '"', "\0", "é", "\ud800",
]  # fmt: skip
_pieces = st.lists(st.sampled_from(_PIECES), max_size=30).map("".join)


@given(_any_text | _pieces, st.builds(ClientHints, *[_any_text | _pieces] * 5))
def test_any_text_is_described_in_the_contracts_names(user_agent: str, hints: ClientHints) -> None:
    in_app = set(tomllib.loads(_DATA.read_text("utf-8"))["in_app"])
    device = describe_user_agent(user_agent, hints)
    assert device.device_type in _DEVICE_TYPES
    assert device.browser in _BROWSERS | in_app
    assert device.os in _SYSTEMS


def test_data_names_are_the_contracts() -> None:
    tables = tomllib.loads(_DATA.read_text("utf-8"))
    assert set(tables["browsers"]) | {""} == _BROWSERS
    assert set(tables["brands"]) <= _BROWSERS
    assert set(tables["operating_systems"]) | {"ipados", ""} == _SYSTEMS
    assert set(tables["platforms"]) <= _SYSTEMS
    assert set(tables["device_types"]) <= _DEVICE_TYPES
    assert set(tables["systems"]) <= _SYSTEMS
    assert set(tables["named"]) <= _BROWSERS | {"unnamed"}
    assert not set(tables["in_app"]) & _BROWSERS


@pytest.mark.parametrize("table", ["browsers", "brands", "operating_systems", "platforms", "in_app"])
def test_no_alias_has_two_names(table: str) -> None:
    aliases = [alias for names in tomllib.loads(_DATA.read_text("utf-8"))[table].values() for alias in names]
    assert len(aliases) == len(set(aliases))


def test_only_the_first_512_characters_count() -> None:
    assert describe_user_agent(_WINDOWS_CHROME + " " * 400 + "Googlebot/2.1").is_bot is False
    assert describe_user_agent(_WINDOWS_CHROME + " " * 300 + "Googlebot/2.1").is_bot is True


@pytest.mark.parametrize(
    ("model", "device_type"),
    [
        ("SM-X710", "tablet"),
        ("SM-T540", "tablet"),
        ("Lenovo TB-J606F", "tablet"),
        ("AGS3-L09", "tablet"),
        ("KFTRWI", "tablet"),
        ("moto tab g70", "tablet"),
        ("SM-S921B", "mobile"),
        ("CPH2643", "mobile"),
        ("VCA-AN00", "mobile"),
        ("M2101K6G", ""),
        ("24018RPACC", "tablet"),
        ("AFTDEC012E", "tv"),
        ("Chromecast", ""),  # its text says so
        ("43LF8120T", "tv"),
        ("X96Max_Plus", "tv"),
        ("SM-LED43M01SU", "tv"),
        ("MyGica ATV1900", "tv"),
        ("Smart Box F2", "tv"),
        ("HTC_Butterfly_2", ""),
        ("K", ""),
    ],
)
def test_a_model_tells_its_kind(model: str, device_type: str) -> None:
    assert module._compile_models()(model) == device_type


def test_a_lower_cased_agent_reads_the_same() -> None:
    assert describe_user_agent(_WINDOWS_CHROME.lower()) == describe_user_agent(_WINDOWS_CHROME)
    bot = f"{_WINDOWS_CHROME} (compatible; Google-AMPHTML)"
    assert describe_user_agent(bot.lower()) == describe_user_agent(bot)


def test_empty_hints_are_no_hints() -> None:
    assert describe_user_agent(_WINDOWS_CHROME, ClientHints()) == describe_user_agent(_WINDOWS_CHROME, NO_HINTS)


def test_platform_version_does_not_split_the_cache() -> None:
    module._describe.cache_clear()
    for version in range(10):
        describe_user_agent(_WINDOWS_CHROME, ClientHints(platform_version=f'"{version}"'))
    assert module._describe.cache_info().misses == 1


def test_nothing_is_known_of_nothing() -> None:
    assert describe_user_agent("") == Device("", "", "", is_bot=False)


def test_a_long_agent_is_described_in_time() -> None:
    hostile = "Mozilla/5.0 (compatible; Linux Android bot- spider Tablet " * 1100
    describe_user_agent("warm")
    best = min(_time_ms(hostile + str(turn)) for turn in range(5))
    assert best < 2


def _time_ms(user_agent: str) -> float:
    module._describe.cache_clear()
    start = time.process_time()
    describe_user_agent(user_agent)
    return (time.process_time() - start) * 1000


def test_library_runs_on_rust() -> None:
    agent = RustUserAgent(_WINDOWS_CHROME)
    assert (agent.browser.family, agent.browser.version_string) == ("Chrome", "146.0.0")
    assert (agent.os.family, agent.os.version_string) == ("Windows", "10")
    assert (str(agent), agent.is_pc) == ("PC / Windows 10 / Chrome 146.0.0", True)


def test_library_knows_nothing_of_nothing() -> None:
    agent = RustUserAgent("")
    assert (agent.browser.family, agent.os.family, agent.device.family) == ("Other", "Other", "Other")


def test_legacy_regexes_are_not_compiled_and_still_there() -> None:
    code = (
        "import sys, millimetric_server.enrich.user_agent, user_agents\n"
        "assert 'ua_parser_builtins.regexes' not in sys.modules, 'the legacy scan was loaded'\n"
        f"assert user_agents.parse({_WINDOWS_CHROME!r}).browser.family == 'Chrome'\n"
    )
    path = str(Path(module.__file__).parents[2])
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": path}, check=True)


def test_pattern_tables_give_the_first_name_that_matches() -> None:
    find = compile_patterns({"first": ["ab", r"\bx\d"], "second": ["a", "x"]})
    assert [find(text) for text in ("xab", "a", "x1", "xy", "", "q")] == [
        "first",
        "second",
        "first",
        "second",
        "",
        "",
    ]
