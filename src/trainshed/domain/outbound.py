"""Which addresses the server may call for its users: public ones, and what the operator allows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from trainshed.domain.errors import InvalidInput

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Not for the public though some tables call them global: protocol assignments, 6to4 relays,
#: documentation, benchmarks, reserved.
_NOT_V4 = tuple(
    IPv4Network(n)
    for n in ("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15",
              "240.0.0.0/4")
)  # fmt: skip
#: All of IPv6 that is given to anyone, and in it Teredo and its kin, 6to4 and documentation: each
#: of the first two carries an IPv4 address that nobody checked. NAT64 and mapped lie outside.
_V6 = IPv6Network("2000::/3")
_NOT_V6 = tuple(
    IPv6Network(n) for n in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rules:
    """``networks`` and ``hosts`` are the operator's exceptions; ``own_ports`` this server's."""

    ports: frozenset[int]
    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()
    own_ports: frozenset[int] = frozenset()


def rules(allow: Iterable[str], ports: Iterable[int], own_ports: Iterable[int]) -> Rules:
    """Return the rules; each of ``allow`` is a network (``10.0.0.0/8``), an address or a host name.

    Raises:
        InvalidInput: a network that is none.
    """
    networks: list[Network] = []
    hosts: set[str] = set()
    for text in allow:
        try:
            networks.append(ip_network(text))
        except ValueError:
            if "/" in text or not text.strip():
                raise InvalidInput(
                    f"outbound_allow: {text!r} is no network, address or host name."
                ) from None
            hosts.add(text.lower().rstrip("."))
    return Rules(frozenset(ports), tuple(networks), frozenset(hosts), frozenset(own_ports))


def is_public(address: Address) -> bool:
    """Whether anyone on the internet could be meant, whatever the address is wrapped in."""
    if isinstance(address, IPv4Address):
        known = address.is_global and not address.is_multicast
        return known and not any(address in n for n in _NOT_V4)
    known = address.is_global and address in _V6
    return known and not any(address in n for n in _NOT_V6)


def allowed(rule: Rules, host: str, port: int, address: str, mine: frozenset[str]) -> bool:
    """Whether ``host`` may be called at ``address``; ``mine`` are this machine's own addresses.

    This server itself is never called. What the operator allows may have any port; all else must
    be public, not this machine, and on a listed port. A name cannot allow a link-local address.
    """
    found = ip_address(address.partition("%")[0])
    plain = getattr(found, "ipv4_mapped", None) or found
    local = plain.is_loopback or plain.is_unspecified or str(plain) in mine
    if local and port in rule.own_ports:
        return False
    if any(plain.version == n.version and plain in n for n in rule.networks):
        return True
    if host.lower().rstrip(".") in rule.hosts and not plain.is_link_local:
        return True
    return is_public(found) and not local and port in rule.ports
