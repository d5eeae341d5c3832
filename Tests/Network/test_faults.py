# SPDX-License-Identifier: Apache-2.0
"""What happens to a running call when the network changes under it. Browsers watch, because they say what they lost."""

import time

import pytest
from nat import Kind
from network import Link
from programs import wait_for
from viewer import frames_decoded, statistics, wait_for_frames

RECOVERY_SECONDS = 3
"""How long media may rest after a change that the program is told of."""

CONSENT_SECONDS = 6
"""How long until the next check of consent shows the other side where packets come from (RFC 7675 §5.1: 4 to 6 s)."""

REFUSALS = {
    "dropped by a filter":
        "nft add table ip f; nft add chain ip f o '{ type filter hook output priority 0; }'; "
        "nft add rule ip f o ip daddr %s drop",
    "no route": "ip route add unreachable %s",
    "rejected by a filter":
        "nft add table ip f; nft add chain ip f o '{ type filter hook output priority 0; }'; "
        "nft add rule ip f o ip daddr %s reject with icmp type admin-prohibited",
    "a forbidding route": "ip route add prohibit %s",
    "a dead route": "ip route add blackhole %s",
}


def missed(page):
    """What did not come: packets of both kinds, and how often the browser asked for one again."""
    found = statistics(page)
    return [found["video"]["packetsLost"], found["audio"]["packetsLost"], found["video"]["nackCount"]]


def remember_connection(page):
    page.evaluate("window.rememberedConnection = kvs.pc")


def is_same_connection(page):
    return page.evaluate("window.rememberedConnection === kvs.pc")


def wait_for_stillness(page, samples=10):
    """Waits until the picture has not changed for so many looks, which are 50 ms apart at least."""
    seen = []

    def is_still():
        seen.append(frames_decoded(page))
        return len(seen) >= samples and len(set(seen[-samples:])) == 1
    wait_for(is_still, "the picture stands still")


def recover(page, seconds=RECOVERY_SECONDS):
    """Waits until the picture moves again after a change, in the same connection, and not later than it should."""
    before = frames_decoded(page)
    changed = time.monotonic()
    # What was under way may still come; a whole second of pictures is more than that.
    wait_for_frames(page, before + 25)
    recovered = time.monotonic() - changed - 1
    assert is_same_connection(page)
    print(f"recovered after {recovered:.1f} s")
    assert recovered < seconds


def wait_for_more_frames(page, count=25):
    return wait_for_frames(page, frames_decoded(page) + count)


@pytest.mark.parametrize("refusal", [
    refusal if number < 2 else pytest.param(refusal, marks=pytest.mark.long)
    for number, refusal in enumerate(REFUSALS)])
def test_what_the_kernel_refuses_to_send_to_one_viewer_costs_the_others_nothing(
        internet, start_service, start_master, open_page, refusal):
    """T45: the system call fails for one address, before the call and in its midst; the socket serves all."""
    service = start_service("--no-turn")
    camera = internet.site("camera")
    start_master(camera, service)
    refused, other = internet.site("refused"), internet.site("other")
    watching, lost = open_page(other, service), open_page(refused, service)
    wait_for_frames(watching, 25)
    wait_for_frames(lost, 25)
    last, before = frames_decoded(lost), missed(watching)
    camera.host.run("sh", "-ec", REFUSALS[refusal] % refused.public4)
    wait_for_more_frames(watching)
    # One that comes afterwards is refused from its first check on.
    late = open_page(refused, service)
    wait_for_more_frames(watching, 50)
    assert missed(watching) == before
    assert frames_decoded(late) == 0
    assert frames_decoded(lost) <= last + 25
    # And a new viewer elsewhere is served by the same socket.
    wait_for_frames(open_page(internet.site("new"), service), 25)


def test_a_camera_that_moves_to_another_address(internet, start_service, start_master, open_page):
    """As a laptop that changes its network: the call goes on, in the same connection."""
    service = start_service()
    camera = internet.site("camera")
    start_master(camera, service)
    page = open_page(internet.site("phone"), service)
    wait_for_frames(page, 50)
    remember_connection(page)
    camera.renumber("203.0.113.200")
    recover(page)


def test_a_provider_that_changes_the_public_address(internet, start_service, start_master, open_page):
    """Behind the router nobody is told: only the other side sees that the packets come from elsewhere."""
    service = start_service()
    camera = internet.site("camera", Kind.PORT_RESTRICTED)
    start_master(camera, service)
    page = open_page(internet.site("phone"), service)
    wait_for_frames(page, 50)
    remember_connection(page)
    camera.renumber("203.0.113.200")
    recover(page, CONSENT_SECONDS + RECOVERY_SECONDS)


@pytest.mark.parametrize("cut", ["unplugged", "taken down"])
def test_a_link_that_goes_down_and_comes_up(internet, start_service, start_master, open_page, cut):
    service = start_service()
    camera = internet.site("camera")
    start_master(camera, service)
    page = open_page(internet.site("phone"), service)
    wait_for_frames(page, 50)
    remember_connection(page)
    camera.unplug() if cut == "unplugged" else camera.host.ip("link set wan down")
    wait_for_stillness(page)
    camera.plug() if cut == "unplugged" else camera.host.ip("link set wan up", *camera.routes)
    recover(page)


def test_a_call_over_a_bad_link(internet, start_service, start_master, open_page):
    """Delay, jitter, loss in bursts, packets out of order and twice: the picture comes, and what was lost came again."""
    service = start_service()
    bad = "delay=40ms jitter=10ms loss=burst:2%:2 reorder=1%:15ms duplicate=1%"
    camera = internet.site("camera", Kind.PORT_RESTRICTED, link=Link(("--both", bad)))
    start_master(camera, service)
    page = open_page(internet.site("phone"), service)
    found = wait_for_frames(page, 100)
    link = camera.link.statistics()["forth"]
    assert min(link["losses"], link["reordered"], link["duplicated"]) > 0
    assert found["video"]["nackCount"] > 0
    assert found["video"]["retransmittedPacketsReceived"] > 0
    assert found["video"]["framesDecoded"] > 0.9 * found["video"]["framesReceived"]
