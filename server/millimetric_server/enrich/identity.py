"""Identity without cookies: ids that are derived with a keyed hash, or made at random; sessions without state."""

import hmac
import struct
from functools import lru_cache

import uuid_utils

from millimetric_server.enrich.privacy import pack_ip
from millimetric_server.enrich.user_agent import USER_AGENT_CHARS_MAX

# One entry keeps an agent and an address in memory, about 1 KB.
_CACHED_IDS = 16_384
_SESSION_US = 1800 * 1_000_000  # half an hour of the clock is a session


def derive_user_anonymous_id(identity_key: bytes, project_id: str, user_id: str) -> str:
    """The one anonymous_id of a user whose device is unknown: UUIDv8 of HMAC(identity_key, project, user)."""
    return _derive_uuid8(identity_key, _encode(project_id), _encode(user_id))


def derive_daily_anonymous_id(salt: bytes, day: str, project_id: str, ip: str, user_agent: str) -> str:
    """The anonymous_id of a browser for one UTC `day` ('YYYY-MM-DD'); nobody can link it once `salt` is gone.

    UUIDv8 of HMAC(salt ‖ day, project, ip, user agent): the ip packed (4 or 16 bytes, none if it is no
    address), of the user agent the first 512 characters.
    """
    return _derive_daily(salt, day, project_id, ip, user_agent[:USER_AGENT_CHARS_MAX])


def make_random_id() -> str:
    """A UUIDv7: random, and later ones of this process sort after earlier ones."""
    return str(uuid_utils.uuid7())


def derive_session_id(anonymous_id: str, timestamp_us: int) -> str:
    """`{anonymous_id}-{floor(unix_seconds/1800)}` by the event's own timestamp, in µs since 1970."""
    return f"{anonymous_id}-{timestamp_us // _SESSION_US}"


@lru_cache(_CACHED_IDS)
def _derive_daily(salt: bytes, day: str, project_id: str, ip: str, user_agent: str) -> str:
    return _derive_uuid8(salt + _encode(day), _encode(project_id), pack_ip(ip), _encode(user_agent))


def _derive_uuid8(key: bytes, *fields: bytes) -> str:
    """The first 16 bytes of HMAC-SHA256, with version and variant of RFC 9562 section 5.8 set, as UUID text.

    In the message each field follows its length as 4 bytes, big-endian, so no two lists of fields are alike.
    """
    message = b"".join([struct.pack(">I", len(field)) + field for field in fields])
    digits = hmac.digest(key, message, "sha256").hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def _encode(text: str) -> bytes:
    """UTF-8; lone surrogates, which JSON can spell, keep their own bytes."""
    return text.encode("utf-8", "surrogatepass")
