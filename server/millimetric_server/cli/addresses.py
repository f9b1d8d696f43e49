"""Where a client on this machine finds the server, and how it opens a channel to it."""

from urllib.parse import urlsplit

import grpc

from millimetric_server.config import Settings

_ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound
_RECONNECT_MAX_MS = 2000  # grpc's own bound is two minutes


def dial_host(settings: Settings) -> str:
    """The host to dial for a server that listens by these settings, in brackets if it is IPv6."""
    host = _ANY_ADDRESS.get(settings.host, settings.host)
    return f"[{host}]" if ":" in host else host


def grpc_address(settings: Settings) -> str:
    """host:port of the gRPC door."""
    return f"{dial_host(settings)}:{settings.grpc_port}"


def http_url(settings: Settings) -> str:
    """The URL of the HTTP door, without a slash at the end."""
    return f"http://{dial_host(settings)}:{settings.http_port}"


def is_loopback(address: str) -> bool:
    """Tell whether host:port or a URL is this machine, which no proxy of the environment can reach."""
    host = urlsplit(address if "://" in address else f"//{address}").hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def open_channel(address: str) -> grpc.Channel:
    """Open a channel to host:port, or with TLS to https://host:port."""
    options = (
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_MAX_MS),
        ("grpc.enable_http_proxy", 0 if is_loopback(address) else 1),
    )
    scheme, has_scheme, target = address.partition("://")
    if scheme == "https" and has_scheme:
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(), options)
    return grpc.insecure_channel(target or address, options)
