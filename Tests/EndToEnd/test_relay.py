# SPDX-License-Identifier: Apache-2.0
"""The stand-in's TURN server with clients that others wrote: Chromium, and aioice."""

import asyncio
import os
import ssl
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from aioice import turn

from programs import ACCESS_KEY, SECRET_KEY, Program, wait_for
from viewer import frames_decoded, wait_for_frames, wait_for_state


def path(page):
    """How media comes: the two candidates of the selected pair."""
    found = page.evaluate("kvs.stats()")
    return found["local"], found["remote"]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_browser_that_takes_relays_alone(start_master, open_viewer, transport):
    channel = f"relay-{transport}"
    start_master(channel)
    page = open_viewer(channel, relay_over=transport)
    wait_for_frames(page, 50)
    local, _ = path(page)
    assert (local["type"], local["relayProtocol"]) == ("relay", transport)
    assert "relayed" in page.inner_text("[data-figure=path]")
    assert page.is_checked("#relay")


def test_a_master_that_takes_relays_alone(start_master, open_viewer):
    """The viewer learns no address of the master's host but the relay's."""
    start_master("relayed-master", "--ice-policy", "relay")
    page = open_viewer("relayed-master")
    wait_for_frames(page, 50)
    _, remote = path(page)
    assert remote["type"] == "relay"
    kinds = page.evaluate(
        "async () => [...(await kvs.pc.getStats()).values()].filter((s) => s.type === 'remote-candidate')"
        ".map((s) => s.candidateType)")
    assert set(kinds) == {"relay"}


def test_relays_on_both_sides(start_master, open_viewer):
    start_master("relayed-both", "--ice-policy", "relay", "--relay-spare", "0")
    page = open_viewer("relayed-both", relay_over="udp")
    wait_for_frames(page, 50)
    local, remote = path(page)
    assert (local["type"], remote["type"]) == ("relay", "relay")


def test_the_demo_relays_with_nothing_named(folder, open_viewer):
    """The demo's TURN server knows the demo's own sockets."""
    program = Program(folder, "demo-relay", "demo", "--port", "0", "--turn-port", "0", "--turn-tls-port", "0")
    try:
        page = open_viewer(address=program.ready()["page"], relay_over="udp")
        wait_for_frames(page, 50)
        assert path(page)[0]["type"] == "relay"
    finally:
        program.end()


@pytest.mark.parametrize("relay_over", [None, "udp"])
def test_a_page_that_looks_for_a_new_path_keeps_its_session(start_master, open_viewer, relay_over):
    channel = f"restart-{relay_over}"
    start_master(channel)
    page = open_viewer(channel, relay_over=relay_over)
    wait_for_frames(page, 25)
    page.evaluate("window.firstConnection = kvs.pc")
    fragment = "kvs.pc.currentRemoteDescription.sdp.match(/a=ice-ufrag:(.*)/)[1]"
    before = page.evaluate(fragment)
    page.evaluate("kvs.restart()")
    wait_for(lambda: page.evaluate(fragment) != before, "the master's answer to the restart")
    wait_for_frames(page, frames_decoded(page) + 50)
    wait_for_state(page, "live")
    assert page.evaluate("kvs.pc === window.firstConnection && kvs.restarts === 1 && kvs.attempts === 1")


def test_a_stand_in_without_relays(folder):
    program = Program(
        folder, "no-turn", "local", "--port", "0", "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY, "--no-turn")
    try:
        ready = program.ready()
        assert "turn" not in ready
        assert ice_servers(ready, "no-turn") == []
    finally:
        program.end()


def ice_servers(service, channel):
    """What GetIceServerConfig says, as boto3 reads it."""
    def client(name):
        return boto3.client(
            name, endpoint_url=service["http"], region_name=service["region"], aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY)
    arn = client("kinesisvideo").create_signaling_channel(ChannelName=channel)["ChannelARN"]
    return client("kinesis-video-signaling").get_ice_server_config(ChannelARN=arn)["IceServerList"]


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_another_turn_client(service, transport):
    """aioice's client sends datagrams of many lengths to an echo and gets each of them back."""
    entry, = ice_servers(service, f"aioice-{transport}")
    host, port = service["turns" if transport == "tls" else "turn"].rsplit(":", 1)
    trust = ssl.create_default_context(cafile=service["caCertificate"]) if transport == "tls" else None
    lengths = range(1, 1200, 7)
    task = echo_through((host, int(port)), entry, "udp" if transport == "udp" else "tcp", trust, lengths)
    # A thread of its own: the browser's driver runs a loop in this one.
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(asyncio.run, task).result() == [True] * len(lengths)


async def echo_through(server, entry, transport, trust, lengths):
    answers = asyncio.Queue()

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data, address):
            answers.put_nowait(data)

    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, address):
            self.transport.sendto(data[::-1], address)

    relay, _ = await turn.create_turn_endpoint(
        Client, server_addr=server, username=entry["Username"], password=entry["Password"], transport=transport,
        ssl=trust)
    echo, _ = await asyncio.get_running_loop().create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    matches = []
    for length in lengths:
        sent = os.urandom(length)
        relay.sendto(sent, echo.get_extra_info("sockname"))
        matches.append(await asyncio.wait_for(answers.get(), 30) == sent[::-1])
    relay.close()
    echo.close()
    return matches
