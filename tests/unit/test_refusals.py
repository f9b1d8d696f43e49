"""Refused calls pay with tokens of their own, by key and address; the buckets are bounded and nobody else's."""

import pytest

from millimetric_server.control.records import RateLimit
from millimetric_server.shares.refusals import BUCKETS_MAX, TOKEN_BYTES, Refusals, group_address


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def refusals(clock: _Clock) -> Refusals:
    return Refusals(RateLimit(2, 10), clock)


def test_a_burst_is_free_and_then_the_rate_counts(refusals: Refusals, clock: _Clock) -> None:
    assert [refusals.charge("", "192.0.2.1") for _ in range(10)] == [0.0] * 10
    assert 0 < refusals.charge("", "192.0.2.1") <= 0.5
    clock.now += 0.5
    assert refusals.charge("", "192.0.2.1") == 0.0
    assert refusals.charge("", "192.0.2.1") > 0
    clock.now += 60
    assert [refusals.charge("", "192.0.2.1") > 0 for _ in range(11)] == [False] * 10 + [True]


def test_who_goes_on_waits_no_longer_than_who_stops(refusals: Refusals, clock: _Clock) -> None:
    for _ in range(1000):
        refusals.charge("", "192.0.2.1")
    clock.now += 0.5
    assert refusals.charge("", "192.0.2.1") == 0.0


def test_keys_and_addresses_pay_apart(refusals: Refusals) -> None:
    for _ in range(20):
        refusals.charge("01234567", "192.0.2.1")
    assert refusals.is_exhausted("01234567", "192.0.2.1")
    for key, address in [("", "192.0.2.1"), ("89abcdef", "192.0.2.1"), ("01234567", "192.0.2.2")]:
        assert not refusals.is_exhausted(key, address)
        assert refusals.charge(key, address) == 0.0


def test_a_large_body_costs_more(refusals: Refusals) -> None:
    assert refusals.charge("k", "192.0.2.1", 9 * TOKEN_BYTES) == 0.0
    assert refusals.is_exhausted("k", "192.0.2.1")
    assert refusals.charge("k", "192.0.2.2", 100 * TOKEN_BYTES) > 0
    assert refusals.is_exhausted("k", "192.0.2.2")


def test_no_limit_is_no_limit() -> None:
    refusals = Refusals(None)
    assert [refusals.charge("", "192.0.2.1", 10**9) for _ in range(1000)] == [0.0] * 1000
    assert not refusals.is_exhausted("", "192.0.2.1")


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
    ],
)
def test_an_ipv6_caller_is_64_bits(address: str, group: str) -> None:
    assert group_address(address) == group


def test_buckets_are_bounded(refusals: Refusals) -> None:
    for number in range(BUCKETS_MAX + 100):
        refusals.charge("", f"{number}")
    assert len(refusals._full_at) == BUCKETS_MAX
