"""Checks what people enter: names, labels and a project's settings. Each check returns the value to store."""

import re
import unicodedata
from collections.abc import Iterable

from millimetric_server.control.errors import ControlError
from millimetric_server.control.keys import parse_key
from millimetric_server.control.origins import normalise_origin, normalise_referrer
from millimetric_server.control.records import RateLimits

NAME_LENGTH_MAX = 64
RETENTION_DAYS_MAX = 36_500
IGNORED_REFERRERS_MAX = 200
KEPT_PARAMETERS_MAX = 100

_RULE_SET_SHAPE = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_PREFIX_SHAPE = re.compile(r"[0-9a-f]{8}")
_RPC_SHAPE = re.compile(r"[a-z][a-z_]{0,63}")
_PARAMETER_SHAPE = re.compile(r"[^\s=&?#;,]{1,128}")
_ID_SHAPE = re.compile(r"(acc|prj)_[0-9a-f]{16}")


def check_name(name: str) -> str:
    """Check the name of a project or account: 1 to 64 printable characters, none of the ends blank.

    What looks like an id is refused, since a name stands wherever an id may; so is a key.
    """
    name = unicodedata.normalize("NFC", name)
    if not 1 <= len(name) <= NAME_LENGTH_MAX:
        raise ControlError(f"A name has 1 to {NAME_LENGTH_MAX} characters; this one has {len(name)}.")
    if not name.isprintable():
        raise ControlError("A name has only printable characters.")
    if name != name.strip():
        raise ControlError("A name neither begins nor ends with a space.")
    if _ID_SHAPE.fullmatch(name) or parse_key(name):
        raise ControlError("That looks like an id or a key: choose another name.")
    return name


def quote_reference(text: str) -> str:
    """Quote a name for a message, unless it may be a secret that came to the wrong place."""
    is_name = len(text) <= NAME_LENGTH_MAX and text.isprintable() and parse_key(text) is None
    return repr(text) if is_name else "of that name"


def check_label(label: str) -> str:
    """Check what a key is labelled with: up to 64 printable characters."""
    label = unicodedata.normalize("NFC", label.strip())
    if len(label) > NAME_LENGTH_MAX or not label.isprintable():
        raise ControlError(f"A label has at most {NAME_LENGTH_MAX} characters, all of them printable.")
    if parse_key(label):
        raise ControlError("A label must not be a key.")
    return label


def check_prefix(prefix: str) -> str:
    """Check that this may be a key's prefix. The message does not repeat it: it may be a whole key."""
    if not _PREFIX_SHAPE.fullmatch(prefix):
        raise ControlError("A key's prefix is 8 hex digits: those between its second and third underscore.")
    return prefix


def check_origin(text: str) -> str:
    """Check an entry of a project's origins, and write it in its one form."""
    try:
        return normalise_origin(text)
    except ValueError as error:
        raise ControlError(str(error)) from None


def check_ignored_referrers(entries: Iterable[str]) -> frozenset[str]:
    """Check the hosts that begin no visit, and write each in its one form."""
    try:
        hosts = frozenset(normalise_referrer(entry) for entry in entries)
    except ValueError as error:
        raise ControlError(str(error)) from None
    if len(hosts) > IGNORED_REFERRERS_MAX:
        raise ControlError(f"A project ignores at most {IGNORED_REFERRERS_MAX} referrers; these are {len(hosts)}.")
    return hosts


def check_kept_parameters(entries: Iterable[str]) -> frozenset[str]:
    """Check the names of parameters that redaction leaves alone, and write them in lower case."""
    kept = frozenset(entry.strip().lower() for entry in entries)
    for name in kept:
        if not _PARAMETER_SHAPE.fullmatch(name):
            raise ControlError(f"{name!r} is not the name of a url parameter: write it as it stands before the `=`.")
    if len(kept) > KEPT_PARAMETERS_MAX:
        raise ControlError(f"A project keeps at most {KEPT_PARAMETERS_MAX} parameters; these are {len(kept)}.")
    return kept


def check_rule_set(rule_set: str) -> str:
    """Check the name of an attribution rule set; whether the server has it is for enrichment to say."""
    if not _RULE_SET_SHAPE.fullmatch(rule_set):
        raise ControlError("A rule set is named in lower-case letters, digits, dots and hyphens, at most 64.")
    return rule_set


def check_retention_days(days: int) -> int:
    """Check for how many days events are kept."""
    if not 1 <= days <= RETENTION_DAYS_MAX:
        raise ControlError(f"Events are kept for 1 to {RETENTION_DAYS_MAX} days.")
    return days


def check_rate_limits(limits: RateLimits) -> RateLimits:
    """Check that limits are given by the snake_case names of RPCs."""
    for rpc in limits:
        if not _RPC_SHAPE.fullmatch(rpc):
            raise ControlError(f"{rpc!r} is not the name of an RPC: write track, batch, track_stream, …")
    return limits
