from __future__ import annotations

import json
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from millimetric_server.enrich.client_ip import TrustedProxies, client_ip
from millimetric_server.enrich.identity import derive_daily_anonymous_id, derive_session_id, derive_user_anonymous_id
from millimetric_server.enrich.privacy import hash_ip
from millimetric_server.enrich.redaction import redact_url
from millimetric_server.enrich.user_agent import ClientHints, Device, describe_user_agent

_FOLDER = Path(__file__).parent
_FILES = ("client_ips", "identities", "ip_hashes", "redactions", "session_ids", "user_agents")

Row = dict[str, Any]


def _load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text("utf-8"))
    return document


def _each(name: str, key: str = "rows") -> pytest.MarkDecorator:
    rows = _load(name)[key]
    return pytest.mark.parametrize("row", rows, ids=[row["name"].replace(" ", "_") for row in rows])


@pytest.mark.parametrize("name", _FILES)
def test_file_matches_its_schema(name: str) -> None:
    schema = json.loads((_FOLDER / f"{name}.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(_load(name))


@pytest.mark.parametrize("name", _FILES)
def test_names_in_a_file_are_unique(name: str) -> None:
    names = [row["name"] for rows in _load(name).values() for row in rows]
    assert sorted(names) == sorted(set(names))


@_each("user_agents")
def test_user_agent(row: Row) -> None:
    hints = ClientHints(**row.get("hints", {}))
    wanted = Device(row.get("device_type", ""), row.get("browser", ""), row.get("os", ""), row.get("is_bot", False))
    assert describe_user_agent(row["user_agent"], hints) == wanted


@_each("redactions")
def test_redaction(row: Row) -> None:
    assert redact_url(row["url"], frozenset(row.get("kept", ()))) == row["stored"]


@_each("ip_hashes")
def test_ip_hash(row: Row) -> None:
    day = datetime.fromisoformat(row["received_at"]).astimezone(UTC).strftime("%Y-%m-%d")
    assert day == row["day"]
    assert hash_ip(row["ip"], bytes.fromhex(row["salt"]), day) == row["ip_hash"]


@_each("session_ids")
def test_session_id(row: Row) -> None:
    since_1970 = datetime.fromisoformat(row["timestamp"]) - datetime(1970, 1, 1, tzinfo=UTC)
    timestamp_us = (since_1970.days * 86_400 + since_1970.seconds) * 1_000_000 + since_1970.microseconds
    assert derive_session_id(row["anonymous_id"], timestamp_us) == row["session_id"]


@_each("identities", "users")
def test_user_identity(row: Row) -> None:
    key = bytes.fromhex(row["identity_key"])
    assert derive_user_anonymous_id(key, row["project_id"], row["user_id"]) == row["anonymous_id"]


@_each("identities", "daily")
def test_daily_identity(row: Row) -> None:
    salt = bytes.fromhex(row["salt"])
    derived = derive_daily_anonymous_id(salt, row["day"], row["project_id"], row["ip"], row["user_agent"])
    assert derived == row["anonymous_id"]


@_each("client_ips")
def test_client_ip(row: Row) -> None:
    header = row.get("header", "")
    sent = {
        "x-forwarded-for": row.get("forwarded_for", ""),
        "forwarded": row.get("forwarded", ""),
    }
    headers = {name: value for name, value in sent.items() if value}
    if row.get("header_value"):
        headers[header] = row["header_value"]
    proxies = TrustedProxies(tuple(map(ip_network, row["trusted"])), header)
    assert client_ip(row["peer"], headers, proxies) == row["client_ip"]
