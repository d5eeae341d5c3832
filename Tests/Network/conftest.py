# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests on the real kernel: networks that exist for one test, and the programs in them."""

import json
import pathlib
import sys

import pytest
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "EndToEnd"))

from coturn import Coturn  # noqa: E402
from namespaces import missing  # noqa: E402
from network import SERVICE, Internet  # noqa: E402
from programs import ACCESS_KEY, SECRET_KEY, Program  # noqa: E402

CHROMIUM = "/usr/bin/chromium"

OVERRIDE = """(overrides, transport) => {
  const wayOf = (url) => url.startsWith("turns:") ? "tls" : url.split("transport=")[1] ?? "udp";
  const Native = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Native {
    constructor(configuration) {
      const changed = {...configuration, ...overrides};
      if (transport) {
        changed.iceServers = changed.iceServers.map((server) => ({
          ...server, urls: [server.urls].flat().filter((url) => url.startsWith("turn") && wayOf(url) === transport),
        })).filter((server) => server.urls.length > 0);
      }
      super(changed);
    }
  };
}"""


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="all pairs of NAT kinds, not a selection")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: runs with --long only")


def pytest_collection_modifyitems(config, items):
    reason = missing()
    for item in items:
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
        elif item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="runs with --long"))


@pytest.fixture
def internet():
    made = Internet()
    yield made
    made.close()


@pytest.fixture
def coturn(internet, tmp_path):
    running = Coturn(tmp_path, internet)
    yield running
    running.close()


@pytest.fixture
def start_program(tmp_path):
    """Starts programs in namespaces, and ends those that the test left running, the last one first."""
    running = []

    def start(namespace, name, *arguments, environment=None):
        program = Program(
            tmp_path, f"{name}-{len(running)}", name, *arguments, environment=environment, launcher=namespace.launcher)
        running.append(program)
        return program

    yield start
    for program in reversed(running):
        program.end()


@pytest.fixture
def start_service(internet, start_program):
    """Starts the stand-in among the Internet's servers and returns what its ready file says."""
    def start(*arguments, host=SERVICE, port=8080):
        return start_program(
            internet, "local", "--host", host, "--port", str(port), "--access-key", ACCESS_KEY,
            "--secret-key", SECRET_KEY, *arguments).ready()
    return start


@pytest.fixture
def start_master(start_program):
    """Starts a master at a site, and waits until the service has it."""
    def start(site, service, *arguments, channel="camera", environment=None):
        master = start_program(
            site.host, "master", "--channel", channel, "--create-channel", "--endpoint-url", service["http"],
            "--region", service["region"], *arguments, environment=environment)
        assert master.ready()["state"] == "connected"
        return master
    return start


@pytest.fixture(scope="session")
def playwright():
    with sync_playwright() as running:
        yield running


@pytest.fixture
def open_page(playwright, tmp_path):
    """Opens the viewer page in a browser at a site."""
    browsers = []

    def open_at(site, service, channel="camera", configuration=None, only_transport=None):
        """`configuration` overrides what the page gives to RTCPeerConnection; of the servers' URLs only those for
        `only_transport` (udp, tcp or tls) are left."""
        program = tmp_path / f"chromium-{len(browsers)}"
        program.write_text(f'#!/bin/sh\nexec {" ".join(site.host.launcher)} {CHROMIUM} "$@"\n')
        program.chmod(0o755)
        browser = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--disable-dev-shm-usage",
                  "--ignore-certificate-errors"])
        browsers.append(browser)
        page = browser.new_page()
        page.add_init_script(f"({OVERRIDE})({json.dumps(configuration or {})}, {json.dumps(only_transport)})")
        page.goto(f"{service['page']}?channel={channel}")
        return page

    yield open_at
    for browser in browsers:
        browser.close()
