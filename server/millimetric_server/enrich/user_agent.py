"""Device, browser, operating system and bot from a visitor's user agent and client hints."""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from millimetric_server.enrich.bots import Verdict, judge_bot
from millimetric_server.enrich.pattern_table import compile_patterns, invert_table
from millimetric_server.enrich.rust_user_agent import RustUserAgent

USER_AGENT_CHARS_MAX = 512
_HINT_CHARS_MAX = 256
# Under a thousand distinct agents are alive at a time; an entry takes about 1 KB.
_CACHED_AGENTS = 8192


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / "data" / name).read_text("utf-8"))


_TABLES = _read("user_agents.toml")
_MODELS = _read("models.toml")
_BROWSER_OF_FAMILY = invert_table(_TABLES["browsers"])
_BROWSER_OF_BRAND = invert_table(_TABLES["brands"])
_OS_OF_FAMILY = invert_table(_TABLES["operating_systems"])
_OS_OF_PLATFORM = invert_table(_TABLES["platforms"])
_CASED = {word.lower(): word for word in _TABLES["cased"]}
# A brand list: `"Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"`.
_find_brands = re.compile(r'"([^"]*)"\s*;\s*v=').findall
_find_words = re.compile(r"[a-z]+").sub
# The model, behind `Android 13; ` or `Android 4.3; en-US; `, up to its build.
_find_model = re.compile(
    r"ndroid [\d.]+; (?:[a-z]{2}(?:[-_]\w{2,4})*; )?(?:HarmonyOS; )?([^;)]+?)(?: Build/|[;)])", re.IGNORECASE
).search
# Facebook's apps, which may send nothing else: `[FBAN/FB4A;…;FBDV/SM-S921B;FBSV/16;…]`.
_find_facebook = re.compile(r"\bFBDV/([^;\]]*);.*?\bFBSV/([\d.]*)", re.DOTALL).search


@dataclass(frozen=True, slots=True)
class ClientHints:
    """The raw values of Sec-CH-UA, -Mobile, -Platform, -Platform-Version and -Model; '' if not sent."""

    brands: str = ""
    mobile: str = ""
    platform: str = ""
    platform_version: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """What is stored about a visitor's device; '' is unknown.

    `device_type` is desktop, mobile, tablet, tv or console; `browser` and `os` are names of
    data/user_agents.toml.
    """

    device_type: str
    browser: str
    os: str
    is_bot: bool


NO_HINTS = ClientHints()
UNKNOWN_DEVICE = Device(device_type="", browser="", os="", is_bot=False)
_UNNAMED = "unnamed"
# A program's agent names the machine that it runs on, which is no visitor's device.
_PROGRAM = Device(device_type="", browser="", os="", is_bot=True)


@dataclass(frozen=True, slots=True)
class _Finders:
    """The tables of patterns, compiled: from an agent's text to a name, or ''."""

    browser: Callable[[str], str]
    os: Callable[[str], str]
    device_type: Callable[[str], str]


@cache
def _compile_finders(*, ignore_case: bool) -> _Finders:
    return _Finders(
        browser=compile_patterns(_TABLES["in_app"] | _TABLES["named"], ignore_case=ignore_case),
        os=compile_patterns(_TABLES["systems"], ignore_case=ignore_case),
        device_type=compile_patterns(_TABLES["device_types"], ignore_case=ignore_case),
    )


@cache
def _compile_models() -> Callable[[str], str]:
    kinds = {"tablet": _MODELS["tablets"], "tv": _MODELS["tvs"], "mobile": _MODELS["phones"]}
    return compile_patterns(kinds, ignore_case=True)


def describe_user_agent(user_agent: str, hints: ClientHints = NO_HINTS) -> Device:
    """The device behind a User-Agent header, of which the first 512 characters count; never raises.

    Hints win over the agent's text, which browsers have frozen: the brand for the browser (but not for an
    app's web view, where the app's name counts), the platform for the os, `mobile` for phone or not. TVs and
    consoles are known by the text. `is_bot` says what the text looks like; whose word counts is the caller's
    choice.
    """
    user_agent = user_agent[:USER_AGENT_CHARS_MAX]
    if hints is NO_HINTS:
        return _describe(user_agent, "", "", "", "")
    return _describe(
        user_agent,
        hints.brands[:_HINT_CHARS_MAX],
        hints.mobile[:_HINT_CHARS_MAX],
        hints.platform[:_HINT_CHARS_MAX],
        hints.model[:_HINT_CHARS_MAX],
    )


