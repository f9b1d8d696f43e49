"""Whose IP address counts: the peer's, what trusted proxies report, or what a backend writes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

from millimetric_server.enrich.privacy import normalise_ip

_CACHED_HOPS = 4096
_HOPS_MAX = 32
_FORWARDED = "forwarded"


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Peers that may name the visitor's address, and the one header in which they do.

    Without a header's name, X-Forwarded-For counts, or Forwarded (RFC 7239) where there is none.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    client_ip_header: str = ""  # in lower case


NO_PROXIES = TrustedProxies()


def client_ip(peer: str, headers: Mapping[str, str], proxies: TrustedProxies) -> str:
    """The visitor's IP address, normalised: the peer's, or the one that trusted proxies report; '' if there is none.

    The right-most address that is not a trusted proxy's counts, among the last 32 entries of the header (its lines
    joined by commas); what is not an address is passed over. If a trusted peer names nobody else, it is the client.
    """
    client = normalise_ip(peer)
    if not proxies.networks or not _is_within(client, proxies.networks):
        return client
    for entry in _read_hops(headers, proxies.client_ip_header):
        hop = read_ip(entry)
        if hop and not _is_within(hop, proxies.networks):
            return hop
    return client


def read_ip(text: str) -> str:
    """The IP address in a text that may have a port, brackets and quotes, normalised; '' if there is none."""
    text = text.strip(' \t"')
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        return normalise_ip(address) if bracket and _is_port(rest) else ""
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return normalise_ip(address) if _is_port(":" + port) else ""
    return normalise_ip(text)


def _is_port(text: str) -> bool:
    digits = text[1:]
    return not text or (text[0] == ":" and digits.isascii() and digits.isdigit() and int(digits[:6]) <= 65_535)  # noqa: PLR2004


def _read_hops(headers: Mapping[str, str], name: str) -> Iterator[str]:
    """The entries of the header that counts, from the right."""
    value = headers.get(name or "x-forwarded-for", "")
    if not name and not value:
        name, value = _FORWARDED, headers.get(_FORWARDED, "")
    # The part beyond the limit comes first and is left out.
    entries = reversed(("," + value).rsplit(",", _HOPS_MAX)[1:])
    return map(_read_for, entries) if name == _FORWARDED else entries


def _read_for(element: str) -> str:
    """The node of an element of Forwarded: `for="[2001:db8::7]:4711";proto=https`."""
    for pair in element.split(";"):
        name, _, node = pair.partition("=")
        if name.strip().lower() == "for":
            return node
    return ""


@lru_cache(_CACHED_HOPS)
def _is_within(ip: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    if not ip:
        return False
    address = ip_address(ip)
    return any(address in network for network in networks)
