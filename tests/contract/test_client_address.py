"""Whose address an event has, at every door: a browser's own, past trusted proxies; of a backend, the one it names."""

from collections.abc import Iterator

import pytest

from contract.case_files import DOORS
from contract.doors import WireCall
from contract.stage import Stage
from support.server_process import ORIGIN, ServerProcess

_VISITOR = "203.0.113.7"
_OTHER = "203.0.113.8"


@pytest.fixture(scope="module")
def proxied_stage() -> Iterator[Stage]:
    """A server that trusts its own machine to name visitors."""
    with ServerProcess(environ={"MILLIMETRIC_TRUSTED_PROXIES": "127.0.0.0/8,::1"}) as server, Stage(server) as made:
        yield made


@pytest.fixture(scope="module")
def cdn_stage() -> Iterator[Stage]:
    """A server behind a CDN with a header of its own."""
    environ = {
        "MILLIMETRIC_TRUSTED_PROXIES": "127.0.0.0/8,::1",
        "MILLIMETRIC_CLIENT_IP_HEADER": "CF-Connecting-IP",
    }
    with ServerProcess(environ=environ) as server, Stage(server) as made:
        yield made


def hash_addresses(stage: Stage, door: str, key: str, *calls: tuple[dict[str, str], dict[str, str]]) -> list[str]:
    """Track with each of these headers and contexts; returns the ip_hash of each."""
    tenant = stage.registry.create()
    for number, (headers, context) in enumerate(calls):
        request = {"event": f"e{number}", "context": context}
        sent = stage.doors.send(door, WireCall("Track", tenant.keys[key], {"origin": ORIGIN, **headers}, request))
        assert sent.http_status in {None, 0, 200, 202}, sent
    rows = {row["event"]: row.get("ip_hash") or "" for row in stage.read_rows(tenant)}
    return [rows[f"e{number}"] for number in range(len(calls))]


@pytest.mark.parametrize("door", DOORS)
def test_proxies_name_the_visitor_in_either_header(proxied_stage: Stage, door: str) -> None:
    told, forwarded, ported, other, none = hash_addresses(
        proxied_stage,
        door,
        "pk",
        ({"x-forwarded-for": _VISITOR}, {}),
        ({"forwarded": f'for={_OTHER}, for="{_VISITOR}:4711";proto=https, for=127.0.0.9'}, {}),
        ({"x-forwarded-for": f"{_VISITOR}:443", "forwarded": f"for={_OTHER}"}, {}),
        ({"forwarded": f"for={_OTHER}"}, {}),
        ({}, {}),
    )
    assert told == forwarded == ported
    assert len({told, other, none}) == 3


@pytest.mark.parametrize("door", DOORS)
def test_one_header_counts_where_one_is_named(cdn_stage: Stage, door: str) -> None:
    told, alone, unnamed, none = hash_addresses(
        cdn_stage,
        door,
        "pk",
        ({"cf-connecting-ip": _VISITOR, "x-forwarded-for": _OTHER}, {}),
        ({"cf-connecting-ip": _VISITOR}, {}),
        ({"x-forwarded-for": _OTHER, "forwarded": f"for={_OTHER}"}, {}),
        ({}, {}),
    )
    assert told == alone
    assert unnamed == none != told


@pytest.mark.parametrize("door", DOORS)
def test_a_backends_event_has_the_address_that_it_names(proxied_stage: Stage, door: str) -> None:
    own, named, ported, six = hash_addresses(
        proxied_stage,
        door,
        "sk",
        ({"x-forwarded-for": _VISITOR, "forwarded": f"for={_VISITOR}"}, {}),
        ({"x-forwarded-for": _OTHER}, {"ip": _VISITOR}),
        ({}, {"ip": f"{_VISITOR}:443"}),
        ({}, {"ip": "[2001:db8::7]:443"}),
    )
    assert own == ""
    assert named == ported
    assert "" not in {named, six}
    assert named != six


@pytest.mark.parametrize("door", DOORS)
def test_nobody_else_may_name_an_address(stage: Stage, door: str) -> None:
    headers = {"x-forwarded-for": _VISITOR, "forwarded": f"for={_VISITOR}", "cf-connecting-ip": _VISITOR}
    claimed, plain = hash_addresses(stage, door, "pk", (headers, {"ip": _VISITOR}), ({}, {}))
    assert claimed == plain != ""
