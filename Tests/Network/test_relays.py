# SPDX-License-Identifier: Apache-2.0
"""Relays over UDP, TCP and TLS: the stand-in's own and coturn, used by browsers, by aiortc and by our master."""

import pytest
from aiortc_peers import Worker, watch
from coturn import PASSWORD, USER, Coturn
from nat import Kind
from viewer import wait_for_frames
from programs import wait_for

TRANSPORTS = ["udp", "tcp", "tls"]

PAIR = """async () => {
  const report = await window.kvs.pc.getStats();
  for (const entry of report.values()) {
    if (entry.type !== "transport" || !entry.selectedCandidatePairId) continue;
    const pair = report.get(entry.selectedCandidatePairId);
    const local = report.get(pair.localCandidateId), remote = report.get(pair.remoteCandidateId);
    return {local: local.candidateType, over: local.relayProtocol ?? null, url: local.url ?? null,
            remote: remote.candidateType};
  }
  return null;
}"""


def selected_pair(page):
    return wait_for(lambda: page.evaluate(PAIR), "a selected candidate pair")


def coturn_server(transport):
    return {"urls": [Coturn.url(transport)], "username": USER, "credential": PASSWORD}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_browser_through_coturn(internet, coturn, start_service, start_master, open_page, transport):
    service = start_service()
    start_master(internet.site("camera"), service)
    page = open_page(internet.site("phone", Kind.SYMMETRIC), service, configuration={
        "iceTransportPolicy": "relay", "iceServers": [coturn_server(transport)]})
    wait_for_frames(page, 25)
    pair = selected_pair(page)
    assert (pair["local"], pair["over"]) == ("relay", transport)
    assert coturn.allocations() > 0


def test_a_browser_through_our_own_relay(internet, start_service, start_master, open_page):
    """With what GetIceServerConfig says, and nothing else."""
    service = start_service()
    start_master(internet.site("camera"), service)
    page = open_page(
        internet.site("phone", Kind.SYMMETRIC), service, configuration={"iceTransportPolicy": "relay"})
    wait_for_frames(page, 25)
    assert selected_pair(page)["local"] == "relay"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_browser_through_each_way_of_our_own_relay(
        internet, start_service, start_master, open_page, transport):
    service = start_service()
    start_master(internet.site("camera"), service)
    page = open_page(
        internet.site("phone", Kind.SYMMETRIC), service,
        configuration={"iceTransportPolicy": "relay"}, only_transport=transport)
    wait_for_frames(page, 25)
    pair = selected_pair(page)
    assert (pair["local"], pair["over"]) == ("relay", transport)


def test_an_office_without_udp(internet, start_service, start_master, open_page):
    """The browser is given all of the service's URLs and finds the one that works, by itself."""
    service = start_service()
    start_master(internet.site("camera"), service)
    page = open_page(internet.site("office", Kind.UDP_BLOCKED), service)
    wait_for_frames(page, 25)
    pair = selected_pair(page)
    assert pair["local"] == "relay" and pair["over"] in ("tcp", "tls")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_aiortc_through_each_way_of_our_own_relay(internet, start_service, start_master, monkeypatch, transport):
    service = start_service()
    monkeypatch.setenv("SSL_CERT_FILE", service["caCertificate"])
    start_master(internet.site("camera"), service)
    watched = Worker(
        internet.site("phone", Kind.SYMMETRIC).host,
        watch(service["http"], "camera", transport=transport, relay_only=True)).result()
    assert watched.pair[0] == "relay"


def test_an_office_that_lets_only_the_web_out(internet, start_service, start_master, open_page):
    service = start_service("--turn-tls-port", "443", port=80)
    start_master(internet.site("camera"), service)
    office = internet.site("office", Kind.SYMMETRIC)
    office.allow_only_web()
    page = open_page(office, service)
    wait_for_frames(page, 25)
    pair = selected_pair(page)
    assert (pair["local"], pair["over"]) == ("relay", "tls")
