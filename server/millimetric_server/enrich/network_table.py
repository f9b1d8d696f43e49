"""Which network a host, an app or a utm_source belongs to: the table in data/networks.toml, in memory."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, TypeVar

import msgspec

from millimetric_server.enrich.url_parts import strip_www

MEDIUM_OF_CLASS: Mapping[str, str] = {"search": "organic", "social": "social", "email": "email", "ai": "ai"}

_COUNTRY_END = re.compile(r"\.(?:com|[a-z]{2}|com?\.[a-z]{2})$")
_AD_SUFFIX = re.compile(r"[-_. ]?(?:ads?|adwords)$")
_Value = TypeVar("_Value")
_ALIAS_SPELLING = str.maketrans(" _", "--")


class Network(msgspec.Struct, frozen=True):
    """A search engine, social network, mail service or AI assistant, by the name it is stored under."""

    source: str
    network_class: str

    @property
    def medium(self) -> str:
        """What a visit from it counts as, unless something better is known."""
        return MEDIUM_OF_CLASS[self.network_class]


class NetworkTable(msgspec.Struct, frozen=True):
    """The table in memory. A host mapped to None lies below a network's name and is not that network."""

    version: str
    hosts: Mapping[str, Network | None]
    families: Mapping[str, Network | None]
    apps: Mapping[str, Network]
    aliases: Mapping[str, Network]
    ad_aliases: Mapping[str, Network]

    def find_host(self, host: str) -> Network | None:
        """The network of the most specific entry for a host (lower case, ASCII), or None."""
        country_end = _COUNTRY_END.search(host)
        stem = host[: country_end.start()] if country_end else ""
        while host:
            if host in self.hosts:
                return self.hosts[host]
            if stem in self.families:
                return self.families[stem]
            host, stem = host.partition(".")[2], stem.partition(".")[2]
        return None

    def find_app(self, app: str) -> Network | None:
        """The network of a package name, bundle id or App Store id, or None."""
        return self.apps.get(app.lower())

    def find_name(self, name: str) -> Network | None:
        """The network that a utm_source (lower case) names, by its source, an alias or a host; or None."""
        network = self.aliases.get(name.translate(_ALIAS_SPELLING))
        if network is None and "." in name:
            return self.find_host(strip_www(name))
        return network

    def find_ad_name(self, name: str) -> Network | None:
        """The network whose ads a utm_source names, as adwords, fb_ads and bingads do; or None.

        What is left must name a network: threads and acme_leads end like that by chance.
        """
        if network := self.ad_aliases.get(name.translate(_ALIAS_SPELLING)):
            return network
        stem = _AD_SUFFIX.sub("", name)
        if stem == name or self.find_name(name):
            return None
        return self.find_name(stem)


def load_table(text: str) -> NetworkTable:
    """Read a table in the form of data/networks.toml. Raises ValueError if an entry stands there twice."""
    data = tomllib.loads(text)
    hosts: dict[str, Network | None] = {}
    families: dict[str, Network | None] = {}
    apps: dict[str, Network] = {}
    aliases: dict[str, Network] = {}
    ad_aliases: dict[str, Network] = {}
    for host in data["unclassed"]["hosts"]:
        _add_host(hosts, families, host, None)
    for network, entry in _read_networks(data):
        for host in entry.get("hosts", ()):
            _add_host(hosts, families, host, network)
        for app in entry.get("apps", ()):
            _add_once(apps, app.lower(), network)
        for alias in entry.get("ad_aliases", ()):
            _add_once(ad_aliases, alias, network)
        for alias in (network.source, *entry.get("aliases", ()), *entry.get("ad_aliases", ())):
            _add_once(aliases, alias, network)
    return NetworkTable(
        version=data["version"],
        hosts=hosts,
        families=families,
        apps=apps,
        aliases=aliases,
        ad_aliases=ad_aliases,
    )


def _read_networks(data: Mapping[str, Any]) -> Iterator[tuple[Network, Mapping[str, list[str]]]]:
    for network_class in MEDIUM_OF_CLASS:
        for source, entry in data[network_class].items():
            yield Network(source, network_class), entry


def _add_host(
    hosts: dict[str, Network | None],
    families: dict[str, Network | None],
    host: str,
    network: Network | None,
) -> None:
    if host.endswith(".*"):
        _add_once(families, host.removesuffix(".*"), network)
    else:
        _add_once(hosts, host, network)


def _add_once(table: dict[str, _Value], name: str, value: _Value) -> None:
    if name in table:
        raise ValueError(f"{name!r} is in the network table twice")
    table[name] = value


NETWORKS = load_table((files(__package__) / "data" / "networks.toml").read_text("utf-8"))


class NamedSource(msgspec.Struct, frozen=True):
    """A utm_source: what it is stored as, the network it names, and the network whose ads it names."""

    source: str
    network: Network | None = None
    ad_network: Network | None = None


@lru_cache(maxsize=4096)
def read_source(utm_source: str) -> NamedSource:
    """Tell what a utm_source (lower case) means; one that names no network stands for itself."""
    network = NETWORKS.find_name(utm_source)
    return NamedSource(
        source=network.source if network else utm_source,
        network=network,
        ad_network=NETWORKS.find_ad_name(utm_source),
    )
