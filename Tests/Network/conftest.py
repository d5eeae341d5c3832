# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests on the real kernel: networks that exist for one test, and the programs in them."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "EndToEnd"))

from coturn import Coturn  # noqa: E402
from namespaces import missing  # noqa: E402
from network import Internet  # noqa: E402


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
