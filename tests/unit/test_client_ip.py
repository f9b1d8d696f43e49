from ipaddress import ip_address, ip_network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from millimetric_server.enrich.client_ip import NO_PROXIES, TrustedProxies, client_ip, read_ip
from millimetric_server.enrich.privacy import normalise_ip

_NETWORKS = (ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48"))
_PROXIES = TrustedProxies(_NETWORKS)
_any_text = st.text(st.characters(), max_size=60)
_address_text = st.text('0123456789abcdef.:,[] "=;for', max_size=60)
_HEADERS = ("x-forwarded-for", "forwarded", "cf-connecting-ip")
_headers = st.dictionaries(st.sampled_from(_HEADERS), _any_text | _address_text)
_proxies = st.sampled_from([NO_PROXIES, _PROXIES, *[TrustedProxies(_NETWORKS, name) for name in _HEADERS]])


@given(_any_text | st.ip_addresses().map(str), _headers, _proxies)
def test_client_ip_is_an_address_or_nothing(peer: str, headers: dict[str, str], proxies: TrustedProxies) -> None:
    answer = client_ip(peer, headers, proxies)
    assert answer == normalise_ip(answer)


@given(st.ip_addresses(v=4), st.ip_addresses(), _proxies)
def test_an_untrusted_peer_is_believed_nothing(peer: object, forged: object, proxies: TrustedProxies) -> None:
    assume(ip_address(str(peer)) not in _NETWORKS[0])
    headers = dict.fromkeys(_HEADERS, str(forged)) | {"forwarded": f"for={forged}"}
    assert client_ip(str(peer), headers, proxies) == str(peer)


@pytest.mark.parametrize(("name", "form"), [("x-forwarded-for", "{}"), ("forwarded", "for={}")])
def test_only_the_last_32_hops_are_read(name: str, form: str) -> None:
    proxies = TrustedProxies(_NETWORKS, name)
    hops = [form.format("192.0.2.7"), *[form.format("10.0.0.2")] * 32]
    assert client_ip("10.0.0.1", {name: ", ".join(hops[:32])}, proxies) == "192.0.2.7"
    assert client_ip("10.0.0.1", {name: ", ".join(hops)}, proxies) == "10.0.0.1"


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_an_address_is_read_with_and_without_a_port(address: object, port: int) -> None:
    text = str(address)
    bracketed = f"[{text}]" if ":" in text else text
    wanted = normalise_ip(text)
    assert [read_ip(form) for form in (text, bracketed, f"{bracketed}:{port}", f'"{bracketed}:{port}"')] == [wanted] * 4


@pytest.mark.parametrize(
    "text", ["", "x", "8.8.8.8:", "8.8.8.8:http", "8.8.8.8:65536", "[::1", "[::1]x", "[::1]:-1", "8.8.8"]
)
def test_what_is_no_address_is_not_read(text: str) -> None:
    assert read_ip(text) == ""
