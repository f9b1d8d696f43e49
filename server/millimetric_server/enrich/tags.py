"""The parameters that attribution reads, and the two ways of finding them in a url: as written, or repaired.

People and mail programs break links: they escape twice, write `&amp;`, or append a second query. `read_repaired`
reads what was meant; `read_parameters` is what rule sets before standard-2 go by, and stays.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import unquote, unquote_plus

import can_ada
import msgspec

from millimetric_server.enrich.network_table import NETWORK_TABLES, NetworkTable
from millimetric_server.enrich.url_parts import URL_CHARS_MAX, read_parameters

META_AD_IDS = frozenset({"ad_id", "adset_id", "campaign_id", "hsa_acc"})
_FIRST_CLICK_IDS = frozenset(
    {
        *("gclid", "gbraid", "wbraid", "dclid", "gad_source"),
        *("msclkid", "ttclid", "li_fat_id", "twclid", "rdt_cid", "sccid", "yclid"),
        "fbclid",
    }
)
# Of ad networks, affiliate networks, mailing services, and Instagram and two search engines, as each documents them.
_MORE_CLICK_IDS = frozenset(
    {
        *("gad_campaignid", "epik", "qclid", "tblci", "dicbo", "ndclid"),
        *("irclickid", "cjevent", "awc", "sscid", "ransiteid", "tduid"),
        *("mc_cid", "mc_eid", "_hsenc", "_hsmi", "mkt_tok", "_kx"),
        *("dm_i", "vero_id", "ml_subscriber", "ck_subscriber_id"),
        *("igshid", "igsh", "srsltid", "ysclid"),
    }
)
# Matomo's names for the three tags, and those from when it was Piwik (matomo.org/faq/tracking-campaigns).
_OTHER_TAGS = frozenset(f"{prefix}_{tag}" for prefix in ("mtm", "pk") for tag in ("source", "medium", "campaign"))
_TAGS = frozenset({"utm_source", "utm_medium", "utm_campaign", "utm_id"})

# What exports and templates write for "there is none".
_PLACEHOLDERS = frozenset({"(direct)", "(none)", "(not set)", "(not provided)", "(data not available)"})
# What is left of an ampersand's HTML escape before a name, and of a route (#!, #/) before a tag.
_BEFORE_NAME = re.compile(r"^(?:[!/#?]|amp;|#?0*38;|#?x26;)+")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
# Controls, soft hyphens, zero-width blanks, marks of direction and of byte order: pasted, and seen by nobody.
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_UNESCAPES_MAX = 3
_Pair = tuple[str, str, str]  # as str.partition gives it
_JOINERS = "\u200c\u200d"  # within a text they have a meaning, at its ends none


class Reading(msgspec.Struct, frozen=True, eq=False):
    """How a rule set reads a visit: its table of networks, the parameters that it knows, and how they are found."""

    networks: NetworkTable
    parameters: frozenset[str]
    find_parameters: Callable[[can_ada.URL, frozenset[str]], dict[str, str]]
    source_names: tuple[str, ...] = ("utm_source",)
    medium_names: tuple[str, ...] = ("utm_medium",)
    campaign_names: tuple[str, ...] = ("utm_campaign",)
    ref_names: tuple[str, ...] = ()
    url_chars_max: int = URL_CHARS_MAX


def read_repaired(url: can_ada.URL, wanted: frozenset[str]) -> dict[str, str]:
    """The wanted parameters as they were meant: lower-case name -> value. Placeholders and empty values are none.

    As `read_parameters`, and: a fragment that holds tags is a query; so is what follows a second `?` if a wanted
    parameter does; `&amp;` is `&`; what is escaped twice is unescaped twice; what cannot be seen is left out.
    """
    query: str = url.search[1:]
    fragment: str = url.hash[1:]
    found: dict[str, str] = {}
    if not query and not fragment:
        return found
    text = query
    if fragment:
        bare, _, routed = fragment.partition("?")
        text = f"{query}&{routed}&{bare}"
    pairs = _list_pairs(text, wanted)
    for name, _, value in pairs:  # grows by what is found inside of values
        if not value or (clean_name := _clean_name(name, wanted)) not in wanted or clean_name in found:
            continue
        clean = _clean_value(value) if "%" in value or "+" in value else value
        if "&" in clean:
            clean, inner = _split_value(clean, wanted)
            pairs += inner
        if clean and clean.lower() not in _PLACEHOLDERS:
            found[clean_name] = clean
    return found


def _list_pairs(text: str, wanted: frozenset[str]) -> list[_Pair]:
    """The pairs of a query: first those that are well written, then those that had to be repaired."""
    if "?" not in text and "%3" not in text:
        return [pair.partition("=") for pair in text.split("&")]
    pairs, repaired = [], []
    for pair in text.split("&"):
        if "?" in pair:
            first, *others = _split_queries(pair, wanted)
            pairs.append(first.partition("="))
            repaired += [piece.partition("=") for piece in others]
        elif "=" not in pair and ("%3d" in pair or "%3D" in pair):  # the whole query is escaped
            repaired += [piece.partition("=") for piece in unquote(pair).split("&")]
        else:
            pairs.append(pair.partition("="))
    return pairs + repaired


def _split_queries(pair: str, wanted: frozenset[str]) -> list[str]:
    """Part `a=1?utm_source=x`. A `?` inside of an address (`next=/a?utm_source=x`) is that address's."""
    first, *rest = pair.split("?")
    pieces = [first]
    for piece in rest:
        is_in_address = "/" in pieces[-1].partition("=")[2]
        if not is_in_address and _clean_name(piece.partition("=")[0], wanted) in wanted:
            pieces.append(piece)
        else:
            pieces[-1] += f"?{piece}"
    return pieces


