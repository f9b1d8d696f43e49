"""What reads work with."""

from dataclasses import dataclass, field

from millimetric_server.following.followers import Followers
from millimetric_server.store.clickhouse import ClickHouse


@dataclass(frozen=True, slots=True)
class ReadDeps:
    """What reads work with."""

    store: ClickHouse
    key_pepper: bytes  # signs page tokens
    followers: Followers = field(default_factory=Followers)
