# SPDX-License-Identifier: Apache-2.0
"""The link emulator between two namespaces: only what holds on a slow machine too is asserted here; the model's
numbers are tested in virtual time in its own package."""

import socket
import time

import pytest
from network import PROBES, Link

UDP = (socket.AF_INET, socket.SOCK_DGRAM)
SERVER = (PROBES[0], 40001)


@pytest.fixture
def ends(internet):
    """Opens both ends of a link with the conditions that a test wants."""
    def open_ends(*conditions, seed=1):
        site = internet.site("far", link=Link(conditions, seed=seed))
        return site.link, site.host.socket(*UDP), internet.socket(*UDP, SERVER)
    return open_ends


def test_a_delay_is_on_both_ways(ends):
    _, client, server = ends("--forth", "delay=40ms", "--back", "delay=20ms")
    started = time.monotonic()
    client.sendto(b"ping", SERVER)
    message, source = server.recvfrom(100)
    assert time.monotonic() - started >= 0.040
    server.sendto(message, source)
    assert client.recv(100) == b"ping"
    assert time.monotonic() - started >= 0.060


def test_the_same_seed_loses_the_same_packets(internet):
    """Two links from one seed, a third from another, with the same packets."""
    survivors = []
    for number, seed in enumerate([5, 5, 6]):
        site = internet.site(f"far{number}", link=Link(("--forth", "loss=30%"), seed=seed))
        client, server = site.host.socket(*UDP), internet.socket(*UDP, (PROBES[0], 41000 + number))
        for index in range(50):
            client.sendto(bytes([index]), server.getsockname())
        while site.link.statistics()["forth"]["packetsReceived"] < 50:
            pass
        site.link.change("both loss=0%")
        client.sendto(b"end", server.getsockname())
        arrived = []
        while arrived[-1:] != [b"end"]:
            arrived.append(server.recv(100))
        survivors.append(arrived)
        assert site.link.statistics()["forth"]["losses"] == 51 - len(arrived)
    assert survivors[0] == survivors[1] != survivors[2]
    assert all(10 < len(arrived) < 50 for arrived in survivors)


def test_a_rate_spaces_packets_out_and_a_full_queue_drops(ends):
    """20 packets of 1,000 bytes of IP at 800 kbit/s are 10 ms each; the queue takes ten of them."""
    link, client, server = ends("--forth", "rate=800kbit queue=10kB")
    started = time.monotonic()
    for _ in range(20):
        client.sendto(bytes(1000 - 28), SERVER)
    while (statistics := link.statistics()["forth"])["packetsReceived"] < 20:
        pass
    assert 0 < statistics["queueDrops"] <= 10
    assert statistics["queueBytesPeak"] <= 10_000
    for _ in range(20 - statistics["queueDrops"]):
        server.recv(2000)
    assert time.monotonic() - started >= 0.010 * (20 - statistics["queueDrops"]) - 0.001


def test_a_schedule_takes_effect_by_itself(ends, tmp_path):
    schedule = tmp_path / "schedule"
    schedule.write_text("0s forth loss=100%\n200ms forth loss=0% # up again\n")
    link, client, server = ends("--schedule", str(schedule))
    server.settimeout(0.02)
    arrived = None
    while arrived is None:
        client.sendto(b"?", SERVER)
        try:
            arrived = server.recv(100)
        except TimeoutError:
            pass
    assert link.statistics()["seconds"] >= 0.2


def test_it_ends_cleanly_and_leaves_no_device(internet):
    site = internet.site("far", link=Link(("--both", "delay=1ms")))
    link = site.link
    link.process.terminate()
    output, _ = link.process.communicate(timeout=10)
    assert link.process.returncode == 0
    assert '"event":"end"' in output
    assert "wan" not in site.host.run("ip", "link")
