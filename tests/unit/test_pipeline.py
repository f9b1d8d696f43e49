"""Properties of the pipeline as a whole, over whatever a caller may send."""

from dataclasses import replace

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from millimetric_server.control.origins import read_hosts
from millimetric_server.enrich.attribution import RULE_SETS, classify
from millimetric_server.enrich.checked_event import CheckedEvent
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.enrich.explain import explain_event, find_removed
from millimetric_server.enrich.pipeline import EnrichmentContext, enrich
from millimetric_server.enrich.redaction import redact_url
from millimetric_server.enrich.user_agent import NO_HINTS, ClientHints

_ROW_OF = {name: index for index, name in enumerate(EventRow.__struct_fields__)}
_RANDOM = {"event_id", "anonymous_id", "session_id"}

# fmt: off
_PIECES = [
    "https://", "http:", "android-app://", "ios-app://", "javascript:", "data:", "mailto:", "//", "/", "\\", "@", ":",
    "?", "#", "#/?", "&", "=", ";", "%", "%ff", "%3F", "%00", "+", ".", "*.", "[::1]", "xn--", "\u00e9", "\u3002",
    "\ud800", "\0", "\n", " ", "www.", "example.com", "shop.example", "google.co.uk", "l.facebook.com", "com",
    "utm_source", "utm_medium", "utm_campaign", "UTM_Source", "fbclid", "gclid", "gad_source", "ad_id", "utm_id",
    "email", "token", "cpc", "paid", "&amp;", "%3D", "%26", "ref", "epik", "#utm_source=", "fb", "fb_ads",
    "ig", "newsletter", "1", "a", ";jsessionid=1", "user:pw@",
]
# fmt: on
_text = st.text(st.characters(), max_size=60)
_url = st.lists(st.sampled_from(_PIECES), max_size=16).map("".join) | _text
_page = st.builds("https://{}/{}".format, st.sampled_from(["shop.example", "www.own.example:8443", "[::1]"]), _url)
_address = st.sampled_from(["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "fe80::1%eth0", "256.1.1.1", ""]) | _text
_agent = st.sampled_from(["Mozilla/5.0 (iPhone; CPU iPhone OS 17_0)", "curl/8.5.0", "Googlebot/2.1"]) | _text

events = st.builds(
    CheckedEvent,
    event=_text,
    event_id=_text,
    timestamp=st.none() | st.integers(0, 2**53),
    anonymous_id=_text,
    user_id=_text,
    session_id=_text,
    url=_url | _page,
    path=_text,
    referrer=_url | _page,
    ip=_address,
    user_agent=_agent,
)
contexts = st.builds(
    EnrichmentContext,
    project_id=_text,
    rule_set=st.sampled_from(sorted(RULE_SETS)),
    retention_days=st.integers(1, 36_500),
    own_hosts=st.sampled_from([frozenset(), frozenset({"own.example", "*.example.com"})]) | st.frozensets(_text),
    ignored_hosts=st.sampled_from([frozenset(), frozenset({"example.com"})]) | st.frozensets(_text),
    kept_parameters=st.sampled_from([frozenset(), frozenset({"email", "q"})]),
    is_public_key=st.booleans(),
    is_secret_key=st.booleans(),
    received_at=st.integers(0, 2**53),
    day=st.dates().map(str),
    ip=_address,
    user_agent=_agent,
    hints=st.just(NO_HINTS) | st.builds(ClientHints, _text, _text, _text, _text, _text),
    ip_salt=st.binary(max_size=64),
    identity_key=st.binary(max_size=64),
    find_country=st.just(lambda _: "GB"),
)


@given(events, contexts)
def test_no_event_makes_the_pipeline_raise(event: CheckedEvent, context: EnrichmentContext) -> None:
    row = enrich(event, context)
    for name, kind in EventRow.__annotations__.items():
        assert type(getattr(row, name)) is kind
    assert row.source
    assert row.medium
    assert row.rule_set == context.rule_set
    again = enrich(event, context)
    assert {name for name in _ROW_OF if getattr(row, name) != getattr(again, name)} <= _RANDOM


@given(events, contexts)
def test_explain_tells_the_row_that_would_be_stored(event: CheckedEvent, context: EnrichmentContext) -> None:
    explained = explain_event(event, context)
    stored = enrich(event, context)
    assert {name for name in _ROW_OF if getattr(explained.row, name) != getattr(stored, name)} <= _RANDOM
    found = explained.attribution.attribution
    row = explained.row
    assert (found.source, found.medium, found.campaign) == (row.source, row.medium, row.campaign)
    assert (found.confidence, found.rule_id) == (row.source_confidence, row.source_rule_id)
    rules = [rule.rule_id for rule in RULE_SETS[context.rule_set].rules]
    assert [rule_id for rule_id, _ in explained.attribution.passed_over] == rules[: rules.index(found.rule_id)]
    assert ("url" in explained.removed) == (event.url != row.url)


@given(_url | _page, _url | _page, st.sampled_from(sorted(RULE_SETS)))
@example("https://shop.example/?utm_source=a;b&email=x", "https://user:pw@www.google.com/?q=1", "standard-1")
@example("https://shop.example/?utm_source=%20&utm_source=fb&token=1", "", "standard-1")
@example("https://shop.example/\t?utm_\nsource=fb", "", "standard-1")
@example("https://shop.example/?token=1&amp;utm_source=fb%26utm_medium%3Dcpc", "https://x.com/i/grok", "standard-2")
@example("https://shop.example/?utm_source%3Dfb&mc_eid=1&next=/a?utm_source=x", "", "standard-2")
def test_redaction_never_changes_the_attribution(url: str, referrer: str, rule_set: str) -> None:
    """But for tags in the fragment, or in a redacted value: that is why the original is classified."""
    if "#" in url or url.count("?") > 1:
        return
    stored_url, stored_referrer = redact_url(url), redact_url(referrer)
    own_hosts = frozenset({"own.example"})
    assert classify(stored_url, stored_referrer, rule_set, own_hosts) == classify(url, referrer, rule_set, own_hosts)


@given(_url | _page)
def test_what_was_removed_is_told_without_its_value(url: str) -> None:
    stored = redact_url(url)
    removed = find_removed(url, stored)
    assert bool(removed) == (url != stored)
    for part in removed:
        kind, _, name = part.partition(" ")
        assert kind in {"all", "userinfo", "fragment", "parameter", "spelling"} or part == "path segment"
        assert kind != "parameter" or name in stored


def test_what_was_removed_is_named() -> None:
    url = "https://u:p@shop.example/a;jsessionid=1?email=j%40x.example&q=1&next=https%3A%2F%2Fa.example%2F%3Ftoken%3D1#top"
    parts = ("userinfo", "fragment", "parameter jsessionid", "parameter email", "parameter next")
    assert find_removed(url, redact_url(url)) == parts
    assert find_removed("/u/j@x.example/?j@x.example&a=b", "/u/redacted/?redacted&a=b") == (
        "path segment",
        "parameter redacted",
    )
    assert find_removed("mailto:jane@shop.example", "") == ("all",)
    assert find_removed(" https://shop.example/", "https://shop.example/") == ("spelling",)
    assert find_removed("https://shop.example/", "https://shop.example/") == ()


_CONTEXT = EnrichmentContext(
    project_id="prj",
    rule_set="standard-2",
    retention_days=365,
    own_hosts=frozenset(),
    ignored_hosts=frozenset(),
    kept_parameters=frozenset(),
    is_public_key=True,
    is_secret_key=False,
    received_at=1,
    day="2026-01-01",
    ip="192.0.2.1",
    user_agent="",
    hints=NO_HINTS,
    ip_salt=b"",
    identity_key=b"",
    find_country=lambda _: "GB",
)


def test_without_an_agent_only_a_public_key_makes_a_bot() -> None:
    event = CheckedEvent(event="signup")
    assert enrich(event, _CONTEXT).is_bot
    assert not enrich(event, replace(_CONTEXT, is_public_key=False, is_secret_key=True)).is_bot
    assert not enrich(event, replace(_CONTEXT, user_agent="Mozilla/5.0 (iPhone; CPU iPhone OS 17_0)")).is_bot


def test_parameters_that_the_project_keeps_stay_in_all_addresses() -> None:
    url = "https://shop.example/find?name=blue+shoes&key=v"
    event = CheckedEvent(event="$pageview", url=url, path="/find?name=blue&key=v", referrer=url)
    row = enrich(event, replace(_CONTEXT, kept_parameters=frozenset({"name"})))
    assert row.url == row.referrer == "https://shop.example/find?name=blue+shoes&key=redacted"
    assert row.path == "/find?name=blue&key=redacted"


def test_a_row_survives_the_journal() -> None:
    row = enrich(CheckedEvent(event="signup", url="https://shop.example/"), replace(_CONTEXT, rule_set="millimetric-1"))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=EventRow) == row


def test_hosts_of_origins_have_no_port() -> None:
    entries = (
        "https://shop.example",
        "http://localhost:3000",
        "https://*.shop.example",
        "http://[::1]",
        "http://[::1]:80",
    )
    assert read_hosts(entries) == {"shop.example", "localhost", "*.shop.example", "[::1]"}
