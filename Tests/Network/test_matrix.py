# SPDX-License-Identifier: Apache-2.0
"""Camera and viewer behind every pair of routers: whatever path there is has to be found.

The routers' own behaviour is proved in test_nat.py, so that a pair that fails here is a fault of the programs.
"""

import pytest
from aiortc import RTCIceServer
from aiortc_peers import Worker, watch
from coturn import PASSWORD, USER, Coturn
from nat import Kind
from viewer import wait_for_frames

OFTEN = {
    (Kind.FULL_CONE, Kind.FULL_CONE), (Kind.ADDRESS_RESTRICTED, Kind.PORT_RESTRICTED),
    (Kind.PORT_RESTRICTED, Kind.PORT_RESTRICTED), (Kind.PORT_RESTRICTED, Kind.SYMMETRIC),
    (Kind.SYMMETRIC, Kind.ADDRESS_RESTRICTED), (Kind.SYMMETRIC, Kind.SYMMETRIC),
    (Kind.SYMMETRIC, Kind.UDP_BLOCKED), (Kind.UDP_BLOCKED, Kind.FULL_CONE), (Kind.UDP_BLOCKED, Kind.UDP_BLOCKED),
}
"""The pairs of the normal run: each kind on each side, and the hard ones."""


def pairs(condition=lambda camera, phone: True, marked=OFTEN):
    """All pairs that fulfil the condition; those that are not marked run with --long."""
    return [
        pytest.param(
            camera, phone, id=f"{camera}-{phone}", marks=[] if (camera, phone) in marked else [pytest.mark.long])
        for camera in Kind for phone in Kind if condition(camera, phone)]


def has_direct_path(camera, phone):
    return phone in camera.is_direct_with


def transport_for(kind):
    return "tcp" if kind is Kind.UDP_BLOCKED else "udp"


@pytest.mark.parametrize("camera, phone", pairs())
def test_with_our_own_relay(internet, start_service, start_master, camera, phone):
    service = start_service()
    start_master(internet.site("camera", camera), service)
    watched = Worker(
        internet.site("phone", phone).host,
        watch(service["http"], "camera", transport=transport_for(phone))).result()
    if not has_direct_path(camera, phone):
        assert "relay" in watched.pair


@pytest.mark.parametrize("camera, phone", pairs(has_direct_path))
def test_without_any_relay(internet, coturn, start_service, start_master, camera, phone):
    """Hole punching alone, with the addresses that a STUN server saw."""
    service = start_service("--no-turn", "--ice-server", Coturn.stun_url())
    start_master(internet.site("camera", camera), service)
    watched = Worker(
        internet.site("phone", phone).host, watch(service["http"], "camera", transport="stun")).result()
    assert "relay" not in watched.pair


def needs_the_cameras_relay(camera, phone):
    return phone is not Kind.UDP_BLOCKED and not has_direct_path(camera, phone)


@pytest.mark.parametrize("camera, phone", pairs(needs_the_cameras_relay))
def test_only_the_camera_has_a_relay(internet, coturn, start_service, start_master, camera, phone):
    """The viewer knows only what address it has. (If it did not, the relay would have no permission for it.)"""
    service = start_service()
    start_master(internet.site("camera", camera), service)
    servers = [RTCIceServer(urls=[Coturn.stun_url()])]
    watched = Worker(
        internet.site("phone", phone).host, watch(service["http"], "camera", servers=servers)).result()
    assert watched.pair[1] == "relay"


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_the_camera_behind_coturn(internet, coturn, start_service, start_master, transport):
    """coturn is what the service hands out; the camera may use nothing but it."""
    service = start_service(
        "--no-turn", "--ice-server", f"{Coturn.url(transport)},{USER},{PASSWORD}")
    kind = Kind.SYMMETRIC if transport == "udp" else Kind.UDP_BLOCKED
    start_master(
        internet.site("camera", kind), service, "--ice-policy", "relay",
        environment={"AWS_KVS_CACERT_PATH": str(coturn.authority)})
    servers = [RTCIceServer(urls=[Coturn.stun_url()])]
    watched = Worker(
        internet.site("phone", Kind.PORT_RESTRICTED).host,
        watch(service["http"], "camera", servers=servers)).result()
    assert watched.pair[1] == "relay"
    assert coturn.allocations() > 0


def test_a_browser_and_a_camera_behind_the_worst_routers(internet, start_service, start_master, open_page):
    service = start_service()
    start_master(internet.site("camera", Kind.SYMMETRIC), service)
    wait_for_frames(open_page(internet.site("office", Kind.UDP_BLOCKED), service), 25)


def test_a_camera_that_may_use_relays_only(internet, start_service, start_master, open_page):
    """What --ice-policy relay is for: the viewer learns no address of the camera's."""
    service = start_service()
    camera = internet.site("camera")
    start_master(camera, service, "--ice-policy", "relay")
    page = open_page(internet.site("phone"), service)
    wait_for_frames(page, 25)
    said = page.evaluate("""async () => {
      const found = [kvs.pc.remoteDescription.sdp];
      for (const entry of (await kvs.pc.getStats()).values())
        if (entry.type === "remote-candidate") found.push(entry.address ?? "");
      return found.join("\\\\n");
    }""")
    assert camera.public4 not in said


def test_offices_that_let_only_the_web_out(internet, start_service, start_master, open_page):
    """On both sides; nothing but TLS to the relay is left."""
    service = start_service("--turn-tls-port", "443", port=80)
    camera, phone = internet.site("camera", Kind.SYMMETRIC), internet.site("phone", Kind.SYMMETRIC)
    camera.allow_only_web()
    phone.allow_only_web()
    start_master(camera, service, environment={"AWS_KVS_CACERT_PATH": service["caCertificate"]})
    wait_for_frames(open_page(phone, service), 25)
