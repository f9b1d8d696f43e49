"""/metrics shows project ids and volumes: it answers on an address of its own or to its token, and to nobody else."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from integration.cli_process import run_cli
from support.clickhouse_server import find_free_port
from support.server_process import ServerProcess

TOKEN = "a-token-for-prometheus"
_FIRST_LINE = b"# HELP"
_METHODS = ("GET", "HEAD", "POST")


@pytest.fixture(scope="module")
def guarded() -> Iterator[ServerProcess]:
    """A server whose metrics are on the public door, behind a token, and nowhere else."""
    environ = {"MILLIMETRIC_METRICS_TOKEN": TOKEN, "MILLIMETRIC_METRICS_ADDRESS": "off"}
    with ServerProcess(environ=environ) as process:
        yield process


def test_the_public_door_does_not_have_it(server: ServerProcess) -> None:
    for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}, {"Host": "127.0.0.1:9464"}):
        answer = httpx.get(f"{server.base_url}/metrics", headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


def test_its_own_address_has_it_and_nothing_else(server: ServerProcess) -> None:
    answer = httpx.get(server.metrics_url)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert answer.content.startswith(_FIRST_LINE)
    assert "millimetric_journal_bytes" in answer.text
    origin = server.metrics_url.removesuffix("/metrics")
    for path in ("/", "/readyz", "/v1/stats", "/metrics/", "/metrics/../v1/stats"):
        assert httpx.get(f"{origin}{path}").status_code == 404
    assert httpx.post(server.metrics_url).status_code == 501
    head = httpx.head(server.metrics_url)
    assert (head.status_code, head.content) == (200, b"")


def test_a_token_opens_it_on_the_public_door(guarded: ServerProcess) -> None:
    url = f"{guarded.base_url}/metrics"
    assert guarded.metrics_port == 0
    for scheme in ("Bearer", "bearer"):
        answer = httpx.get(url, headers={"Authorization": f"{scheme} {TOKEN}"})
        assert answer.status_code == 200
        assert answer.content.startswith(_FIRST_LINE)
    for sent in ("", "Bearer", TOKEN, "Basic abc"):
        answer = httpx.get(url, headers={"Authorization": sent} if sent else {})
        assert (answer.status_code, answer.json()["error"]) == (401, "missing_bearer_token"), sent
    for wrong in (TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\xff\xfe"):
        answer = httpx.get(url, headers={"Authorization": f"Bearer {wrong}".encode("latin-1")})
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_api_key"), wrong


def test_a_key_of_a_project_is_no_token(guarded: ServerProcess) -> None:
    keys = guarded.create_project("curious")
    for key in (keys.public, keys.secret, keys.read):
        answer = httpx.get(f"{guarded.base_url}/metrics", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 401
    assert TOKEN not in guarded.log


def test_a_second_server_of_a_machine_runs_without_it() -> None:
    """Both keep the default address. Another program may have it already, and then neither has."""
    with ExitStack() as stack:
        holder = stack.enter_context(socket.socket())
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # then it is taken already
            holder.bind(("127.0.0.1", 9464))
            holder.listen()
        environ = {"MILLIMETRIC_METRICS_ADDRESS": "127.0.0.1:9464", "MILLIMETRIC_CLICKHOUSE_URL": "http://127.0.0.1:1"}
        process = stack.enter_context(ServerProcess(environ=environ))
        assert process.metrics_port == 0
        assert "can't listen for metrics on 127.0.0.1:9464" in process.log
        assert httpx.get(f"{process.base_url}/healthz").status_code == 200


def test_an_address_that_was_asked_for_must_be_free(server: ServerProcess, tmp_path: Path) -> None:
    taken = f"127.0.0.1:{server.metrics_port}"
    code, _, errors = run_cli(
        server,
        *("serve", "--grpc-port", "0", "--http-port", "0", "--data-dir", str(tmp_path), "--metrics-address", taken),
        MILLIMETRIC_CLICKHOUSE_URL="http://127.0.0.1:1",
    )
    assert code == 1
    assert f"can't listen for metrics on {taken}" in errors
    assert "--metrics-address" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("address", ["9464", "localhost", "127.0.0.1:", "127.0.0.1:port", "127.0.0.1:70000", ":9464"])
def test_an_address_that_is_none_is_told(server: ServerProcess, address: str) -> None:
    code, output, _ = run_cli(server, "doctor", "--json", MILLIMETRIC_METRICS_ADDRESS=address)
    assert code == 1
    assert "MILLIMETRIC_METRICS_ADDRESS must look like" in output


def test_callers_who_say_nothing_do_not_hold_it_up(server: ServerProcess) -> None:
    with ExitStack() as stack:
        for _ in range(15):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.metrics_port), timeout=10))
        assert httpx.get(server.metrics_url).status_code == 200


def test_it_speaks_ipv6() -> None:
    port = find_free_port()
    environ = {"MILLIMETRIC_METRICS_ADDRESS": f"[::1]:{port}", "MILLIMETRIC_CLICKHOUSE_URL": "http://127.0.0.1:1"}
    with ServerProcess(environ=environ) as process:
        assert process.metrics_port == port
        connection = http.client.HTTPConnection("::1", port, timeout=10)
        connection.request("GET", "/metrics")
        assert connection.getresponse().status == 200
        connection.close()


def test_doctor_tells_where_it_is(server: ServerProcess) -> None:
    _, output, _ = run_cli(server, "doctor", "--json", MILLIMETRIC_METRICS_ADDRESS=f"127.0.0.1:{server.metrics_port}")
    assert f"a Millimetric server answers at http://127.0.0.1:{server.metrics_port}/metrics" in output
    _, output, _ = run_cli(server, "doctor", "--json", MILLIMETRIC_METRICS_ADDRESS="off", MILLIMETRIC_METRICS_TOKEN="")
    assert "off: this server can't be monitored" in output
