"""Which addresses may be called (SECURITY 32, 33)."""

from __future__ import annotations

import pytest

from trainshed.domain.errors import InvalidInput
from trainshed.domain.outbound import allowed, rules

PUBLIC = rules([], [80, 443], [8000])
NOBODY: frozenset[str] = frozenset()

INSIDE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "169.254.170.2", "192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8",
    "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::",
    "2002:808:808::1", "2001::1", "2001:0:808:808::1", "2001:db8::1", "100::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "5f00::1", "4000::1",
]  # fmt: skip
OUTSIDE = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001::1"]


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not allowed(PUBLIC, "example.org", 443, address, NOBODY)


@pytest.mark.parametrize("address", OUTSIDE)
def test_what_is_public_is_called_on_listed_ports(address: str) -> None:
    assert allowed(PUBLIC, "example.org", 443, address, NOBODY)
    assert not allowed(PUBLIC, "example.org", 22, address, NOBODY)
    assert not allowed(PUBLIC, "example.org", 443, address, frozenset({address}))


def test_the_operator_may_allow_more() -> None:
    some = rules(["10.0.0.0/8", "Sink.Internal", "127.0.0.1"], [443], [8000])
    assert allowed(some, "x", 9999, "10.2.3.4", NOBODY)
    assert allowed(some, "sink.internal.", 5000, "192.168.0.9", NOBODY)
    assert not allowed(some, "other", 443, "192.168.0.9", NOBODY)
    assert allowed(some, "x", 9000, "127.0.0.1", NOBODY)
    assert allowed(some, "x", 9000, "::ffff:127.0.0.1", NOBODY)
    assert not allowed(some, "x", 443, "127.0.0.2", NOBODY)


def test_this_server_is_never_called() -> None:
    some = rules(["0.0.0.0/0", "::/0", "me"], [8000], [8000])
    for address in ("127.0.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1", "203.0.113.9"):
        assert not allowed(some, "me", 8000, address, frozenset({"203.0.113.9"}))
    assert allowed(some, "me", 8001, "127.0.0.1", NOBODY)


def test_a_name_cannot_allow_the_metadata_service() -> None:
    assert not allowed(rules(["trusted"], [80], []), "trusted", 80, "169.254.169.254", NOBODY)


@pytest.mark.parametrize("text", ["10.0.0.0/99", "", "10.0.0.1/8", "a/b"])
def test_a_wrong_network_stops_the_start(text: str) -> None:
    with pytest.raises(InvalidInput):
        rules([text], [], [])
