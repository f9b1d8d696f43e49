"""Origins of web pages: how a project's list is written, and whether a request's `Origin` is on it."""

import re
from functools import lru_cache

import can_ada

ORIGIN_LENGTH_MAX = 300

# Out of the host stay control characters, which URL parsers drop, `%`, which they decode, and our `*`.
_ORIGIN_SHAPE = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
    r"(?P<wildcard>\*\.)?"
    r"(?P<host>\[[0-9a-f:.]+\]|[^\x00-\x20\x7f/\\?#@:%*\[\]]+)"
    r"(?::(?P<port>[0-9]{1,5}))?",
    re.ASCII | re.IGNORECASE,
)
_PORT = re.compile(r":\d+$")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PORT_MAX = 65535


def normalise_origin(text: str) -> str:
    """Write an entry of a project's list in its one form: `scheme://host[:port]`.

    Scheme and host become lower case, international names become punycode, and the port goes when it is
    the scheme's own. A leading `*.` stands for any subdomain: `https://*.example.com`.

    Raises:
        ValueError: with a sentence that says what is wrong and how to write it.
    """
    text = text.strip()
    if text.lower() == "null":
        raise ValueError("The origin 'null' is shared by every sandboxed page and cannot be allowed.")
    if len(text) > ORIGIN_LENGTH_MAX:
        raise ValueError(f"An origin has at most {ORIGIN_LENGTH_MAX} characters.")
    match = _ORIGIN_SHAPE.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is not an origin: write scheme://host or scheme://host:port and nothing after it, "
            "like https://www.example.com, or https://*.example.com for all of its subdomains."
        )
    return _join_parts(match)


def normalise_referrer(text: str) -> str:
    """Write an entry of a project's ignored referrers in its one form: a host, without `www.`, or an app's name.

    Raises:
        ValueError: with a sentence that says what is wrong and how to write it.
    """
    text = text.strip()
    match = _ORIGIN_SHAPE.fullmatch(f"https://{text}") if len(text) <= ORIGIN_LENGTH_MAX else None
    if match is None or match["wildcard"] or match["port"]:
        raise ValueError(
            f"{text[:ORIGIN_LENGTH_MAX]!r} is not a host: write pay.example.com and nothing around it; it covers its "
            "subdomains. An app is written as its package name."
        )
    host = _normalise_host(match["host"]).rstrip(".")
    return host[4:] if host.startswith("www.") and "." in host[4:] else host


def matches_origin(origin: str | None, entries: tuple[str, ...]) -> bool:
    """Tell whether a request's `Origin` equals one of `entries`, or is a subdomain of a wildcard entry.

    `entries` are as `normalise_origin` returns them; `origin` is the header as it came, or None.
    `null`, a missing origin and anything that is not an origin match nothing. Never raises.
    """
    if origin is None or len(origin) > ORIGIN_LENGTH_MAX or "://" not in origin or "*" in origin:
        return False
    # Browsers send the normal form already, so most requests end here.
    if origin in entries:
        return True
    match = _ORIGIN_SHAPE.fullmatch(origin)
    if match is None:
        return False
    try:
        normal = _join_parts(match)
    except ValueError:
        return False
    return any(normal == entry or _is_subdomain(normal, entry) for entry in entries)


@lru_cache(4096)
def read_hosts(entries: tuple[str, ...]) -> frozenset[str]:
    """The hosts of a project's list, without scheme and port; a wildcard stays (`*.example.com`)."""
    return frozenset(_PORT.sub("", entry.partition("://")[2]) for entry in entries)


def _is_subdomain(origin: str, entry: str) -> bool:
    """Both in normal form. The port is part of the ending that must agree."""
    scheme, is_wildcard, apex = entry.partition("://*.")
    return bool(is_wildcard) and origin.startswith(scheme + "://") and origin.endswith("." + apex)


def _join_parts(match: re.Match[str]) -> str:
    scheme = match["scheme"].lower()
    wildcard = match["wildcard"] or ""
    host = _normalise_host(match["host"])
    if wildcard and _is_address(host):
        raise ValueError(f"{host} is an IP address: it has no subdomains that a wildcard could match.")
    port = "" if match["port"] is None else _format_port(scheme, int(match["port"]))
    return f"{scheme}://{wildcard}{host}{port}"


def _normalise_host(host: str) -> str:
    try:
        # As https, whatever the scheme: only for web schemes does a URL parser look into the host.
        normal = can_ada.parse(f"https://{host}").hostname
    except (ValueError, TypeError):  # TypeError: text that is not valid Unicode
        raise ValueError(f"{host!r} is not a host name.") from None
    # Only now: full-width dots and asterisks have become plain ones.
    if not normal or normal.startswith(".") or ".." in normal or "*" in normal:
        raise ValueError(f"{host!r} is not a host name.")
    return normal


def _is_address(host: str) -> bool:
    # No top-level domain is a number, so the parser has taken such a host for an IPv4 address.
    return host.startswith("[") or host.rpartition(".")[2].isdigit()


def _format_port(scheme: str, port: int) -> str:
    if not 1 <= port <= _PORT_MAX:
        raise ValueError(f"Port {port} does not exist: ports go from 1 to {_PORT_MAX}.")
    return "" if port == _DEFAULT_PORTS.get(scheme) else f":{port}"