def _split_value(value: str, wanted: frozenset[str]) -> tuple[str, list[_Pair]]:
    """Part `fb&utm_medium=cpc`, of which the ampersand was escaped. Other ampersands are the value's own."""
    first, *rest = value.split("&")
    inner = [piece.partition("=") for piece in rest]
    if any(name.lower() in wanted for name, _, _ in inner):
        return first.strip(), inner
    return value, []


def _clean_name(name: str, wanted: frozenset[str]) -> str:
    lower = name.lower()
    if lower in wanted or lower.isidentifier():
        return lower
    for _ in range(_UNESCAPES_MAX):
        if "%" not in lower:
            break
        lower = unquote_plus(lower).lower()
    lower = _INVISIBLE.sub("", lower).strip(_JOINERS).strip()
    return _BEFORE_NAME.sub("", lower)


def _clean_value(value: str) -> str:
    clean = unquote_plus(value)
    for _ in range(_UNESCAPES_MAX - 1):
        if not _ESCAPE.search(clean):
            break
        clean = unquote(clean)
    if not clean.isprintable():
        clean = _INVISIBLE.sub("", clean).strip().strip(_JOINERS)
    return clean.strip()


READINGS: Mapping[str, Reading] = MappingProxyType(
    {
        "as_written": Reading(
            networks=NETWORK_TABLES["networks"],
            parameters=_FIRST_CLICK_IDS | META_AD_IDS | _TAGS,
            find_parameters=read_parameters,
        ),
        "repaired": Reading(
            networks=NETWORK_TABLES["networks_2"],
            parameters=_FIRST_CLICK_IDS | _MORE_CLICK_IDS | META_AD_IDS | _TAGS | _OTHER_TAGS | {"ref", "source"},
            find_parameters=read_repaired,
            source_names=("utm_source", "mtm_source", "pk_source"),
            medium_names=("utm_medium", "mtm_medium", "pk_medium"),
            campaign_names=("utm_campaign", "mtm_campaign", "pk_campaign"),
            ref_names=("ref", "source"),
            url_chars_max=8192,
        ),
    }
)
