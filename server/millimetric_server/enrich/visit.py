"""What a url and a referrer say about a visit, parsed once: the facts that attribution rules are about."""

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec

from millimetric_server.enrich.network_table import NETWORKS, NamedSource, Network, read_source
from millimetric_server.enrich.url_parts import (
    URL_CHARS_MAX,
    is_same_site,
    parse_url,
    read_host,
    read_parameters,
    strip_www,
)

CLICK_IDS = frozenset(
    {
        *("gclid", "gbraid", "wbraid", "dclid", "gad_source"),
        *("msclkid", "ttclid", "li_fat_id", "twclid", "rdt_cid", "sccid", "yclid"),
        "fbclid",
    }
)
META_AD_IDS = frozenset({"ad_id", "adset_id", "campaign_id", "hsa_acc"})
PARAMETERS = CLICK_IDS | META_AD_IDS | {"utm_source", "utm_medium", "utm_campaign", "utm_id"}

_WEB_PROTOCOLS = frozenset({"http:", "https:"})
_APP_PROTOCOLS = frozenset({"android-app:", "ios-app:"})
_NO_SOURCE = NamedSource("")


class Referrer(msgspec.Struct, frozen=True):
    """Where a visitor came from; all empty if there is none that can be read.

    `host` has no `www.`, `full_host` may have one; both are in lower case. An app's package name or id counts
    as its host.
    """

    host: str = ""
    full_host: str = ""
    is_app: bool = False
    network: Network | None = None


class Visit(msgspec.Struct, frozen=True):
    """The facts about one visit. Texts are '' where the url and the referrer say nothing."""

    parameters: Mapping[str, str]
    page_host: str
    referrer: Referrer
    own_hosts: frozenset[str]
    named_source: NamedSource = _NO_SOURCE
    medium: str = ""
    campaign: str = ""


def read_visit(url: str, referrer: str, own_hosts: frozenset[str]) -> Visit:
    """Parse a visit; what does not parse counts as absent, and nothing raises."""
    page_host, parameters = _read_page(url)
    came_from = read_referrer(referrer[:URL_CHARS_MAX]) if referrer else _NO_REFERRER
    if not parameters:
        return Visit(parameters, page_host, came_from, own_hosts)
    return Visit(
        parameters=parameters,
        page_host=page_host,
        referrer=came_from,
        own_hosts=own_hosts,
        named_source=read_source(parameters.get("utm_source", "").lower()),
        medium=canonicalise_medium(parameters.get("utm_medium", "").lower()),
        campaign=parameters.get("utm_campaign", ""),
    )


@lru_cache(maxsize=4096)
def read_referrer(text: str) -> Referrer:
    """Parse a referrer and look up its network. Only web pages and apps can refer."""
    url = parse_url(text)
    if url is None:
        return _NO_REFERRER
    if url.protocol in _WEB_PROTOCOLS:
        full_host = read_host(url)
        host = strip_www(full_host)
        return Referrer(host=host, full_host=full_host, network=NETWORKS.find_host(host))
    if url.protocol in _APP_PROTOCOLS:
        app = read_host(url)
        return Referrer(host=app, full_host=app, is_app=True, network=NETWORKS.find_app(app))
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
    """Whether the referrer is the visited site itself or one of the project's own hosts."""
    referrer = visit.referrer
    if not referrer.host or referrer.is_app:
        return False
    return is_same_site(referrer.host, visit.page_host) or _is_own_host(referrer, visit.own_hosts)


def _is_own_host(referrer: Referrer, own_hosts: frozenset[str]) -> bool:
    if not own_hosts:
        return False
    if not own_hosts.isdisjoint((referrer.full_host, referrer.host, f"www.{referrer.host}")):
        return True
    parent = referrer.full_host.partition(".")[2]
    while parent:
        if f"*.{parent}" in own_hosts:
            return True
        parent = parent.partition(".")[2]
    return False


def _read_page(text: str) -> tuple[str, Mapping[str, str]]:
    url = parse_url(text)
    if url is None or not (host := read_host(url)):
        return "", {}
    return strip_www(host), read_parameters(url, PARAMETERS)


def _load_media(data: Mapping[str, Any]) -> tuple[Mapping[str, str], tuple[tuple[str, str], ...]]:
    names = {name: medium for medium, spellings in data["names"].items() for name in spellings}
    return names, tuple(data["prefixes"].items())


_NO_REFERRER = Referrer()
_MEDIA, _MEDIUM_PREFIXES = _load_media(tomllib.loads((files(__package__) / "data" / "media.toml").read_text("utf-8")))
