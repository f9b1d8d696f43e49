"""What is taken out of a url, a path or a referrer before it is stored: by the parameter's name, and by form."""

import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import quote_plus, unquote, unquote_plus

import can_ada

from millimetric_server.enrich.value_forms import is_personal

REDACTED = "redacted"
URL_CHARS_MAX = 2048

_TABLES = tomllib.loads((Path(__file__).parent / "data" / "redaction.toml").read_text("utf-8"))
# One for all projects: what must not be stored does not wait for each of them. Explain shows it.
REDACTION_VERSION: str = _TABLES["version"]
_STEM = re.compile("|".join(map(re.escape, _TABLES["stems"])))
_WORDS = frozenset(_TABLES["words"])
_NAMES = frozenset(_TABLES["names"])
_MAIL_IDS = frozenset(_TABLES["mail_ids"])
_KEPT_PREFIXES: tuple[str, ...] = tuple(_TABLES["kept"]["prefixes"])
_KEPT_NAMES = frozenset(_TABLES["kept"]["names"])
_DROPPED_SCHEMES = frozenset(_TABLES["dropped"]["schemes"])

# Urls within parameters of urls: this deep they are read, what is deeper is redacted as a whole.
_NESTING_MAX = 2
_UNESCAPES_MAX = 2  # `%2540` is an @ that was escaped twice
_CACHED_URLS = 8192
_CACHED_NAMES = 4096
NOTHING_KEPT: frozenset[str] = frozenset()

# Browsers drop these wherever they stand, so `ht\ntps://us\ner@…` is a url with userinfo (WHATWG URL, 4.4).
_DROPPED_CHARACTERS = dict.fromkeys(map(ord, "\t\n\r"))
_C0_AND_SPACE = "".join(map(chr, range(0x21)))
# The scheme with its slashes (any number of either kind for the web's own schemes), the authority, the path.
_WEB_URL = re.compile(r"((?:https?|wss?|ftp):[/\\]*|[/\\]{2,})([^/\\]*)(.*)", re.IGNORECASE | re.DOTALL)
_OTHER_URL = re.compile(r"([a-z][a-z0-9+.\-]*://)([^/]*)(.*)", re.IGNORECASE | re.DOTALL)
_INNER_USERINFO = re.compile(r"(?<=://)[^/\\@]*@(?:[^/\\@]*@)*")
_PATH_PARAMETER = re.compile(r";([^;/=]+)=([^;/]+)")
_HOLDS_URL = re.compile(r"\?|%3f|://|%3a%2f%2f", re.IGNORECASE)
# What a text needs to be personal by its form: an @, or a run as long as a token's, also where it is escaped.
_PERSONAL_SIGNS = r"@|%(?:25)*40|[A-Za-z0-9_%-]{20}"
_may_be_personal = re.compile(_PERSONAL_SIGNS, re.IGNORECASE).search
_has_parts = re.compile(rf"[=?]|{_PERSONAL_SIGNS}", re.IGNORECASE).search
_SEGMENT = re.compile(r"[^/\\]+")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NOT_IN_SQUEEZED = re.compile(r"[^a-z0-9]+")
# What is left of an ampersand's HTML escape before a name.
_AMPERSAND = re.compile(r"^(?:amp;|#0*38;|#x26;)+", re.IGNORECASE)


def redact_url(url: str, kept: frozenset[str] = NOTHING_KEPT) -> str:
    """A url or referrer as it may be stored: the same text, except for what is removed; never raises.

    Userinfo and fragment are dropped; values of parameters that are named like personal data or credentials
    (data/redaction.toml) become `redacted`, also those of path parameters (`;jsessionid=`) and in urls inside
    of parameters; so do values and path segments that hold an e-mail address or a token. Host, the parameters of
    attribution and those named in `kept` (in lower case) stay, so attribution is the same before and
    after, unless it is read from a query in the fragment: classify the original. Relative urls and other text
    are treated alike. An absolute url that does not parse and one that names no page (`mailto:`, `data:`, …)
    give ''. Of longer text the first 2048 characters count.
    """
    return _redact_cached(url[:URL_CHARS_MAX], kept)


def redact_path(path: str, kept: frozenset[str] = NOTHING_KEPT) -> str:
    """A path that a caller sent, as it may be stored; never raises.

    Its parts on both sides of a `#` are treated as those of a url: routes of a single page may stand there.
    """
    return _redact_path_cached(path, kept) if _has_parts(path) else path


