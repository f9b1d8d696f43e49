"""Urls as a browser reads them (WHATWG), and the parts that attribution needs: host, parameters, domain."""

import re
from collections.abc import Container
from functools import lru_cache
from urllib.parse import unquote_plus

import can_ada
from publicsuffixlist import PublicSuffixList

URL_CHARS_MAX = 2048
HOST_CHARS_MAX = 253

_PUBLIC_SUFFIXES = PublicSuffixList()
_IP_ADDRESS = re.compile(r"\[.*\]|.*\.\d+|\d+")


def parse_url(text: str, chars_max: int = URL_CHARS_MAX) -> can_ada.URL | None:
    """The url, or None for text that is not an absolute url; only its first 2048 characters are read by default."""
    try:
        return can_ada.parse(text[:chars_max])
    except (ValueError, TypeError):  # TypeError: lone surrogates
        return None


def read_host(url: can_ada.URL) -> str:
    """The url's host in lower case and ASCII, without port and final dot; '' if none or too long for one."""
    host: str = url.hostname.lower().rstrip(".")
    return host if len(host) <= HOST_CHARS_MAX else ""


def strip_www(host: str) -> str:
    """The host without a leading `www.`, unless only a single label would be left: www.com is a name."""
    return host[4:] if host.startswith("www.") and "." in host[4:] else host


def read_parameters(url: can_ada.URL, wanted: Container[str]) -> dict[str, str]:
    """The wanted parameters of the query, and of a query inside the fragment: lower-case name -> value.

    Values are percent-decoded (bytes that are no UTF-8 become U+FFFD) and trimmed. An empty value is no
    value; of repeated parameters the first with a value counts, and the query comes before the fragment.
    """
    query: str = url.search[1:]
    routed: str = url.hash.partition("?")[2]
    found: dict[str, str] = {}
    if not query and not routed:
        return found
    for pair in f"{query}&{routed}".split("&"):
        name, _, value = pair.partition("=")
        if not value:
            continue
        name = (unquote_plus(name) if "%" in name else name).lower()
        if name in wanted and name not in found and (value := unquote_plus(value).strip()):
            found[name] = value
    return found


@lru_cache(maxsize=8192)
def find_registrable_domain(host: str) -> str:
    """The host's domain one label below a public suffix (example.co.uk).

    An IP address, localhost and a public suffix itself have none, and stand for themselves.
    """
    if _IP_ADDRESS.fullmatch(host):
        return host
    return _PUBLIC_SUFFIXES.privatesuffix(host) or host


def is_same_site(host: str, other: str) -> bool:
    """Whether two hosts share their registrable domain."""
    if host == other:
        return True
    # Two hosts of one domain share at least two labels: most pairs are distinguished without the suffix list.
    if host.rsplit(".", 2)[-2:] != other.rsplit(".", 2)[-2:]:
        return False
    return find_registrable_domain(host) == find_registrable_domain(other)
