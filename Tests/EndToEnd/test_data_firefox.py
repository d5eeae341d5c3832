# SPDX-License-Identifier: Apache-2.0
"""Data channels of Firefox, where the machine has one, to a master that gives every message back."""

import pytest

from data_channels import KINDS, LONG_NAME, SIZES, Lab
from firefox import EXECUTABLE, Firefox

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="there is no Firefox")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Firefox(tmp_path_factory.mktemp("firefox"))
    yield browser
    browser.end()


@pytest.fixture
def lab(browser, service, echoing_master):
    lab = Lab(browser, service)
    lab.connect(echoing_master.channel)
    return lab


def test_every_kind_carries_every_length(lab):
    for kind in KINDS:
        lab.call("exchange", str(kind), kind, SIZES)


def test_the_longest_message_and_one_byte_more(lab):
    assert lab.call("longest") == {"limit": 256 * 1024, "refusal": "TypeError"}


def test_names_of_any_language_and_length(lab):
    for label, protocol in [("", ""), ("Kamera für 世界 🎥", "wetter.beispiel/1"), (LONG_NAME, "")]:
        lab.call("names", label, protocol)


def test_channels_in_turn_and_many_at_once(lab):
    assert len(lab.call("turns", 100)["ids"]) <= 2
    lab.call("crowd", 100)


def test_bulk_both_ways(lab):
    assert lab.call("bulk", 20 << 20, 64 * 1024) == 20 << 20


def test_a_channel_is_closed_in_the_middle_of_a_transfer(lab):
    lab.call("closeInTheMiddle")
