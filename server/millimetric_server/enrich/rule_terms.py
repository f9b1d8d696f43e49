"""The closed tables that rule sets are written in: conditions of a visit, and names in outcomes."""

from collections.abc import Callable, Mapping

import msgspec

from millimetric_server.enrich.network_table import SERVICE, Network
from millimetric_server.enrich.tags import META_AD_IDS
from millimetric_server.enrich.url_parts import find_registrable_domain
from millimetric_server.enrich.visit import Visit, is_ignored, is_internal

_META = frozenset({"facebook", "instagram"})
# Meta sends clicks through these two hosts, in posts and in ads alike.
_FACEBOOK_REDIRECTS = frozenset({"l.facebook.com", "lm.facebook.com"})


class Condition(msgspec.Struct, frozen=True):
    """A test of a visit, what to say of a visit that fails it, and whether only a tagged url can pass.

    `mark` is the one parameter that it asks for, or '' if it asks for more than that.
    """

    holds: Callable[[Visit], bool]
    why_not: str
    needs_parameters: bool = False
    mark: str = ""


def _has_meta_ad_parameter(visit: Visit) -> bool:
    utm_id = visit.parameters.get("utm_id", "")
    return not META_AD_IDS.isdisjoint(visit.parameters) or (utm_id.isascii() and utm_id.isdigit())


def _is_on_host_of(visit: Visit, source: str) -> bool:
    network = visit.referrer.network
    return network is not None and network.source == source and not visit.referrer.is_app


def _is_on_class(visit: Visit, network_class: str) -> bool:
    return _is_of_class(visit.referrer.network, network_class) and not visit.referrer.is_app


def _is_of_class(network: Network | None, network_class: str) -> bool:
    return network is not None and network.network_class == network_class


_PARAMETER_CONDITIONS: Mapping[str, tuple[Callable[[Visit], bool], str]] = {
    "paid_medium": (lambda v: v.medium == "paid", "utm_medium is not a paid medium"),
    "utm_source": (lambda v: v.named_source.source != "", "there is no utm_source"),
    "meta_source": (lambda v: v.named_source.source in _META, "utm_source is not Facebook or Instagram"),
    "meta_source_or_fbclid": (
        lambda v: v.named_source.source in _META or "fbclid" in v.parameters,
        "utm_source is not Facebook or Instagram, and there is no fbclid",
    ),
    "facebook_source": (lambda v: v.named_source.source == "facebook", "utm_source is not Facebook"),
    "instagram_source": (lambda v: v.named_source.source == "instagram", "utm_source is not Instagram"),
    "ad_source": (lambda v: v.named_source.ad_network is not None, "utm_source does not name a known network's ads"),
    "ai_source": (lambda v: _is_of_class(v.named_source.network, "ai"), "utm_source is not an AI assistant"),
    "meta_ad_parameter": (_has_meta_ad_parameter, "no parameter that only Meta's ads manager adds"),
    "ref_network": (lambda v: v.ref_network is not None, "no ref or source parameter names a known network"),
    "utm_medium_or_campaign": (
        lambda v: v.medium != "" or v.campaign != "",
        "there is no utm_medium and no utm_campaign",
    ),
}

_REFERRER_CONDITIONS: Mapping[str, tuple[Callable[[Visit], bool], str]] = {
    "facebook_redirect": (
        lambda v: v.referrer.full_host in _FACEBOOK_REDIRECTS,
        "the referrer is not Facebook's redirect",
    ),
    "facebook_host": (lambda v: _is_on_host_of(v, "facebook"), "the referrer is not a host of Facebook"),
    "instagram_host": (lambda v: _is_on_host_of(v, "instagram"), "the referrer is not a host of Instagram"),
    "internal_referrer": (is_internal, "the referrer is not this site or one of the project's hosts"),
    "service_referrer": (
        lambda v: v.referrer.network is SERVICE or is_ignored(v),
        "the referrer is not a payment or sign-in service, nor ignored by the project",
    ),
    "ad_referrer": (lambda v: _is_on_class(v, "ads"), "the referrer does not show ads"),
    "app_referrer": (
        lambda v: v.referrer.is_app and v.referrer.network is not None,
        "the referrer is not a known app",
    ),
    "ai_referrer": (lambda v: _is_on_class(v, "ai"), "the referrer is not an AI assistant"),
    "email_referrer": (lambda v: _is_on_class(v, "email"), "the referrer is not a mail service"),
    "search_referrer": (lambda v: _is_on_class(v, "search"), "the referrer is not a search engine"),
    "social_referrer": (lambda v: _is_on_class(v, "social"), "the referrer is not a social network"),
    "known_referrer": (
        lambda v: v.referrer.network is not None and v.referrer.network is not SERVICE,
        "the referrer is not a known network",
    ),
    "referrer": (lambda v: v.referrer.host != "", "there is no referrer"),
}

CONDITIONS: Mapping[str, Condition] = {
    **{name: Condition(*row, needs_parameters=True) for name, row in _PARAMETER_CONDITIONS.items()},
    **{name: Condition(*row) for name, row in _REFERRER_CONDITIONS.items()},
}


def find_condition(name: str, parameters: frozenset[str]) -> Condition:
    """The condition of a name, or of `has:parameter`. Raises KeyError for an unknown name or parameter."""
    if not name.startswith("has:"):
        return CONDITIONS[name]
    parameter = name.removeprefix("has:")
    if parameter not in parameters:
        raise KeyError(name)
    return Condition(
        lambda v: parameter in v.parameters, f"there is no {parameter}", needs_parameters=True, mark=parameter
    )


def _name_referrer(visit: Visit) -> str:
    return _source_of(visit.referrer.network)


def _name_utm_network(visit: Visit) -> str:
    return _source_of(visit.named_source.ad_network) or visit.named_source.source


def _name_meta_network(visit: Visit) -> str:
    named = _name_utm_network(visit)
    if named in _META:
        return named
    return "instagram" if _name_referrer(visit) == "instagram" else "facebook"


def _name_referrer_domain(visit: Visit) -> str:
    referrer = visit.referrer
    return referrer.host if referrer.is_app else find_registrable_domain(referrer.host)


def _source_of(network: Network | None) -> str:
    return network.source if network else ""


def _medium_of(network: Network | None) -> str:
    return network.medium if network else "unknown"


SOURCE_NAMES: Mapping[str, Callable[[Visit], str]] = {
    "{utm_source}": lambda v: v.named_source.source,
    "{utm_source_network}": _name_utm_network,
    "{meta_network}": _name_meta_network,
    "{ref_network}": lambda v: _source_of(v.ref_network),
    "{referrer_network}": _name_referrer,
    "{referrer_domain}": _name_referrer_domain,
}

MEDIUM_NAMES: Mapping[str, Callable[[Visit], str]] = {
    "{utm_medium}": lambda v: v.medium or "unknown",
    "{utm_medium_or_class}": lambda v: v.medium or v.named_source.medium,
    "{utm_medium_or_ref_class}": lambda v: v.medium or _medium_of(v.ref_network),
    "{referrer_class}": lambda v: _medium_of(v.referrer.network),
}


def find_outcome(text: str, names: Mapping[str, Callable[[Visit], str]]) -> Callable[[Visit], str]:
    """The meaning of an outcome's text: `{name}` is looked up (or KeyError), other text is literal."""
    return names[text] if text.startswith("{") else lambda _: text
