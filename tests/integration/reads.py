"""Keys, reasons, and the same figure asked of events, roll-up and sessions."""

import grpc
import httpx
from google.rpc import error_details_pb2, status_pb2

from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until, wait_until_equal


def bearer(key: str) -> dict[str, str]:
    """The Authorization header."""
    return {"Authorization": f"Bearer {key}"}


def wait_for_key(server: ServerProcess, keys: ProjectKeys) -> None:
    """Wait until the running server has noticed the project's keys."""
    url, headers = f"{server.base_url}/v1/stats", bearer(keys.read)
    wait_until(lambda: httpx.get(url, headers=headers).status_code != 401, "the server knows the key")


def wait_for_reads(server: ServerProcess, keys: ProjectKeys) -> None:
    """Wait until the server answers reads: it has made the schema, and is about to take charge of its events."""
    url, headers = f"{server.base_url}/v1/stats", bearer(keys.read)
    wait_until(lambda: httpx.get(url, headers=headers).status_code == 200, lambda: f"reads\n{server.log}")


def count_everywhere(server: ServerProcess, keys: ProjectKeys) -> dict[str, int]:
    """Count the project's events in the events, in the roll-up and in the sessions."""

    def read(route: str, **params: str) -> list[dict[str, int]]:
        answer = httpx.get(
            f"{server.base_url}/v1/{route}",
            params={"from": "2020-01-01", **params},
            headers=bearer(keys.read),
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, int]] = answer.json()["rows"]
        return rows

    return {
        "events": sum(row["value"] for row in read("stats", timezone="Asia/Kolkata")),
        "rollup": sum(row["value"] for row in read("stats")),
        "sessions": sum(row["events"] for row in read("sources", limit="200")),
    }


def wait_until_everywhere(server: ServerProcess, keys: ProjectKeys, count: int) -> None:
    """Wait until the project has so many events, by all figures; as long as they go up."""
    wanted = dict.fromkeys(("events", "rollup", "sessions"), count)
    wait_until_equal(lambda: count_everywhere(server, keys), wanted, lambda: server.log)


def read_reason(error: grpc.RpcError) -> str:
    """The word of ErrorReason, or nothing if it was not our server that failed the call."""
    info = error_details_pb2.ErrorInfo()
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info):
                    return str(info.reason)
    return ""
