"""Device, browser, operating system and bot from a visitor's user agent and client hints."""

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from millimetric_server.enrich.pattern_table import compile_patterns, invert_table
from millimetric_server.enrich.rust_user_agent import RustUserAgent

USER_AGENT_CHARS_MAX = 512
_HINT_CHARS_MAX = 256
# Under a thousand distinct agents are alive at a time; an entry takes about 1 KB.
_CACHED_AGENTS = 8192

_TABLES = tomllib.loads((Path(__file__).parent / "data" / "user_agents.toml").read_text("utf-8"))
_BROWSER_OF_FAMILY = invert_table(_TABLES["browsers"])
_BROWSER_OF_BRAND = invert_table(_TABLES["brands"])
_OS_OF_FAMILY = invert_table(_TABLES["operating_systems"])
_OS_OF_PLATFORM = invert_table(_TABLES["platforms"])
_find_in_app = compile_patterns(_TABLES["in_app"])
_find_device_type = compile_patterns(_TABLES["device_types"])
_find_bot = compile_patterns(
    _TABLES["bots"] | {"crawler": [crawler["pattern"] for crawler in CRAWLER_USER_AGENTS_DATA]}
)
# A brand list: `"Chromium";v="130", "Google Chrome";v="130", "Not?A_Brand";v="99"`.
_find_brands = re.compile(r'"([^"]*)"\s*;\s*v=').findall


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
# A library's agent names the machine that a program runs on, which is no visitor's device.
_LIBRARY = "http_libraries"
_PROGRAM = Device(device_type="", browser="", os="", is_bot=True)


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


@lru_cache(_CACHED_AGENTS)
def _describe(user_agent: str, brands: str, mobile: str, platform: str, model: str) -> Device:
    if not user_agent.isascii():
        user_agent = user_agent.encode("utf-8", "replace").decode()  # lone surrogates: Rust takes no such text
    bot = _find_bot(user_agent)
    if bot == _LIBRARY:
        return _PROGRAM
    agent = RustUserAgent(user_agent)
    hinted_os = _OS_OF_PLATFORM.get(_unquote(platform), "")
    return Device(
        device_type=_judge_device_type(agent, hinted_os, mobile.strip(), _unquote(model)),
        browser=_find_in_app(user_agent) or _judge_brands(brands) or _BROWSER_OF_FAMILY.get(agent.browser.family, ""),
        os=hinted_os or _judge_os(agent),
        is_bot=agent.is_bot or bool(bot) or "Headless" in brands,
    )


def _judge_device_type(agent: RustUserAgent, hinted_os: str, mobile: str, model: str) -> str:
    text = agent.ua_string
    if model.isascii():
        text = text.replace("; K)", f"; {model})")  # Chrome on Android writes K for every model
    if named := _find_device_type(text):
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


def _judge_brands(brands: str) -> str:
    """The known brand of a list; a Chromium with a name of its own may also call itself Google Chrome."""
    known = [_BROWSER_OF_BRAND[brand] for brand in _find_brands(brands) if brand in _BROWSER_OF_BRAND]
    return next((browser for browser in known if browser != "chrome"), known[0] if known else "")


def _judge_os(agent: RustUserAgent) -> str:
    os = _OS_OF_FAMILY.get(agent.os.family, "")
    return "ipados" if os == "ios" and agent.device.family == "iPad" else os


def _unquote(hint: str) -> str:
    return hint.strip().strip('"')