@lru_cache(_CACHED_URLS)
def _redact_path_cached(path: str, kept: frozenset[str]) -> str:
    return "#".join([_redact_route(part, kept) for part in path.split("#")])


def _redact_route(route: str, kept: frozenset[str]) -> str:
    location, mark, query = route.partition("?")
    if not mark and "=" in location and "/" not in location:
        return _redact_query(location, kept, _NESTING_MAX)
    return _redact_path_text(location) + mark + _redact_query(query, kept, _NESTING_MAX)


@lru_cache(_CACHED_URLS)
def _redact_cached(url: str, kept: frozenset[str]) -> str:
    return _redact(url, kept, _NESTING_MAX)


def _redact(url: str, kept: frozenset[str], nesting: int) -> str:
    text = (url if url.isprintable() else _drop_characters(url)).partition("#")[0].strip(_C0_AND_SPACE)
    location, mark, query = text.partition("?")
    stored_location = _redact_location(location)
    if stored_location is None:
        return ""
    return stored_location + mark + _redact_query(query, kept, nesting)


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
    stored = prefix + host + _redact_path_text(path)
    return stored if not url or _can_parse(stored) else None


def _can_parse(url: str) -> bool:
    try:
        can_ada.parse(url if url[:1] not in "/\\" else "https:" + url)
    except ValueError:
        return False
    return True


def _redact_path_text(path: str) -> str:
    if ";" in path:
        path = _PATH_PARAMETER.sub(_redact_path_parameter, path)
    return _SEGMENT.sub(_redact_segment, path) if _may_be_personal(path) else path


def _redact_segment(match: re.Match[str]) -> str:
    return REDACTED if _is_personal(match[0]) else match[0]


def _redact_path_parameter(match: re.Match[str]) -> str:
    name = match[1]
    return f";{name}={REDACTED}" if _judge_name(name) == "redact" else match[0]


def _redact_query(query: str, kept: frozenset[str], nesting: int) -> str:
    return "&".join([_redact_parameter(pair, kept, nesting) for pair in query.split("&")])


def _redact_parameter(pair: str, kept: frozenset[str], nesting: int) -> str:
    name, equals, value = pair.partition("=")
    if not value:
        return REDACTED + equals if _is_personal(name, is_query=True) else pair
    verdict = _judge_name(name)
    if verdict == "keep" or (kept and _clean_name(name) in kept):
        return pair
    if verdict == "redact" or _is_personal(value, is_query=True):
        return f"{name}={REDACTED}"
    if ";" in value:  # another separator of parameters, once recommended by HTML 4
        value = _PATH_PARAMETER.sub(_redact_path_parameter, value)
        pair = f"{name}={value}"
    if not _HOLDS_URL.search(value):
        return pair
    if not nesting:
        return f"{name}={REDACTED}"
    inner = unquote_plus(value)
    redacted = _redact(inner, kept, nesting - 1)
    return pair if redacted == inner else f"{name}={quote_plus(redacted, safe='/:', errors='replace')}"


def _is_personal(text: str, *, is_query: bool = False) -> bool:
    """Tell whether an escaped text is personal or secret by its form. A url is not: its parts are looked at alone."""
    if not _may_be_personal(text):
        return False
    unescape = unquote_plus if is_query else unquote
    for _ in range(_UNESCAPES_MAX):
        if "%" not in text:
            break
        text = unescape(text)
    if is_query and _HOLDS_URL.search(text):
        return False
    return is_personal(text)


def _clean_name(name: str) -> str:
    return _AMPERSAND.sub("", unquote_plus(name).strip()).lower()


@lru_cache(_CACHED_NAMES)
def _judge_name(name: str) -> Literal["keep", "redact", "look inside"]:
    """What becomes of the value of a parameter, by its name as sent."""
    lower = _clean_name(name)
    if lower in _KEPT_NAMES or lower.startswith(_KEPT_PREFIXES):
        return "keep"
    name = _AMPERSAND.sub("", unquote_plus(name).strip())
    squeezed = _NOT_IN_SQUEEZED.sub("", lower)
    if lower in _MAIL_IDS or squeezed in _NAMES or _STEM.search(squeezed):
        return "redact"
    return "look inside" if _WORDS.isdisjoint(map(str.lower, _WORD.findall(name))) else "redact"
