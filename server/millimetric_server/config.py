"""Every setting, once: its name, default and meaning. Flags, environment, --help and docs all come from here."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from millimetric_server.control.records import RateLimit
from millimetric_server.shares.body_room import DEFAULT_BYTES

PREFIX = "MILLIMETRIC_"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_METRICS_ADDRESS = "127.0.0.1:9464"
DEFAULT_RATE_LIMITS = "track=50/200,identify=50/200,batch=5/20,track_stream=5000/20000,refused=50/200"

_HEADER_NAME = re.compile(r"[A-Za-z0-9-]*")
_BLOCK_ROWS_MAX = 1_000_000  # of a larger block ClickHouse makes several parts, some of which may be in and others not


class ConfigError(ValueError):
    """A setting can't be used; the message names it and says what is allowed."""


def _setting(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"help": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The server's settings, as given. Each may be set as MILLIMETRIC_<NAME>; `serve` takes some as flags too."""

    host: str = _setting("127.0.0.1", "Address to listen on. 0.0.0.0 opens the server to the network.")
    grpc_port: int = _setting(50051, "Port for gRPC.")
    http_port: int = _setting(8080, "Port for HTTP: REST /v1, Connect and health.")
    metrics_address: str = _setting(
        DEFAULT_METRICS_ADDRESS,
        "host:port where /metrics answers without a key. Empty or `off`: nowhere. If the default is in use, the "
        "server logs that and runs without metrics.",
    )
    metrics_token: str = _setting(
        "",
        "If set, /metrics also answers on the HTTP port, to `Authorization: Bearer <token>`. Empty: it does not.",
    )
    data_dir: str = _setting("./var", "Folder for the journal, the embedded engine, the control database and secrets.")
    clickhouse_url: str = _setting(
        "",
        "chdb:///folder for the embedded engine, or http(s)://user:password@host:port. Empty: embedded, in data_dir.",
    )
    clickhouse_database: str = _setting("millimetric", "Name of the ClickHouse database; created if missing.")
    database_url: str = _setting(
        "",
        "Control database: sqlite:///file or postgresql://user:password@host/name. Empty: SQLite in data_dir.",
    )
    geoip_db: str = _setting(
        "",
        "A country database in .mmdb format (DB-IP or GeoLite2). Empty: the one that `make setup` fetched, if any.",
    )
    trusted_proxies: str = _setting(
        "", "Networks of proxies that may name the visitor's IP address, such as 10.0.0.0/8,::1."
    )
    client_ip_header: str = _setting(
        "",
        "The one header in which trusted proxies name the visitor's IP address, such as cf-connecting-ip. Empty: "
        "X-Forwarded-For, or Forwarded where there is none.",
    )
    rate_limits: str = _setting(
        DEFAULT_RATE_LIMITS,
        "Calls a second / burst, per project and RPC; `name=off` removes one limit, `off` all of them. "
        "`refused` limits refused calls, per key and IP address.",
    )
    body_bytes_max: int = _setting(
        16 * 1024 * 1024, "Largest body or message in bytes, before and after decompression."
    )
    bodies_bytes_max: int = _setting(
        DEFAULT_BYTES,
        "Bytes that large HTTP bodies may hold in memory together, a quarter of them for one project; beyond "
        "that `overloaded`.",
    )
    http_connections_max: int = _setting(
        2000, "Open HTTP connections; beyond that, those that have waited longest for their callers are closed."
    )
    http_head_bytes_max: int = _setting(64 * 1024, "Size of a request's path and headers in bytes; beyond that 431.")
    http_headers_max: int = _setting(100, "Number of a request's headers; beyond that 431.")
    http_head_timeout_s: int = _setting(10, "Seconds within which a request's headers must arrive, else 408.")
    http_body_timeout_s: int = _setting(20, "Seconds within which a body must end or bring another 16 KiB, else 408.")
    http_idle_timeout_s: int = _setting(75, "Seconds that a connection may wait for its next request.")
    journal_max_bytes: int = _setting(
        4 * 1024 * 1024 * 1024,
        "Bytes of events that may wait for ClickHouse; beyond that, writes get `overloaded`.",
    )
    journal_free_bytes_min: int = _setting(
        128 * 1024 * 1024,
        "Bytes to keep free on the journal's disk; with less, writes get `overloaded`. 0 turns this off.",
    )
    idempotency_window_days: int = _setting(
        7, "Days within which a repeated event_id counts as the same event; 0 turns this off."
    )
    flush_interval_ms: int = _setting(
        400, "Milliseconds for which events are collected before they are loaded into ClickHouse."
    )
    block_rows_max: int = _setting(50_000, "Maximum number of events loaded into ClickHouse at once.")
    read_seconds_max: int = _setting(9, "Seconds that one read may take in ClickHouse; longer reads are stopped.")
    read_memory_bytes_max: int = _setting(2 * 1024**3, "Bytes of ClickHouse's memory that one read may take.")
    read_rows_max: int = _setting(1_000_000_000, "Rows that one read may scan in ClickHouse's tables.")
    shutdown_timeout_s: int = _setting(20, "Seconds that a shutdown waits for running calls and for the loader.")
    shutdown_drain_s: int = _setting(
        0, "Seconds for which a server that shuts down fails its health checks but still accepts calls."
    )
    grpc_threads: int = _setting(40, "gRPC calls that run at the same time, not counting streams.")
    grpc_streams_max: int = _setting(64, "Streams that may be open at the same time; each takes two threads.")
    grpc_calls_max: int = _setting(
        4000, "gRPC calls that run or wait for a thread at the same time; beyond that `overloaded`."
    )
    grpc_reflection: str = _setting("on", "on or off: whether the gRPC port describes its services to anyone who asks.")
    grpc_connection_age_s: int = _setting(
        0, "Seconds after which a gRPC connection is asked to close, so that balancers redistribute clients. 0: never."
    )
    grpc_connection_grace_s: int = _setting(
        300, "Seconds that running calls may continue on a gRPC connection that was asked to close."
    )
    reads_max: int = _setting(64, "Reads that may run or wait at the same time.")
    reads_running_max: int = _setting(6, "Reads that may run in ClickHouse at the same time.")
    exports_max: int = _setting(4, "Exports that may be open at the same time.")
    followers_max: int = _setting(
        200, "Followers (Tail) that may be connected at the same time; over gRPC each takes a thread."
    )
    stored_waiters_max: int = _setting(128, "Writes with `ack: stored` that may wait for ClickHouse at the same time.")
    project_share_percent: int = _setting(
        50,
        "Percent of each of these that one project may take while no other takes any; less when others do. "
        "100 turns this off.",
    )
    ip_salt: str = _setting(
        "", "Secret for IP hashes, at least 32 characters. Empty: generated in data_dir at the first start."
    )
    identity_key: str = _setting(
        "", "Secret for derived visitor ids, at least 32 characters. Empty: generated in data_dir."
    )
    key_pepper: str = _setting("", "Secret for hashing API keys, at least 32 characters. Empty: generated in data_dir.")
    log_level: str = _setting("info", "debug, info, warning or error. No level logs an IP address or a key.")

    def __post_init__(self) -> None:
        """Check what can be checked without touching the world. Raises ConfigError."""
        for name in ("grpc_port", "http_port"):
            _require(0 <= getattr(self, name) <= 65535, name, "must be a port from 0 to 65535")  # noqa: PLR2004
        for name in (
            "body_bytes_max",
            "bodies_bytes_max",
            "http_connections_max",
            "http_head_bytes_max",
            "http_headers_max",
            "http_head_timeout_s",
            "http_body_timeout_s",
            "http_idle_timeout_s",
            "journal_max_bytes",
            "flush_interval_ms",
            "block_rows_max",
            "read_seconds_max",
            "read_memory_bytes_max",
            "read_rows_max",
            "grpc_threads",
            "grpc_streams_max",
            "grpc_calls_max",
            "reads_max",
            "reads_running_max",
            "exports_max",
            "followers_max",
            "stored_waiters_max",
        ):
            _require(getattr(self, name) > 0, name, "must be at least 1")
        _require(self.block_rows_max <= _BLOCK_ROWS_MAX, "block_rows_max", f"must be at most {_BLOCK_ROWS_MAX}")
        for name in (
            "idempotency_window_days",
            "journal_free_bytes_min",
            "shutdown_timeout_s",
            "shutdown_drain_s",
            "grpc_connection_age_s",
            "grpc_connection_grace_s",
        ):
            _require(getattr(self, name) >= 0, name, "must be 0 or more")
        _require(1 <= self.project_share_percent <= 100, "project_share_percent", "must be from 1 to 100")  # noqa: PLR2004
        for name in SECRET_NAMES:
            _require(len(getattr(self, name)) not in range(1, 32), name, "must have at least 32 characters")
        _require(self.log_level.lower() in LOG_LEVELS, "log_level", f"must be one of {', '.join(LOG_LEVELS)}")
        schemes = ("", "chdb:///", "http://", "https://")
        _require(
            self.clickhouse_url.startswith(schemes[1:]) or not self.clickhouse_url,
            "clickhouse_url",
            "must begin with chdb:///, http:// or https://",
        )
        _require(self.grpc_reflection in ("on", "off"), "grpc_reflection", "must be on or off")
        parse_rate_limits(self.rate_limits)
        self.read_trusted_proxies()
        is_name = _HEADER_NAME.fullmatch(self.client_ip_header.strip())
        _require(is_name is not None, "client_ip_header", "must be the name of a header, such as cf-connecting-ip")
        self.read_metrics_address()

    @property
    def data_path(self) -> Path:
        """The data folder, absolute."""
        return Path(self.data_dir).expanduser().resolve()

    @property
    def resolved_clickhouse_url(self) -> str:
        """The ClickHouse URL, the embedded default filled in."""
        return self.clickhouse_url or f"chdb://{self.data_path / 'clickhouse'}"

    @property
    def resolved_database_url(self) -> str:
        """The control database's URL, the default filled in."""
        return self.database_url or f"sqlite:///{self.data_path / 'control.db'}"

    def read_metrics_address(self) -> tuple[str, int] | None:
        """Parse metrics_address into host and port; None where there is none. Raises ConfigError."""
        if self.metrics_address.strip().lower() in ("", "off"):
            return None
        host, _, port = self.metrics_address.strip().rpartition(":")
        is_good = bool(host) and port.isascii() and port.isdigit() and int(port) <= 65535  # noqa: PLR2004
        _require(is_good, "metrics_address", "must look like 127.0.0.1:9464 or [::1]:9464, or be `off`")
        return host.strip("[]"), int(port)

    def read_trusted_proxies(self) -> tuple[Network, ...]:
        """Parse trusted_proxies. Raises ConfigError."""
        entries = [entry.strip() for entry in self.trusted_proxies.split(",") if entry.strip()]
        try:
            return tuple(ipaddress.ip_network(entry, strict=False) for entry in entries)
        except ValueError as error:
            raise ConfigError(f"{PREFIX}TRUSTED_PROXIES: {error}") from None


SECRET_NAMES = ("ip_salt", "identity_key", "key_pepper")
LOG_LEVELS = ("debug", "info", "warning", "error")
REFUSED = "refused"  # not an RPC: calls that are refused, per key and address
RATE_LIMITED_RPCS = ("track", "identify", "batch", "track_stream", REFUSED)


def load_settings(environ: Mapping[str, str], flags: Mapping[str, object] | None = None) -> Settings:
    """Read MILLIMETRIC_* and then the flags that were given (not None). Raises ConfigError."""
    values: dict[str, Any] = {}
    for setting in fields(Settings):
        if (text := environ.get(PREFIX + setting.name.upper())) is not None:
            values[setting.name] = _convert(setting.name, text, type(setting.default))
    values |= {name: value for name, value in (flags or {}).items() if value is not None}
    return Settings(**values)


def parse_rate_limits(text: str) -> Mapping[str, RateLimit | None]:
    """Read `track=50/200,batch=5/20` or `off`; None is no limit. What is not named keeps its default.

    Raises ConfigError.
    """
    if text.strip().lower() == "off":
        return dict.fromkeys(RATE_LIMITED_RPCS)
    limits: dict[str, RateLimit | None] = {}
    for entry in f"{DEFAULT_RATE_LIMITS},{text}".split(","):
        name, _, figures = (part.strip() for part in entry.partition("="))
        if not name and not figures:
            continue
        if name not in RATE_LIMITED_RPCS:
            raise ConfigError(f"{PREFIX}RATE_LIMITS: `{name}` is not one of {', '.join(RATE_LIMITED_RPCS)}")
        rate, _, burst = figures.partition("/")
        try:
            limits[name] = None if figures.lower() == "off" else RateLimit(float(rate), int(burst))
        except ValueError:
            raise ConfigError(
                f"{PREFIX}RATE_LIMITS: `{entry.strip()}` must look like track=50/200 or track=off"
            ) from None
    return limits


def _convert(name: str, text: str, kind: type) -> object:
    if kind is not int:
        return text
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{PREFIX}{name.upper()} must be a whole number, not `{text}`") from None


def _require(is_good: bool, name: str, sentence: str) -> None:  # noqa: FBT001
    if not is_good:
        raise ConfigError(f"{PREFIX}{name.upper()} {sentence}")
