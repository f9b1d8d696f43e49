"""The input of the pipeline: an event that satisfies every rule of the contract."""

import msgspec


class CheckedEvent(msgspec.Struct, frozen=True, gc=False):
    """Absent texts are empty, an absent timestamp is None; `properties` is the compact text of a JSON object."""

    event: str
    event_id: str = ""
    timestamp: int | None = None
    anonymous_id: str = ""
    user_id: str = ""
    session_id: str = ""
    url: str = ""
    path: str = ""
    referrer: str = ""
    properties: str = "{}"
    ip: str = ""
    user_agent: str = ""