def is_of_browser(user_agent: str, device: Device) -> bool:
    """Tell whether an agent, described as `device`, is a browser's and not a program's."""
    return not device.is_bot and user_agent.startswith(("Mozilla/", "mozilla/", "Opera/"))


@lru_cache(_CACHED_AGENTS)
def _describe(user_agent: str, brands: str, mobile: str, platform: str, model: str) -> Device:
    if not user_agent.isascii():
        user_agent = user_agent.encode("utf-8", "replace").decode()  # lone surrogates: Rust takes no such text
    verdict = judge_bot(user_agent) if user_agent else Verdict.UNKNOWN
    if verdict is Verdict.PROGRAM:
        return _PROGRAM
    agent = RustUserAgent(_spell_out(user_agent))
    find = _compile_finders(ignore_case=user_agent.startswith("mozilla/"))
    hinted_os = _OS_OF_PLATFORM.get(_unquote(platform), "")
    return Device(
        device_type=_judge_device_type(agent, find, hinted_os, mobile.strip(), _unquote(model)),
        browser=_judge_browser(agent, find, brands),
        os=hinted_os or _judge_os(agent, find),
        is_bot=verdict is Verdict.BOT or (verdict is Verdict.UNKNOWN and agent.is_bot) or "Headless" in brands,
    )


def _spell_out(user_agent: str) -> str:
    """The agent as a browser would have sent it: a proxy's lower case restored, Facebook's device in front."""
    if user_agent.startswith("mozilla/"):
        user_agent = _find_words(lambda word: _CASED.get(word[0], word[0]), user_agent)
    if "FBDV/" in user_agent and "AppleWebKit" not in user_agent and (found := _find_facebook(user_agent)):
        model, version = found.groups()
        if model.startswith(("iPhone", "iPad", "iPod")):
            kind = model.rstrip("0123456789,")
            return f"Mozilla/5.0 ({kind}; CPU OS {version.replace('.', '_')} like Mac OS X) Mobile {user_agent}"
        return f"Mozilla/5.0 (Linux; Android {version}; {model}) {user_agent}"
    return user_agent


def _judge_device_type(agent: RustUserAgent, find: _Finders, hinted_os: str, mobile: str, model: str) -> str:
    text = agent.ua_string
    if model.isascii():
        text = text.replace("; K)", f"; {model})")  # Chrome on Android writes K for every model
    if named := find.device_type(text) or ((found := _find_model(text)) and _compile_models()(found[1])):
        return named
    if mobile == "?1":
        return "mobile"
    if mobile == "?0" and hinted_os:
        return "tablet" if hinted_os == "android" else "desktop"
    if agent.is_tablet:
        return "tablet"
    if agent.is_mobile:
        return "mobile"
    return "desktop" if agent.is_pc else ""


def _judge_browser(agent: RustUserAgent, find: _Finders, brands: str) -> str:
    """The app's name, else the browser's in its text, else its brand; '' for one that the contract does not name."""
    if named := find.browser(agent.ua_string):
        return "" if named == _UNNAMED else named
    return _judge_brands(brands) or _BROWSER_OF_FAMILY.get(agent.browser.family, "")


def _judge_brands(brands: str) -> str:
    """The known brand of a list; a Chromium with a name of its own may also call itself Google Chrome."""
    known = [_BROWSER_OF_BRAND[brand] for brand in _find_brands(brands) if brand in _BROWSER_OF_BRAND]
    return next((browser for browser in known if browser != "chrome"), known[0] if known else "")


def _judge_os(agent: RustUserAgent, find: _Finders) -> str:
    os = find.os(agent.ua_string) or _OS_OF_FAMILY.get(agent.os.family, "")
    return "ipados" if os == "ios" and agent.device.family == "iPad" else os


def _unquote(hint: str) -> str:
    return hint.strip().strip('"')
