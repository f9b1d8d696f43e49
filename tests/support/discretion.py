"""What a server's log must never hold, whoever has called it: keys, addresses, faults."""

import re
from collections.abc import Iterable

_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|::1")
_LISTENING = "gRPC on 127.0.0.1:"
_PREFIX_CHARS = 17  # kind, environment and the key's id, which the log may name: sk_live_0123abcd_


def find_indiscretions(log: str, keys: Iterable[str]) -> list[str]:
    """The lines that hold a key's secret, an address, or the trace of a fault, each behind what it holds."""
    secrets = {key[_PREFIX_CHARS:] for key in keys}
    leaked = [secret for secret in secrets if secret and secret in log]
    return [f"{what}: {line}" for line in log.splitlines() if (what := _judge(line, leaked))]


def _judge(line: str, leaked: list[str]) -> str:
    if any(secret in line for secret in leaked):
        return "a key"
    if _ADDRESS.search(line) and _LISTENING not in line:
        return "an address"
    return "a fault" if " ERROR " in line or line.startswith("Traceback") else ""
