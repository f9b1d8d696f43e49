"""Checks of services: ports, metrics, ClickHouse, and trusted proxies."""

import dataclasses
import os
import socket
from typing import Any
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from millimetric_server.cli.addresses import dial_host, grpc_address, http_url, open_channel
from millimetric_server.cli.demo.http_reads import ReadError, read_json, read_text
from millimetric_server.cli.doctor.findings import Finding, fail, ok, warn
from millimetric_server.config import ConfigError, Settings
from millimetric_server.store.engine import ADVICE, find_engine_version

_TIMEOUT_S = 3.0
_SERVICE = "millimetric.v1.IngestService"


def check_http_port(settings: Settings) -> Finding:
    """Is the HTTP port free, or is it a Millimetric that answers there."""
    name = "HTTP port"
    if (found := _check_free(name, settings, settings.http_port)) is not None:
        return found
    url = http_url(settings)
    try:
        is_ours = "ready" in read_json(url, "/readyz", timeout_s=_TIMEOUT_S)
    except ReadError:
        is_ours = False
    if is_ours:
        return ok(name, f"a Millimetric server answers at {url}")
    return fail(name, f"{url} is in use by another program", "Choose another --http-port (MILLIMETRIC_HTTP_PORT).")


def check_grpc_port(settings: Settings) -> Finding:
    """Is the gRPC port free, or is it a Millimetric that answers there."""
    name = "gRPC port"
    if (found := _check_free(name, settings, settings.grpc_port)) is not None:
        return found
    address = grpc_address(settings)
    with open_channel(address) as channel:
        try:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(health_pb2.HealthCheckRequest(service=_SERVICE), timeout=_TIMEOUT_S)
        except grpc.RpcError:
            advice = "Choose another --grpc-port (MILLIMETRIC_GRPC_PORT)."
            return fail(name, f"{address} is in use by another program", advice)
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return ok(name, f"a Millimetric server answers at {address}")
    return warn(name, f"the Millimetric server at {address} is shutting down", "Wait until it has ended.")


def check_metrics(settings: Settings) -> Finding:
    """Does /metrics answer where it should, or can it."""
    name, address = "metrics", settings.read_metrics_address()
    if address is None:
        if settings.metrics_token:
            return ok(name, f"with the token, at {http_url(settings)}/metrics")
        advice = "Set MILLIMETRIC_METRICS_ADDRESS or MILLIMETRIC_METRICS_TOKEN, and point Prometheus at it."
        return warn(name, "off: this server can't be monitored", advice)
    host, port = address
    if port == 0:
        return ok(name, "on a port chosen at start")
    at = dataclasses.replace(settings, host=host)
    if (finding := _check_free(name, at, port)) is not None:
        return finding
    url = f"http://{dial_host(at)}:{port}/metrics"
    if _shows_our_metrics(url):
        return ok(name, f"a Millimetric server answers at {url}")
    return warn(name, f"{url} is in use by another program", "Choose another --metrics-address.")


def check_clickhouse(settings: Settings) -> Finding:
    """Does ClickHouse answer: the embedded engine or the server of the URL."""
    name, url = "ClickHouse", settings.resolved_clickhouse_url
    if not url.startswith("chdb://"):
        return _check_clickhouse_server(name, url)
    version = find_engine_version()
    if version is None:
        return fail(name, "the embedded engine is not installed", ADVICE)
    # The engine lets one process in, so a running server is asked for its state instead.
    state = _read_readiness(settings).get("clickhouse")
    if state == "away":
        return fail(name, f"embedded engine {version}: the running server can't use it", "See the server's log.")
    if state == "ok":
        return ok(name, f"embedded engine {version}, in use by the running server")
    folder = urlsplit(url).path
    if os.path.isdir(folder) and not os.access(folder, os.W_OK):  # noqa: PTH112 - the URL's path is text
        return fail(name, f"{folder} can't be written", "Give this user write permission there.")
    return ok(name, f"embedded engine {version} is installed")


def check_trusted_proxies(settings: Settings) -> Finding:
    """Which peers are trusted to name a visitor's IP address."""
    name = "trusted proxies"
    try:
        networks = settings.read_trusted_proxies()
    except ConfigError as error:
        return fail(name, str(error), "Write networks such as 10.0.0.0/8,::1.")
    if not networks and settings.client_ip_header:
        return warn(name, "none", "List the proxies that send the header client_ip_header; nobody else's is read.")
    if not networks:
        return ok(name, "none: the connecting address counts as the visitor's (if there is a proxy, list it)")
    told = ", ".join(map(str, networks))
    if any(network.prefixlen == 0 for network in networks):
        return warn(name, told, "Any visitor can spoof an IP address: list only your own proxies.")
    return ok(name, told)


def _check_free(name: str, settings: Settings, port: int) -> Finding | None:
    """A finding if nobody listens there, None if somebody does."""
    if port == 0:
        return ok(name, "chosen at start")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, port))
        except (OSError, UnicodeError) as error:
            if _is_listening(settings, port):
                return None
            told = f"can't listen on {settings.host}:{port}: {getattr(error, 'strerror', None) or error}"
            return fail(name, told, "Choose an address of this machine with --host, and a port above 1023.")
    return ok(name, f"{settings.host}:{port} is free; no server runs there")


def _is_listening(settings: Settings, port: int) -> bool:
    try:
        socket.create_connection((dial_host(settings).strip("[]"), port), _TIMEOUT_S).close()
    except (OSError, UnicodeError):
        return False
    return True


def _shows_our_metrics(url: str) -> bool:
    try:
        return "millimetric_journal_bytes" in read_text(url, timeout_s=_TIMEOUT_S)
    except ReadError:
        return False


def _check_clickhouse_server(name: str, url: str) -> Finding:
    import clickhouse_connect

    shown = f"{urlsplit(url).hostname}"  # never the password
    try:
        client = clickhouse_connect.get_client(
            dsn=url, database=None, connect_timeout=_TIMEOUT_S, send_receive_timeout=_TIMEOUT_S, query_retries=0
        )
        version = client.server_version
        client.close()
    except Exception as error:  # noqa: BLE001 - whatever it is, the finding says that it does not work
        reason = "it refuses the user or password" if "AUTHENTICATION" in str(error) else "it does not answer"
        advice = "Start it, or correct --clickhouse-url (MILLIMETRIC_CLICKHOUSE_URL). Events wait in the journal."
        return fail(name, f"{shown}: {reason}", advice)
    return ok(name, f"server {version} at {shown}")


def _read_readiness(settings: Settings) -> dict[str, object]:
    try:
        return read_json(http_url(settings), "/readyz", timeout_s=_TIMEOUT_S)
    except ReadError:
        return {}
