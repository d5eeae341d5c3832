# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a stand-in of the service for the whole run, masters and browsers for each test."""

import re

import pytest
from playwright.sync_api import sync_playwright

from programs import ACCESS_KEY, SECRET_KEY, Program

CHROMIUM = "/usr/bin/chromium"

ONLY_RELAYS_OVER = """{
  const wanted = (url) => url.startsWith("turn:") && url.endsWith("transport=%s");
  const narrowed = (configuration) => ({
    ...configuration,
    iceServers: configuration.iceServers.map((server) => ({...server, urls: server.urls.filter(wanted)})),
  });
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(configuration) { super(narrowed(configuration)); }
    setConfiguration(configuration) { super.setConfiguration(narrowed(configuration)); }
  };
}"""
"""Leaves the page's relays one transport: Chromium would choose for itself."""


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="more data and more channels")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: runs with --long only")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="runs with --long"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="session")
def service(folder):
    """The stand-in on free ports, which relays to this host; gives what its ready file says."""
    program = Program(
        folder, "local", "local", "--port", "0", "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY,
        "--turn-port", "0", "--turn-tls-port", "0", "--allow-peer", "127.0.0.0/8")
    try:
        yield program.ready()
    finally:
        program.end()


@pytest.fixture
def start_master(folder, service, request):
    """Starts masters and ends those that the test left running."""
    running = []

    def start(channel, *arguments, wait=True):
        name = f"master-{request.node.name}-{len(running)}"
        program = Program(
            folder, name, "master", "--channel", channel, "--create-channel", "--endpoint-url", service["http"],
            "--region", service["region"], *arguments)
        running.append(program)
        if wait:
            assert program.ready()["state"] == "connected"
        return program

    yield start
    for program in running:
        program.end()


@pytest.fixture
def echoing_master(start_master, request):
    """A master that gives every message of a data channel back; its attribute `channel` is where it is."""
    channel = re.sub("[^a-zA-Z0-9_.-]+", "-", request.node.name)
    master = start_master(channel, "--data-echo")
    master.channel = channel
    return master


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def open_viewer(chromium, service):
    """Opens the viewer page, each in a browser profile of its own."""
    contexts = []

    def open_page(channel=None, relay_over=None, address=None):
        """`relay_over` is udp or tcp: no other way than a relay over it; `address` is another page than the service's."""
        context = chromium.new_context(viewport={"width": 1280, "height": 800})
        contexts.append(context)
        page = context.new_page()
        if relay_over:
            page.add_init_script(ONLY_RELAYS_OVER % relay_over)
        address = address or service["page"] + (f"?channel={channel}" if channel else "")
        page.goto(address + ("&relay=only" if relay_over else ""))
        return page

    yield open_page
    for context in contexts:
        context.close()
