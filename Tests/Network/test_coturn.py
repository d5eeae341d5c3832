# SPDX-License-Identifier: Apache-2.0
"""The stage itself: two aiortc peers on both sides of it, through coturn or directly. When these fail, the fixtures are
wrong, whatever the tests of our own programs say."""

import asyncio
import queue

import pytest
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from aiortc_peers import Worker, selected_pair
from coturn import PASSWORD, USER, Coturn
from nat import Kind


async def talk(offers, inbox, outbox, urls, relay_only):
    """One peer: sets up, sends a line, waits for the other's, and returns the types of the pair in use."""
    policy = RTCIceTransportPolicy.RELAY if relay_only else RTCIceTransportPolicy.ALL
    servers = [RTCIceServer(urls=[url], username=USER, credential=PASSWORD) for url in urls]
    pc = RTCPeerConnection(RTCConfiguration(iceServers=servers, iceTransportPolicy=policy))
    channel = pc.createDataChannel("line", negotiated=True, id=0)
    opened, heard = asyncio.Event(), asyncio.Event()
    channel.on("open", opened.set)
    channel.on("message", lambda _: heard.set())
    if channel.readyState == "open":
        opened.set()
    try:
        if offers:
            await pc.setLocalDescription(await pc.createOffer())
            outbox.put(pc.localDescription)
            await pc.setRemoteDescription(await asyncio.to_thread(inbox.get, True, 60))
        else:
            await pc.setRemoteDescription(await asyncio.to_thread(inbox.get, True, 60))
            await pc.setLocalDescription(await pc.createAnswer())
            outbox.put(pc.localDescription)
        await asyncio.wait_for(opened.wait(), 15)
        channel.send("hello")
        await asyncio.wait_for(heard.wait(), 15)
        types = selected_pair(pc)
        outbox.put("done")
        await asyncio.to_thread(inbox.get, True, 60)
        return types
    finally:
        await pc.close()


def connect(first, second, urls=(), relay_only=False):
    there, back = queue.Queue(), queue.Queue()
    offering = Worker(first.host, talk(True, back, there, urls, relay_only))
    answering = Worker(second.host, talk(False, there, back, urls, relay_only))
    return offering.result(), answering.result()


@pytest.fixture
def trusted(coturn, monkeypatch):
    """Lets this process believe coturn's certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(coturn.authority))
    return coturn


def test_hosts_on_the_open_internet(internet):
    first, second = internet.site("first"), internet.site("second")
    assert connect(first, second) == (("host", "host"), ("host", "host"))


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_two_symmetric_routers(internet, trusted, transport):
    """No direct way, so the relay carries it, over each transport."""
    first, second = internet.site("first", Kind.SYMMETRIC), internet.site("second", Kind.SYMMETRIC)
    types, _ = connect(first, second, [Coturn.url(transport)])
    assert "relay" in types
    assert trusted.allocations() >= 2


def test_udp_blocked_on_both_sides(internet, trusted):
    first, second = internet.site("first", Kind.UDP_BLOCKED), internet.site("second", Kind.UDP_BLOCKED)
    assert connect(first, second, [Coturn.url("tls")], relay_only=True) == (("relay", "relay"),) * 2
