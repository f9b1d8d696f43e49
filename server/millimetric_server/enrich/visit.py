"""What a url and a referrer say about a visit, parsed once: the facts that attribution rules are about."""

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec

from millimetric_server.enrich.network_table import NamedSource, Network, NetworkTable, read_source
from millimetric_server.enrich.tags import Reading
from millimetric_server.enrich.url_parts import (
    URL_CHARS_MAX,
    is_same_site,
    parse_url,
    read_host,
    strip_www,
)

_WEB_PROTOCOLS = frozenset({"http:", "https:"})
_APP_PROTOCOLS = frozenset({"android-app:", "ios-app:"})
_NO_SOURCE = NamedSource("")


class Referrer(msgspec.Struct, frozen=True):
    """Where a visitor came from; all empty if there is none that can be read.

    `host` has no `www.`, `full_host` may have one; both are in lower case. An app's package name or id counts
    as its host. `cached_host` is whose page it is, if the host is a cache of others' pages.
    """

    host: str = ""
    full_host: str = ""
    cached_host: str = ""
    is_app: bool = False
    network: Network | None = None


class Visit(msgspec.Struct, frozen=True):
    """The facts about one visit. Texts are '' where the url and the referrer say nothing."""

    parameters: Mapping[str, str]
    page_host: str
    referrer: Referrer
    own_hosts: frozenset[str]
    ignored_hosts: frozenset[str]
    named_source: NamedSource = _NO_SOURCE
    medium: str = ""
    campaign: str = ""
    ref_network: Network | None = None


def read_visit(
    url: str, referrer: str, reading: Reading, own_hosts: frozenset[str], ignored_hosts: frozenset[str]
) -> Visit:
    """Parse a visit; what does not parse counts as absent, and nothing raises."""
    page_host, parameters = _read_page(url, reading)
    came_from = read_referrer(referrer[:URL_CHARS_MAX], reading.networks) if referrer else _NO_REFERRER
    if not parameters:
        return Visit(parameters, page_host, came_from, own_hosts, ignored_hosts)
    source = _find_first(parameters, reading.source_names).lower()
    return Visit(
        parameters=parameters,
        page_host=page_host,
        referrer=came_from,
        own_hosts=own_hosts,
        ignored_hosts=ignored_hosts,
        named_source=read_source(source, reading.networks),
        medium=canonicalise_medium(_find_first(parameters, reading.medium_names).lower()),
        campaign=_find_first(parameters, reading.campaign_names),
        ref_network=_find_ref(parameters, reading),
    )


@lru_cache(maxsize=4096)
def read_referrer(text: str, networks: NetworkTable) -> Referrer:
    """Parse a referrer and look up its network. Only web pages and apps can refer."""
    url = parse_url(text)
    if url is None:
        return _NO_REFERRER
    if url.protocol in _WEB_PROTOCOLS:
        full_host = read_host(url)
        host = strip_www(full_host)
        network = networks.find_page(host, url.pathname)
        return Referrer(host, full_host, _read_cached_host(host, networks.caches), network=network)
    if url.protocol in _APP_PROTOCOLS:
        app = read_host(url)
        return Referrer(host=app, full_host=app, is_app=True, network=networks.find_app(app))
    return _NO_REFERRER


def canonicalise_medium(utm_medium: str) -> str:
    """The one name for a utm_medium (lower case): paid, social, email, or the text as it was sent."""
    if medium := _MEDIA.get(utm_medium):
        return medium
    for prefix, medium in _MEDIUM_PREFIXES:
        if utm_medium.startswith(prefix):
            return medium
    return utm_medium


def is_internal(visit: Visit) -> bool:
    """Whether the referrer is the visited site itself or one of the project's own hosts, or a cached page of it."""
    referrer = visit.referrer
    if not referrer.host or referrer.is_app:
        return False
    host = referrer.cached_host or referrer.full_host
    return is_same_site(strip_www(host), visit.page_host) or _is_own_host(host, visit.own_hosts)


def is_ignored(visit: Visit) -> bool:
    """Whether the referrer is one that the project ignores, or below one."""
    host = visit.referrer.host if visit.ignored_hosts else ""
    while host:
        if host in visit.ignored_hosts:
            return True
        host = "" if visit.referrer.is_app else host.partition(".")[2]
    return False


def _is_own_host(host: str, own_hosts: frozenset[str]) -> bool:
    if not own_hosts:
        return False
    bare_host = strip_www(host)
    if not own_hosts.isdisjoint((host, bare_host, f"www.{bare_host}")):
        return True
    parent = host.partition(".")[2]
    while parent:
        if f"*.{parent}" in own_hosts:
            return True
        parent = parent.partition(".")[2]
    return False


def _read_cached_host(host: str, caches: tuple[str, ...]) -> str:
    """Whose page a cache's host stands for: www-example-com.cdn.ampproject.org is www.example.com."""
    for cache in caches:
        if host.endswith(cache):
            label = host.removesuffix(cache)
            return label.replace("--", " ").replace("-", ".").replace(" ", "-")
    return ""


def _read_page(text: str, reading: Reading) -> tuple[str, Mapping[str, str]]:
    url = parse_url(text, reading.url_chars_max)
    if url is None or not (host := read_host(url)):
        return "", {}
    return strip_www(host), reading.find_parameters(url, reading.parameters)


def _find_first(parameters: Mapping[str, str], names: tuple[str, ...]) -> str:
    for name in names:
        if name in parameters:
            return parameters[name]
    return ""


def _find_ref(parameters: Mapping[str, str], reading: Reading) -> Network | None:
    for name in reading.ref_names:
        if name in parameters and (network := reading.networks.find_name(parameters[name].lower())):
            return network
    return None


def _load_media(data: Mapping[str, Any]) -> tuple[Mapping[str, str], tuple[tuple[str, str], ...]]:
    names = {name: medium for medium, spellings in data["names"].items() for name in spellings}
    return names, tuple(data["prefixes"].items())


_NO_REFERRER = Referrer()
_MEDIA, _MEDIUM_PREFIXES = _load_media(tomllib.loads((files(__package__) / "data" / "media.toml").read_text("utf-8")))
