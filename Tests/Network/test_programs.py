# SPDX-License-Identifier: Apache-2.0
"""The real programs on the tests' Internet, where no router or an easy one is in the way."""

import pytest
from aiortc_peers import Worker, watch
from nat import Kind
from viewer import wait_for_frames


def test_public_peers_see_each_other(internet, start_service, start_master):
    service = start_service("--no-turn")
    start_master(internet.site("camera"), service)
    watched = Worker(internet.site("phone").host, watch(service["http"], "camera")).result()
    assert watched.pair == ("host", "host")


def test_a_browser_on_the_open_internet(internet, start_service, start_master, open_page):
    service = start_service()
    start_master(internet.site("camera"), service)
    wait_for_frames(open_page(internet.site("phone"), service), 25)


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_a_camera_without_a_router(internet, start_service, start_master, kind):
    """The viewer's side alone has to find the way: through its router, or out over TCP to a relay."""
    service = start_service()
    start_master(internet.site("camera"), service)
    transport = "tcp" if kind is Kind.UDP_BLOCKED else "udp"
    watched = Worker(internet.site("phone", kind).host, watch(service["http"], "camera", transport=transport)).result()
    if kind is Kind.UDP_BLOCKED:
        assert watched.pair[0] == "relay"
