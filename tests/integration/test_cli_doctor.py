"""doctor beside a running server, and beside one that is gone."""

import json

from integration.cli_process import run_cli
from support.server_process import ServerProcess


def test_a_running_server_is_found_healthy(server: ServerProcess) -> None:
    server.create_project("examined by doctor")
    code, output, errors = run_cli(server, "doctor", "--json")
    assert code == 0, errors
    checks = {one["check"]: one for one in json.loads(output)["checks"]}
    assert {name for name, one in checks.items() if one["verdict"] == "fail"} == set()
    assert "a Millimetric server answers" in checks["gRPC port"]["told"]
    assert "a Millimetric server answers" in checks["HTTP port"]["told"]
    assert "in use by the running server" in checks["ClickHouse"]["told"]
    assert "wait for ClickHouse" in checks["journal"]["told"]
    assert checks["secrets"]["told"].endswith("mode 0600")


def test_a_broken_set_up_is_told_with_what_to_do(server: ServerProcess) -> None:
    swapped = {
        "MILLIMETRIC_GRPC_PORT": str(server.http_port),
        "MILLIMETRIC_HTTP_PORT": str(server.grpc_port),
        "MILLIMETRIC_CLICKHOUSE_URL": "http://127.0.0.1:9",
        "MILLIMETRIC_GEOIP_DB": "missing.mmdb",
    }
    code, output, errors = run_cli(server, "doctor", "--json", **swapped)
    assert (code, errors) == (1, "")
    failed = {one["check"]: one["advice"] for one in json.loads(output)["checks"] if one["verdict"] == "fail"}
    assert set(failed) == {"gRPC port", "HTTP port", "ClickHouse", "country database"}
    assert all(failed.values())
