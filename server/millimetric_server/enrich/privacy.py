"""What may be stored about a visitor: urls are redacted, IP addresses hashed, and opt-outs respected."""

import hmac
import re
import tomllib
from functools import lru_cache
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Literal
from urllib.parse import quote_plus, unquote_plus

import can_ada

REDACTED = "redacted"
URL_CHARS_MAX = 2048

_TABLES = tomllib.loads((Path(__file__).parent / "data" / "redaction.toml").read_text("utf-8"))
_STEM = re.compile("|".join(map(re.escape, _TABLES["stems"])))
_WORDS = frozenset(_TABLES["words"])
_NAMES = frozenset(_TABLES["names"])
_KEPT_PREFIXES: tuple[str, ...] = tuple(_TABLES["kept"]["prefixes"])
_KEPT_NAMES = frozenset(_TABLES["kept"]["names"])
_DROPPED_SCHEMES = frozenset(_TABLES["dropped"]["schemes"])

# Urls within parameters of urls: this deep they are read, what is deeper is redacted as a whole.
_NESTING_MAX = 2
_CACHED_URLS = 8192
_CACHED_NAMES = 4096
_CACHED_ADDRESSES = 65_536
_MAPPED_PREFIX = bytes(10) + b"\xff\xff"

# Browsers drop these wherever they stand, so `ht\ntps://us\ner@…` is a url with userinfo (WHATWG URL, 4.4).
_DROPPED_CHARACTERS = dict.fromkeys(map(ord, "\t\n\r"))
_C0_AND_SPACE = "".join(map(chr, range(0x21)))
# The scheme with its slashes (any number of either kind for the web's own schemes), the authority, the path.
_WEB_URL = re.compile(r"((?:https?|wss?|ftp):[/\\]*|[/\\]{2,})([^/\\]*)(.*)", re.IGNORECASE | re.DOTALL)
_OTHER_URL = re.compile(r"([a-z][a-z0-9+.\-]*://)([^/]*)(.*)", re.IGNORECASE | re.DOTALL)
_INNER_USERINFO = re.compile(r"(?<=://)[^/\\@]*@(?:[^/\\@]*@)*")
_PATH_PARAMETER = re.compile(r";([^;/=]+)=([^;/]+)")
_HOLDS_URL = re.compile(r"\?|%3f|://|%3a%2f%2f", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NOT_IN_SQUEEZED = re.compile(r"[^a-z0-9]+")


def redact_url(url: str) -> str:
    """A url or referrer as it may be stored: the same text, except for what is removed; never raises.

    Userinfo and fragment are dropped; values of parameters that are named like personal data or credentials
    (data/redaction.toml) become `redacted`, also those of path parameters (`;jsessionid=`) and in urls inside
    of parameters. Host, path and the parameters of attribution stay, so attribution is the same before and
    after, unless it is read from a query in the fragment: classify the original. Relative urls and other text
    are treated alike. An absolute url that does not parse and one that names no page (`mailto:`, `data:`, …)
    give ''. Of longer text the first 2048 characters count.
    """
    return _redact_cached(url[:URL_CHARS_MAX])


@lru_cache(_CACHED_URLS)
def _redact_cached(url: str) -> str:
    return _redact(url, _NESTING_MAX)


def _redact(url: str, nesting: int) -> str:
    text = (url if url.isprintable() else _drop_characters(url)).partition("#")[0].strip(_C0_AND_SPACE)
    location, mark, query = text.partition("?")
    stored_location = _redact_location(location)
    if stored_location is None:
        return ""
    return stored_location + mark + "&".join([_redact_parameter(pair, nesting) for pair in query.split("&")])


def _drop_characters(url: str) -> str:
    """The text that a browser reads; nothing, where lone surrogates make it no text at all."""
    try:
        url.encode()
    except UnicodeEncodeError:
        return ""
    return url.translate(_DROPPED_CHARACTERS)


def _redact_location(location: str) -> str | None:
    """What stands before the query, without userinfo; None where there is nothing that may be stored."""
    scheme, colon, _ = location.partition(":")
    if colon and scheme.lower() in _DROPPED_SCHEMES:
        return None
    url = _WEB_URL.match(location) or _OTHER_URL.match(location)
    if url:
        prefix, authority, path = url.groups()
    else:
        prefix = ""
        authority, slash, path = location.partition("/")
        path = slash + path
    _, at, host = authority.rpartition("@")
    if at and (not host or (not url and (":" in host or host.startswith("\\")))):
        return None  # without what stands before the @ it would become a url, or one of another host
    if not url:
        host, path = "", host + path
    if "://" in path:
        path = _INNER_USERINFO.sub("", path)
    if ";" in path:
        path = _PATH_PARAMETER.sub(_redact_path_parameter, path)
    stored = prefix + host + path
    return stored if not url or _can_parse(stored) else None


def _can_parse(url: str) -> bool:
    try:
        can_ada.parse(url if url[:1] not in "/\\" else "https:" + url)
    except ValueError:
        return False
    return True


def _redact_path_parameter(match: re.Match[str]) -> str:
    name = match[1]
    return f";{name}={REDACTED}" if _judge_name(name) == "redact" else match[0]


def _redact_parameter(pair: str, nesting: int) -> str:
    name, _, value = pair.partition("=")
    if not value:
        return pair
    verdict = _judge_name(name)
    if verdict == "redact":
        return f"{name}={REDACTED}"
    if verdict == "keep" or not _HOLDS_URL.search(value):
        return pair
    if not nesting:
        return f"{name}={REDACTED}"
    inner = unquote_plus(value)
    redacted = _redact(inner, nesting - 1)
    return pair if redacted == inner else f"{name}={quote_plus(redacted, safe='/:', errors='replace')}"


@lru_cache(_CACHED_NAMES)
def _judge_name(name: str) -> Literal["keep", "redact", "look inside"]:
    """What becomes of the value of a parameter, by its name as sent."""
    name = unquote_plus(name)
    lower = name.lower().strip()
    if lower in _KEPT_NAMES or lower.startswith(_KEPT_PREFIXES):
        return "keep"
    squeezed = _NOT_IN_SQUEEZED.sub("", lower)
    if squeezed in _NAMES or _STEM.search(squeezed) or not _WORDS.isdisjoint(map(str.lower, _WORD.findall(name))):
        return "redact"
    return "look inside"


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
