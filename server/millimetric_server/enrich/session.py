"""Sessions without state: half an hour of the clock is one."""

_SESSION_US = 1800 * 1_000_000


def derive_session_id(anonymous_id: str, timestamp_us: int) -> str:
    """`{anonymous_id}-{floor(unix_seconds/1800)}` by the event's own timestamp, in µs since 1970."""
    return f"{anonymous_id}-{timestamp_us // _SESSION_US}"
