"""Turns a checked event into a finished row: a list of steps that can be read aloud. No I/O, no clock."""

from collections.abc import Callable
from dataclasses import dataclass

from millimetric_server.enrich.attribution import Attribution, classify
from millimetric_server.enrich.checked_event import CheckedEvent
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.enrich.identity import (
    derive_daily_anonymous_id,
    derive_user_anonymous_id,
    make_random_id,
)
from millimetric_server.enrich.privacy import hash_ip, redact_url
from millimetric_server.enrich.session import derive_session_id
from millimetric_server.enrich.url_parts import parse_url
from millimetric_server.enrich.user_agent import NO_HINTS, ClientHints, Device, describe_user_agent


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the events of one request are enriched with: the project's rules, and the request's own facts."""

    project_id: str
    rule_set: str
    retention_days: int
    own_hosts: frozenset[str]
    is_public_key: bool
    is_secret_key: bool
    received_at: int  # microseconds since 1970 UTC
    day: str  # its UTC date, YYYY-MM-DD
    ip: str  # the request's own, as the agent and hints are
    user_agent: str
    hints: ClientHints
    referrer: str  # the Referer header
    ip_salt: bytes
    identity_key: bytes
    find_country: Callable[[str], str]


class Draft:
    """A row in the making: what was sent, then what each step adds."""

    __slots__ = (
        "anonymous_id", "attribution", "country", "device", "event_id", "ip", "ip_hash", "is_bot", "path",
        "referrer", "sent", "session_id", "timestamp", "url", "user_agent",
    )  # fmt: skip

    anonymous_id: str
    session_id: str
    attribution: Attribution
    url: str
    path: str
    device: Device
    is_bot: bool
    country: str
    ip_hash: str

    def __init__(self, sent: CheckedEvent, around: Surroundings) -> None:
        self.sent = sent
        self.event_id = sent.event_id or make_random_id()
        self.timestamp = around.received_at if sent.timestamp is None else sent.timestamp
        # Only a backend may speak for someone else.
        self.ip = (sent.ip if around.is_secret_key else "") or around.ip
        self.user_agent = (sent.user_agent if around.is_secret_key else "") or around.user_agent
        self.referrer = sent.referrer or around.referrer


def identify(draft: Draft, around: Surroundings) -> None:
    """Give the visitor an id without cookies: of the user, of the browser for a day, or at random."""
    sent = draft.sent
    if sent.anonymous_id:
        draft.anonymous_id = sent.anonymous_id
    elif sent.user_id:
        draft.anonymous_id = derive_user_anonymous_id(around.identity_key, around.project_id, sent.user_id)
    elif around.is_public_key:
        draft.anonymous_id = derive_daily_anonymous_id(
            around.ip_salt, around.day, around.project_id, draft.ip, draft.user_agent
        )
    else:
        draft.anonymous_id = make_random_id()


def assign_session(draft: Draft, _around: Surroundings) -> None:
    """Give the event to a visit."""
    draft.session_id = draft.sent.session_id or derive_session_id(draft.anonymous_id, draft.timestamp)


def attribute(draft: Draft, around: Surroundings) -> None:
    """Find what brought the visitor. Before redaction, which drops the fragment and with it its parameters."""
    draft.attribution = classify(draft.sent.url, draft.referrer, around.rule_set, around.own_hosts)


def redact(draft: Draft, _around: Surroundings) -> None:
    """Take personal data out of the addresses, and the path out of the URL when none was sent."""
    draft.url = redact_url(draft.sent.url) if draft.sent.url else ""
    draft.referrer = redact_url(draft.referrer) if draft.referrer else ""
    draft.path = draft.sent.path
    if not draft.path and draft.url and (url := parse_url(draft.url)) is not None:
        draft.path = url.pathname


def describe_agent(draft: Draft, around: Surroundings) -> None:
    """Read device, browser and system off the agent; whether it is a bot only where a visitor's agent is meant."""
    is_forwarded = around.is_secret_key and bool(draft.sent.user_agent)
    draft.device = describe_user_agent(draft.user_agent, NO_HINTS if is_forwarded else around.hints)
    draft.is_bot = draft.device.is_bot and (around.is_public_key or is_forwarded)


def locate(draft: Draft, around: Surroundings) -> None:
    """Find the country of the address."""
    draft.country = around.find_country(draft.ip) if draft.ip else ""


def hash_address(draft: Draft, around: Surroundings) -> None:
    """Replace the address by its hash of the day; the address itself ends here."""
    draft.ip_hash = hash_ip(draft.ip, around.ip_salt, around.day) if draft.ip else ""


STEPS: tuple[Callable[[Draft, Surroundings], None], ...] = (
    identify,
    assign_session,
    attribute,
    redact,
    describe_agent,
    locate,
    hash_address,
)


def enrich(sent: CheckedEvent, around: Surroundings) -> EventRow:
    """Run all steps and return the row to store. Never raises for any checked event."""
    draft = Draft(sent, around)
    run_steps(draft, around)
    return make_row(draft, around)


def run_steps(draft: Draft, around: Surroundings) -> None:
    """Fill in all that is derived."""
    for step in STEPS:
        step(draft, around)


def make_row(draft: Draft, around: Surroundings) -> EventRow:
    """Put a draft that went through all steps into the form in which it is stored."""
    sent, attribution, device = draft.sent, draft.attribution, draft.device
    return EventRow(
        around.project_id,
        sent.event,
        draft.event_id,
        draft.timestamp,
        around.received_at,
        draft.anonymous_id,
        sent.user_id,
        draft.session_id,
        draft.url,
        draft.path,
        draft.referrer,
        sent.properties,
        attribution.source,
        attribution.medium,
        attribution.campaign,
        attribution.confidence,
        attribution.rule_id,
        around.rule_set,
        draft.country,
        device.device_type,
        device.browser,
        device.os,
        draft.is_bot,
        draft.ip_hash,
        around.retention_days,
    )
