"""The `user-agents` library on ua-parser's Rust resolver.

As shipped, the library calls ua-parser's legacy Python scan: 700-900 µs an agent where Rust takes about 20.
"""

import functools
import importlib.util
import sys

import ua_parser
from ua_parser.loaders import load_lazy_builtins
from ua_parser.regex import Resolver


def _defer_submodule(package: str, name: str) -> None:
    """Put `package.name` in place so that it loads on first use, as importlib's documentation shows."""
    full_name = f"{package}.{name}"
    spec = importlib.util.find_spec(full_name)
    if full_name in sys.modules or spec is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[full_name] = module
    spec.loader.exec_module(module)
    setattr(sys.modules[package], name, module)


# `user_agents` imports the legacy scan, which compiles 1,270 regexes (150 ms); nothing here ever calls it.
_defer_submodule(ua_parser.__name__, "user_agent_parser")

from user_agents.parsers import (  # noqa: E402
    UserAgent,
    parse_browser,
    parse_device,
    parse_operating_system,
)


@functools.cache
def _make_resolver() -> Resolver:
    """Compile the rules when the first agent comes: it takes 150 ms, which commands and the start need not wait for."""
    return Resolver(load_lazy_builtins())


class RustUserAgent(UserAgent):  # type: ignore[misc]
    """A `user_agents.UserAgent` (families, `is_tablet`, `is_mobile`, `is_pc`, `is_bot`) resolved by Rust."""

    def __init__(self, user_agent: str) -> None:
        """Resolve `user_agent`: text without lone surrogates, at most a few hundred characters."""
        self.ua_string = user_agent
        resolver = _make_resolver()
        browser = resolver.ua.extract(user_agent)
        self.browser = (
            parse_browser(browser.family, browser.major, browser.minor, browser.patch) if browser else _NO_BROWSER
        )
        system = resolver.os.extract(user_agent)
        self.os = parse_operating_system(system.family, system.major, system.minor, system.patch) if system else _NO_OS
        device = resolver.de.extract(user_agent)
        self.device = parse_device(device.family, device.brand, device.model) if device else _NO_DEVICE

    def _is_android_tablet(self) -> bool:
        """Browsers on Android phones say "Mobile"; apps' own agents and cut ones say nothing, and are phones.

        The library looks for "Mobile Safari" only, and so takes DuckDuckGo and every native app for tablets.
        """
        text = self.ua_string
        return "AppleWebKit" in text and "Safari/" in text and "Mobile" not in text


_NO_BROWSER = parse_browser("Other")
_NO_OS = parse_operating_system("Other")
_NO_DEVICE = parse_device("Other", None, None)
