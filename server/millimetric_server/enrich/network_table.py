"""Which network a host, an app or a utm_source belongs to: the tables of data/networks*.toml, in memory."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from millimetric_server.enrich.url_parts import strip_www

MEDIUM_OF_CLASS: Mapping[str, str] = {
    "search": "organic",
    "social": "social",
    "email": "email",
    "ai": "ai",
    "ads": "paid",
}

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


# A payment, a sign-in or a captcha: visitors come back from it, and it has sent nobody.
SERVICE = Network("internal", "service")


class NetworkTable(msgspec.Struct, frozen=True, eq=False):
    """A table in memory. A host mapped to None lies below a network's name and is not that network.

    Of `portals` (hosts, or `name.*`) only the entry itself is its network, and not what lies below. `paths` are the
    entries with a path, by host. Below `caches` lie pages of others. `named_media` is what a utm_source without a
    utm_medium means.
    """

    version: str
    hosts: Mapping[str, Network | None]
    families: Mapping[str, Network | None]
    apps: Mapping[str, Network]
    aliases: Mapping[str, Network]
    ad_aliases: Mapping[str, Network]
    paths: Mapping[str, tuple[tuple[str, Network | None], ...]]
    portals: frozenset[str]
    caches: tuple[str, ...]
    named_media: Mapping[str, str]

    def find_host(self, host: str) -> Network | None:
        """The network of the most specific entry for a host (lower case, ASCII), or None."""
        country_end = _COUNTRY_END.search(host)
        stem = host[: country_end.start()] if country_end else ""
        is_whole = True
        while host:
            if host in self.hosts:
                return self.hosts[host] if is_whole or host not in self.portals else None
            if stem in self.families:
                return self.families[stem] if is_whole or f"{stem}.*" not in self.portals else None
            host, stem = host.partition(".")[2], stem.partition(".")[2]
            is_whole = False
        return None

    def find_page(self, host: str, path: str) -> Network | None:
        """The network of a page: of its host, unless there is an entry for what its path begins with."""
        for start, network in self.paths.get(host, ()):
            if path.startswith(start) and path[len(start) : len(start) + 1] in {"", "/"}:
                return network
        return self.find_host(host)

    def find_app(self, app: str) -> Network | None:
        """The network of a package name, bundle id or App Store id, or None."""
        return self.apps.get(app.lower())

    def find_name(self, name: str) -> Network | None:
        """The network that a utm_source (lower case) names, by its source, an alias or a host; or None."""
        network = self.aliases.get(name.translate(_ALIAS_SPELLING))
        if network is None and "." in name:
            network = self.find_host(strip_www(name))
        return None if network is SERVICE else network

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


def load_table(text: str, base: NetworkTable | None = None) -> NetworkTable:
    """Read a table in the form of data/networks*.toml; its entries go before those of `base`.

    Raises ValueError if an entry stands in it twice.
    """
    data = tomllib.loads(text)
    hosts: dict[str, Network | None] = {}
    apps: dict[str, Network] = {}
    aliases: dict[str, Network] = {}
    ad_aliases: dict[str, Network] = {}
    for host in data["unclassed"]["hosts"]:
        _add_once(hosts, host, None)
    for network, entry in _read_networks(data):
        for host in entry.get("hosts", ()):
            _add_once(hosts, host, network)
        for app in entry.get("apps", ()):
            _add_once(apps, app.lower(), network)
        for alias in entry.get("ad_aliases", ()):
            _add_once(ad_aliases, alias, network)
        for alias in _list_aliases(network, entry):
            _add_once(aliases, alias, network)
    media = {name: medium for medium, names in data.get("named_media", {}).items() for name in names}
    own = NetworkTable(
        version=data["version"],
        hosts={host: network for host, network in hosts.items() if "/" not in host and not host.endswith(".*")},
        families={host[:-2]: network for host, network in hosts.items() if host.endswith(".*")},
        apps=apps,
        aliases=aliases,
        ad_aliases=ad_aliases,
        paths=_group_paths(hosts),
        portals=frozenset(_list_hosts(data, "portals")),
        caches=tuple(f".{host}" for host in _list_hosts(data, "caches")),
        named_media=media,
    )
    return own if base is None else _lay_over(own, base)


def _read_networks(data: Mapping[str, Any]) -> Iterator[tuple[Network, Mapping[str, list[str]]]]:
    if "service" in data:
        yield SERVICE, data["service"]
    for network_class in MEDIUM_OF_CLASS:
        for source, entry in data.get(network_class, {}).items():
            yield Network(source, network_class), entry


def _list_aliases(network: Network, entry: Mapping[str, list[str]]) -> Iterable[str]:
    # A source of ads is called what its network is called, and that name is the network's.
    named = () if network is SERVICE or network.network_class == "ads" else (network.source,)
    return (*named, *entry.get("aliases", ()), *entry.get("ad_aliases", ()))


def _list_hosts(data: Mapping[str, Any], section: str) -> list[str]:
    hosts: list[str] = data.get(section, {}).get("hosts", [])
    return hosts


def _group_paths(hosts: Mapping[str, Network | None]) -> dict[str, tuple[tuple[str, Network | None], ...]]:
    paths: dict[str, tuple[tuple[str, Network | None], ...]] = {}
    for entry, network in hosts.items():
        host, mark, path = entry.partition("/")
        if mark:
            paths[host] = (*paths.get(host, ()), (f"/{path}", network))
    return paths


def _lay_over(own: NetworkTable, base: NetworkTable) -> NetworkTable:
    return NetworkTable(
        version=own.version,
        hosts={**base.hosts, **own.hosts},
        families={**base.families, **own.families},
        apps={**base.apps, **own.apps},
        aliases={**base.aliases, **own.aliases},
        ad_aliases={**base.ad_aliases, **own.ad_aliases},
        paths={**base.paths, **own.paths},
        portals=base.portals | own.portals,
        caches=(*base.caches, *own.caches),
        named_media={**base.named_media, **own.named_media},
    )


def _add_once(table: dict[str, _Value], name: str, value: _Value) -> None:
    if name in table:
        raise ValueError(f"{name!r} is in the network table twice")
    table[name] = value


def _load_shipped() -> Mapping[str, NetworkTable]:
    folder = files(__package__) / "data"
    first = load_table((folder / "networks.toml").read_text("utf-8"))
    second = load_table((folder / "networks_2.toml").read_text("utf-8"), first)
    return MappingProxyType({"networks": first, "networks_2": second})


NETWORK_TABLES: Mapping[str, NetworkTable] = _load_shipped()


class NamedSource(msgspec.Struct, frozen=True):
    """A utm_source: what it is stored as, the medium it stands for, its network, and the network whose ads it names."""

    source: str
    medium: str = "unknown"
    network: Network | None = None
    ad_network: Network | None = None


@lru_cache(maxsize=4096)
def read_source(utm_source: str, networks: NetworkTable) -> NamedSource:
    """Tell what a utm_source (lower case) means; one that names no network stands for itself."""
    network = networks.find_name(utm_source)
    named_medium = networks.named_media.get(utm_source.translate(_ALIAS_SPELLING), "unknown")
    return NamedSource(
        source=network.source if network else utm_source,
        medium=network.medium if network else named_medium,
        network=network,
        ad_network=networks.find_ad_name(utm_source),
    )
