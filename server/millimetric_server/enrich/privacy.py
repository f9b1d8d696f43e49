"""What may be stored about a visitor: IP addresses are hashed, and opt-outs respected. Urls: redaction.py."""

import hmac
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

_CACHED_ADDRESSES = 65_536
_MAPPED_PREFIX = bytes(10) + b"\xff\xff"


def pack_ip(ip: str) -> bytes:
    """The 4 bytes of an IPv4 address, also of one mapped into IPv6, the 16 of an IPv6 one, or b''."""
    try:
        packed = inet_pton(AF_INET6 if ":" in ip else AF_INET, ip.strip().partition("%")[0])
    except (OSError, ValueError):
        return b""
    return packed[12:] if packed.startswith(_MAPPED_PREFIX) else packed


def normalise_ip(text: str) -> str:
    """The usual spelling of an IP address, IPv4-mapped IPv6 as IPv4, without zone; '' if it is none."""
    packed = pack_ip(text)
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed) if packed else ""  # noqa: PLR2004


@lru_cache(_CACHED_ADDRESSES)
def hash_ip(ip: str, salt: bytes, day: str) -> str:
    """The stored form of an IP address: 32 hex characters, '' if `ip` is not an address.

    The first 16 bytes of HMAC-SHA256 with the key `salt` ‖ `day` (the UTC date of receipt, 'YYYY-MM-DD') of
    the packed address. The salt must be secret: IPv4 has few enough addresses to try them all.
    """
    packed = pack_ip(ip)
    return hmac.digest(salt + day.encode("utf-8", "replace"), packed, "sha256")[:16].hex() if packed else ""


def is_opted_out(gpc: str, dnt: str, ignore: str) -> bool:
    """Whether a visitor asks not to be counted, by the headers Sec-GPC, DNT, Millimetric-Ignore-Opt-Out."""
    return (gpc.strip() == "1" or dnt.strip() == "1") and ignore.strip() != "1"
