# SPDX-License-Identifier: Apache-2.0
"""The routers do what their kind says: a probe with two addresses and two ports, as in RFC 5780.

Nothing here waits for something not to come: packets keep their order on this network, so that when the last of a row
has come, what did not come before it was not let through.
"""

import socket

import pytest
from nat import Kind
from network import HOST, PROBE6, PROBES

PORTS = (40001, 40002)
UDP = (socket.AF_INET, socket.SOCK_DGRAM)
TCP = (socket.AF_INET, socket.SOCK_STREAM)
WITH_UDP = [kind for kind in Kind if kind is not Kind.UDP_BLOCKED]


@pytest.fixture
def servers(internet):
    """A UDP socket for each address and port of the probe."""
    opened = {(address, port): internet.socket(*UDP, (address, port)) for address in PROBES for port in PORTS}
    yield opened
    for server in opened.values():
        server.close()


def mappings(client, servers):
    """What each server sees of the client's one socket."""
    seen = {}
    for target, server in servers.items():
        client.sendto(b"?", target)
        seen[target] = server.recvfrom(100)[1]
    return seen


@pytest.mark.parametrize("kind", WITH_UDP, ids=str)
def test_mapping(internet, servers, kind):
    site = internet.site("home", kind)
    client = site.host.socket(*UDP)
    seen = mappings(client, servers)
    assert {address for address, _ in seen.values()} == {site.public4}
    ports = {port for _, port in seen.values()}
    assert len(ports) == (4 if kind is Kind.SYMMETRIC else 1)
    # And the mapping stands: the second time is as the first one.
    assert mappings(client, servers) == seen


@pytest.mark.parametrize("kind", WITH_UDP, ids=str)
def test_filter(internet, servers, kind):
    client = internet.site("home", kind).host.socket(*UDP)
    contacted = (PROBES[0], PORTS[0])
    client.sendto(b"?", contacted)
    _, mapped = servers[contacted].recvfrom(100)
    for target in reversed(servers):
        servers[target].sendto(b"!", mapped)
    arrived = []
    while contacted not in arrived:
        arrived.append(client.recvfrom(100)[1])
    expected = {
        Kind.FULL_CONE: set(servers),
        Kind.ADDRESS_RESTRICTED: {(PROBES[0], port) for port in PORTS},
    }.get(kind, {contacted})
    assert set(arrived) == expected
    # What came unasked did not spoil the mapping.
    if kind is not Kind.SYMMETRIC:
        assert set(mappings(client, servers).values()) == {mapped}


@pytest.mark.parametrize("kind", [Kind.FULL_CONE, Kind.ADDRESS_RESTRICTED], ids=str)
def test_one_port_does_not_open_another(internet, servers, kind):
    """The permission to send belongs to the port that was used, also behind an address-restricted router."""
    host = internet.site("home", kind).host
    first, second = host.socket(*UDP), host.socket(*UDP)
    near, far = (PROBES[0], PORTS[0]), (PROBES[1], PORTS[0])
    first.sendto(b"?", near)
    second.sendto(b"?", far)
    servers[near].recvfrom(100)
    _, mapped = servers[far].recvfrom(100)
    servers[near].sendto(b"unasked", mapped)
    servers[far].sendto(b"asked", mapped)
    assert second.recv(100) == (b"unasked" if kind is Kind.FULL_CONE else b"asked")


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_tcp_goes_out_and_nothing_comes_in(internet, kind):
    site = internet.site("home", kind)
    listener = internet.socket(*TCP, (PROBES[0], PORTS[0]))
    listener.listen()
    client = site.host.socket(*TCP)
    client.connect((PROBES[0], PORTS[0]))
    served, seen = listener.accept()
    served.sendall(b"hello")
    assert client.recv(100) == b"hello"
    assert seen[0] == site.public4
    inside = site.host.socket(*TCP, (HOST, PORTS[1]))
    inside.listen()
    intruder = internet.socket(*TCP, timeout=0.3)
    with pytest.raises(OSError):
        intruder.connect((site.public4, PORTS[1]))


def test_udp_is_blocked_both_ways(internet, servers):
    site = internet.site("office", Kind.UDP_BLOCKED)
    target = (PROBES[0], PORTS[0])
    site.host.socket(*UDP).sendto(b"?", target)
    # TCP takes the same way behind it.
    listener = internet.socket(*TCP, target)
    listener.listen()
    client = site.host.socket(*TCP)
    client.connect(target)
    listener.accept()
    servers[target].setblocking(False)
    with pytest.raises(BlockingIOError):
        servers[target].recvfrom(100)


def test_forgotten_mappings(internet, servers):
    """After the router's restart a reply does not come in any more until the host sends again."""
    site = internet.site("home", Kind.PORT_RESTRICTED)
    client = site.host.socket(*UDP)
    target = (PROBES[0], PORTS[0])
    client.sendto(b"?", target)
    _, mapped = servers[target].recvfrom(100)
    site.forget_mappings()
    servers[target].sendto(b"lost", mapped)
    client.sendto(b"?", target)
    _, mapped = servers[target].recvfrom(100)
    servers[target].sendto(b"found", mapped)
    assert client.recv(100) == b"found"


def test_another_public_address(internet, servers):
    site = internet.site("home", Kind.PORT_RESTRICTED)
    client = site.host.socket(*UDP)
    before = set(mappings(client, servers).values())
    site.renumber("203.0.113.200")
    after = set(mappings(client, servers).values())
    assert {address for address, _ in before} == {"203.0.113.101"}
    assert {address for address, _ in after} == {"203.0.113.200"}


@pytest.mark.parametrize("kind", WITH_UDP, ids=str)
def test_ipv6_is_not_translated_but_guarded(internet, kind):
    site = internet.site("home", kind, ipv4=False, ipv6=True)
    asked = internet.socket(socket.AF_INET6, socket.SOCK_DGRAM, (PROBE6, PORTS[0]))
    unasked = internet.socket(socket.AF_INET6, socket.SOCK_DGRAM, (PROBE6, PORTS[1]))
    client = site.host.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    client.sendto(b"?", (PROBE6, PORTS[0]))
    _, seen = asked.recvfrom(100)
    assert seen[0] == site.public6
    unasked.sendto(b"unasked", seen)
    asked.sendto(b"asked", seen)
    assert client.recv(100) == b"asked"


def test_homes_do_not_see_each_others_private_addresses(internet):
    """Both hosts have the same address; what one sends to it reaches itself and not the other."""
    first, second = internet.site("first", Kind.FULL_CONE), internet.site("second", Kind.FULL_CONE)
    here = first.host.socket(*UDP, ("0.0.0.0", PORTS[0]))
    there = second.host.socket(*UDP, ("0.0.0.0", PORTS[0]))
    here.sendto(b"to myself", (HOST, PORTS[0]))
    assert here.recv(100) == b"to myself"
    here.sendto(b"to you", (second.public4, PORTS[0]))
    assert there.recv(100) == b"to you"
