"""What reads work with."""

from dataclasses import dataclass

from millimetric_server.store.clickhouse import ClickHouse


@dataclass(frozen=True, slots=True)
class ReadDeps:
    """What reads work with."""

    store: ClickHouse
    key_pepper: bytes  # signs page tokens
