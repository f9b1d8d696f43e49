"""Origins: the one way to write them, and which request matches which entry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millimetric_server.control.origins import matches_origin, normalise_origin

LIST = tuple(
    normalise_origin(entry)
    for entry in (
        "https://example.com",
        "http://localhost:3000",
        "https://*.wild.example",
        "https://*.ported.example:8443",
        "https://bücher.de",
        "http://[::1]:8080",
        "capacitor://localhost",
    )
)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("https://example.com", "https://example.com"),
        ("  HTTPS://Example.COM ", "https://example.com"),
        ("https://example.com:443", "https://example.com"),
        ("http://example.com:080", "http://example.com"),
        ("http://example.com:443", "http://example.com:443"),
        ("https://example.com:65535", "https://example.com:65535"),
        ("https://*.Example.com:443", "https://*.example.com"),
        ("https://bücher.de", "https://xn--bcher-kva.de"),
        ("https://*.BÜCHER.de", "https://*.xn--bcher-kva.de"),
        ("https://例え.テスト", "https://xn--r8jz45g.xn--zckzah"),
        ("https://my_app.example.com", "https://my_app.example.com"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[0:0::1]:80", "http://[::1]"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("chrome-extension://ABCDEFGH", "chrome-extension://abcdefgh"),
        ("capacitor://localhost:443", "capacitor://localhost:443"),
    ],
)
def test_an_origin_has_one_form_and_that_form_stays(text: str, normal: str) -> None:
    assert normalise_origin(text) == normal
    assert normalise_origin(normal) == normal


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("null", "sandboxed"),
        ("", "not an origin"),
        ("*", "not an origin"),
        ("example.com", "write scheme://host"),
        ("https://", "not an origin"),
        ("https://example.com/", "nothing after it"),
        ("https://example.com/path", "nothing after it"),
        ("https://example.com?x", "not an origin"),
        ("https://example.com#x", "not an origin"),
        ("https://user@example.com", "not an origin"),
        ("https://example.com\\x", "not an origin"),
        ("https://exa mple.com", "not an origin"),
        ("https://exa\u3000mple.com", "not a host name"),
        ("http\u017f://example.com", "not an origin"),
        ("https://example.com:", "not an origin"),
        ("https://example.com:x", "not an origin"),
        ("https://example.com:0", "Port 0"),
        ("https://example.com:65536", "Port 65536"),
        ("https://*", "not an origin"),
        ("https://www.*.com", "not an origin"),
        ("https://*.*.example.com", "not an origin"),
        ("https://\uff0a.example.com", "not a host name"),
        ("https://%2a.example.com", "not an origin"),
        ("https://.example.com", "not a host name"),
        ("https://a..example.com", "not a host name"),
        ("https://xn--zzzz.com", "not a host name"),
        ("https://example.com\0", "not an origin"),
        ("https://\ud800.com", "not a host name"),
        ("https://[::g]", "not an origin"),
        ("https://[:::]", "not a host name"),
        ("https://*.127.0.0.1", "no subdomains"),
        ("https://*.[::1]", "no subdomains"),
        ("https://" + "a" * 300, "at most 300"),
    ],
    ids=ascii,
)
def test_what_is_not_an_origin_is_refused_with_a_sentence(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        normalise_origin(text)
    assert str(caught.value)[-1] == "."


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.com",
        "https://EXAMPLE.com",
        "HTTPS://example.com:443",
        "http://localhost:3000",
        "https://a.wild.example",
        "https://a.b.c.wild.example",
        "https://A.WILD.example:443",
        "https://a.ported.example:8443",
        "https://xn--bcher-kva.de",
        "https://bücher.de",
        "http://[::1]:8080",
        "capacitor://localhost",
    ],
)
def test_these_are_on_the_list(origin: str) -> None:
    assert matches_origin(origin, LIST)


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "NULL",
        "*",
        "example.com",
        "http://example.com",
        "https://example.com:8443",
        "https://www.example.com",
        "https://example.com.",
        "https://example.com/",
        "https://example.com.evil.example",
        "https://evil.example#example.com",
        "https://user@example.com",
        " https://example.com",
        "http://localhost",
        "http://localhost:3001",
        "https://wild.example",
        "https://*.wild.example",
        "https://\uff0a.wild.example",
        "https://.wild.example",
        "https://a..wild.example",
        "https://evilwild.example",
        "https://a.wild.example:8443",
        "https://a.wild.example.evil.example",
        "http://a.wild.example",
        "https://a.ported.example",
        "https://ported.example:8443",
        "https://a.wild.example https://example.com",
        "https://example.com\0",
        "https://\ud800.wild.example",
        "https://" + "a" * 1_000_000 + ".wild.example",
    ],
    ids=lambda origin: ascii(origin)[:40],
)
def test_these_are_not_on_the_list(origin: str | None) -> None:
    assert not matches_origin(origin, LIST)


def test_nothing_is_on_an_empty_list_and_null_on_none() -> None:
    assert not matches_origin("https://example.com", ())
    assert not matches_origin("null", ("null",))


@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_matching_never_raises(text: str) -> None:
    assert matches_origin(text, LIST) in {True, False}
    assert matches_origin("https://" + text, LIST) in {True, False}


@given(st.text(alphabet="*.:/[]#@%aA1-é\uff0a\u3002", max_size=12))
def test_what_normalises_is_stable_and_matches_itself_unless_a_wildcard(text: str) -> None:
    try:
        normal = normalise_origin("https://" + text)
    except ValueError:
        return
    assert normalise_origin(normal) == normal
    assert matches_origin(normal, (normal,)) is not normal.startswith("https://*.")
