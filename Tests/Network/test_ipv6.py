# SPDX-License-Identifier: Apache-2.0
"""Viewers with IPv6 only, as on many a mobile network."""

import pytest
from aiortc_peers import Worker, watch
from coturn import PASSWORD, USER, Coturn
from nat import Kind
from network import COTURN6, SERVICE, SERVICE6
from viewer import wait_for_frames

OVER_IPV4 = f"http://{SERVICE}:8080"
OVER_IPV6 = f"http://[{SERVICE6}]:8080"


@pytest.fixture
def service(start_service):
    """The stand-in on all addresses of the Internet's servers, of both families."""
    return start_service("--advertise-address", f"{SERVICE},{SERVICE6}", host="::")


def test_both_have_ipv6_only(internet, service, start_master):
    start_master(internet.site("camera", ipv4=False, ipv6=True), {**service, "http": OVER_IPV6})
    watched = Worker(internet.site("phone", ipv4=False, ipv6=True).host, watch(OVER_IPV6, "camera")).result()
    assert watched.pair == ("host", "host")


@pytest.mark.parametrize("kind", [Kind.FULL_CONE, Kind.SYMMETRIC], ids=str)
def test_guarded_homes_need_no_relay(internet, service, start_master, kind):
    """What a firewall lets out, it lets back in; there is no translation to get around."""
    camera = internet.site("camera", kind, ipv4=False, ipv6=True)
    start_master(camera, {**service, "http": OVER_IPV6})
    phone = internet.site("phone", kind, ipv4=False, ipv6=True)
    watched = Worker(phone.host, watch(OVER_IPV6, "camera")).result()
    assert watched.pair[0] != "relay"


@pytest.fixture
def open_phone(internet, service, open_page):
    """A browser on the open Internet that has IPv6 only."""
    def open_with(**options):
        site = internet.site("phone", ipv4=False, ipv6=True)
        return open_page(site, {**service, "page": f"{OVER_IPV6}/"}, **options)
    return open_with


def test_a_browser_with_ipv6_only_and_a_guarded_camera_with_both(
        internet, service, coturn, start_master, open_phone):
    """The browser hides its address behind a name; the camera learns it from what a STUN server saw."""
    start_master(internet.site("camera", Kind.SYMMETRIC, ipv6=True), {**service, "http": OVER_IPV4})
    wait_for_frames(open_phone(configuration={"iceServers": [{"urls": [Coturn.stun_url(COTURN6)]}]}), 25)


def test_a_browser_with_ipv6_only_and_a_camera_with_ipv4_only(internet, service, coturn, start_master, open_phone):
    """Only a relay speaks to both: the phone reaches it over IPv6 and has an IPv4 address there."""
    start_master(internet.site("camera"), {**service, "http": OVER_IPV4})
    wait_for_frames(open_phone(configuration={"iceServers": [
        {"urls": [Coturn.url("udp", COTURN6)], "username": USER, "credential": PASSWORD}]}), 25)


def test_the_service_names_relays_of_both_families(internet, service, start_master, open_phone):
    """The same with what the service itself hands out."""
    start_master(internet.site("camera"), {**service, "http": OVER_IPV4})
    wait_for_frames(open_phone(), 25)
