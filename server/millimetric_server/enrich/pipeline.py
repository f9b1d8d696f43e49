"""Turns a checked event into a finished row, in a list of steps. No I/O, no clock."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

from millimetric_server.enrich.attribution import classify
from millimetric_server.enrich.checked_event import CheckedEvent
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.enrich.identity import (
    derive_daily_anonymous_id,
    derive_session_id,
    derive_user_anonymous_id,
    make_random_id,
)
from millimetric_server.enrich.privacy import hash_ip
from millimetric_server.enrich.redaction import redact_path, redact_url
from millimetric_server.enrich.url_parts import parse_url
from millimetric_server.enrich.user_agent import (
    NO_HINTS,
    UNKNOWN_DEVICE,
    ClientHints,
    Device,
    describe_user_agent,
    is_of_browser,
)


@dataclass(frozen=True, slots=True)
class EnrichmentContext:
    """What the events of one request are enriched with: the project's rules, and the request's own facts."""

    project_id: str
    rule_set: str
    retention_days: int
    own_hosts: frozenset[str]
    ignored_hosts: frozenset[str]  # that begin no visit
    kept_parameters: frozenset[str]  # that redaction leaves alone, in lower case
    is_public_key: bool
    is_secret_key: bool
    received_at: int  # microseconds since 1970 UTC
    day: str  # its UTC date, YYYY-MM-DD
    ip: str  # the request's own, as the agent and hints are
    user_agent: str
    hints: ClientHints
    ip_salt: bytes
    identity_key: bytes
    find_country: Callable[[str], str]


@dataclass(slots=True, init=False, eq=False)
class EventBuilder:
    """A row in the making: its columns, of which each step adds some, and what the steps work with."""

    project_id: str
    event: str
    event_id: str
    timestamp: int
    received_at: int
    anonymous_id: str
    user_id: str
    session_id: str
    url: str
    path: str
    referrer: str
    properties: str
    source: str
    medium: str
    campaign: str
    source_confidence: str
    source_rule_id: str
    rule_set: str
    country: str
    device_type: str
    browser: str
    os: str
    is_bot: bool
    ip_hash: str
    retention_days: int

    sent: CheckedEvent
    ip: str
    user_agent: str
    device: Device

    def __init__(self, sent: CheckedEvent, context: EnrichmentContext) -> None:
        self.sent = sent
        self.project_id = context.project_id
        self.rule_set = context.rule_set
        self.retention_days = context.retention_days
        self.received_at = context.received_at
        self.timestamp = context.received_at if sent.timestamp is None else sent.timestamp
        self.event = sent.event
        self.event_id = sent.event_id or make_random_id()
        self.user_id = sent.user_id
        self.properties = sent.properties
        # A backend speaks for someone else; where it does not say for whom, its own address is nobody's.
        self.ip = sent.ip if context.is_secret_key else context.ip
        self.user_agent = (sent.user_agent if context.is_secret_key else "") or context.user_agent
        self.referrer = sent.referrer


def identify(builder: EventBuilder, context: EnrichmentContext) -> None:
    """Give the visitor an id without cookies: of the user, of the browser for a day, or at random."""
    sent = builder.sent
    if sent.anonymous_id:
        builder.anonymous_id = sent.anonymous_id
    elif sent.user_id:
        builder.anonymous_id = derive_user_anonymous_id(context.identity_key, context.project_id, sent.user_id)
    elif context.is_public_key:
        builder.anonymous_id = derive_daily_anonymous_id(
            context.ip_salt, context.day, context.project_id, builder.ip, builder.user_agent
        )
    else:
        builder.anonymous_id = make_random_id()


def assign_session(builder: EventBuilder, _context: EnrichmentContext) -> None:
    """Give the event to a visit."""
    builder.session_id = builder.sent.session_id or derive_session_id(builder.anonymous_id, builder.timestamp)


def attribute(builder: EventBuilder, context: EnrichmentContext) -> None:
    """Find what brought the visitor. Before redaction, which drops the fragment and with it its parameters."""
    found = classify(builder.sent.url, builder.referrer, context.rule_set, context.own_hosts, context.ignored_hosts)
    builder.source, builder.medium, builder.campaign = found.source, found.medium, found.campaign
    builder.source_confidence, builder.source_rule_id = found.confidence, found.rule_id


def redact(builder: EventBuilder, context: EnrichmentContext) -> None:
    """Take personal data out of the addresses, and the path out of the URL when none was sent."""
    sent, kept = builder.sent, context.kept_parameters
    builder.url = redact_url(sent.url, kept) if sent.url else ""
    builder.referrer = redact_url(builder.referrer, kept) if builder.referrer else ""
    builder.path = redact_path(sent.path, kept) if sent.path else ""
    if not builder.path and builder.url and (url := parse_url(builder.url)) is not None:
        builder.path = url.pathname


def describe_agent(builder: EventBuilder, context: EnrichmentContext) -> None:
    """Read device, browser and system off the agent; whether it is a bot only where a visitor's agent is meant.

    A browser always sends an agent: without one, a public key's caller is a bot. A secret key's caller is a server,
    whose own agent describes a visitor only if it is a browser's, passed on.
    """
    is_forwarded = context.is_secret_key and bool(builder.sent.user_agent)
    device = describe_user_agent(builder.user_agent, NO_HINTS if is_forwarded else context.hints)
    if context.is_secret_key and not is_forwarded and not is_of_browser(builder.user_agent, device):
        device = UNKNOWN_DEVICE
    builder.device = device
    builder.device_type, builder.browser, builder.os = device.device_type, device.browser, device.os
    if context.is_public_key:
        builder.is_bot = device.is_bot or not builder.user_agent
    else:
        builder.is_bot = device.is_bot and is_forwarded


def locate(builder: EventBuilder, context: EnrichmentContext) -> None:
    """Find the country of the address."""
    builder.country = context.find_country(builder.ip) if builder.ip else ""


def hash_address(builder: EventBuilder, context: EnrichmentContext) -> None:
    """Replace the address by its hash of the day; the address itself ends here."""
    builder.ip_hash = hash_ip(builder.ip, context.ip_salt, context.day) if builder.ip else ""


# A column's value is the attribute of its name, so that no order of arguments can mix them up.
read_columns = attrgetter(*EventRow.__struct_fields__)

STEPS: tuple[Callable[[EventBuilder, EnrichmentContext], None], ...] = (
    identify,
    assign_session,
    attribute,
    redact,
    describe_agent,
    locate,
    hash_address,
)


def enrich(sent: CheckedEvent, context: EnrichmentContext) -> EventRow:
    """Run all steps and return the row to store. Never raises for any checked event."""
    builder = EventBuilder(sent, context)
    for step in STEPS:
        step(builder, context)
    return EventRow(*read_columns(builder))
