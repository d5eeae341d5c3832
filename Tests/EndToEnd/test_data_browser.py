# SPDX-License-Identifier: Apache-2.0
"""Data channels of a browser (dcSCTP) to a master that gives every message back."""

import os
import subprocess
import types

import boto3_contract
import pytest

from data_channels import KINDS, LONG_NAME, SIZES, Lab
from programs import ACCESS_KEY, BINARY, SECRET_KEY, wait_for

LIMIT = 256 * 1024
"""Bytes of the longest message: what Chromium sends at most, and what the master offers."""


@pytest.fixture
def lab(chromium, service, echoing_master):
    """A page that is connected to an echoing master of its own."""
    context = chromium.new_context()
    lab = Lab(context.new_page(), service)
    lab.connect(echoing_master.channel)
    yield lab
    context.close()


def test_every_kind_carries_every_length(lab):
    """Ordered or not, reliable, by retransmissions, by lifetime: text, bytes and nothing come back as they went."""
    ids = {lab.call("exchange", str(kind), kind, SIZES) for kind in KINDS}
    assert len(ids) == 1, "a stream serves again once its channel is closed"


def test_bursts_keep_what_their_channel_promises(lab):
    lengths = [1 + (index * 7919) % 40_000 for index in range(150)]
    for ordered in (True, False):
        lab.call("burst", {"ordered": ordered}, lengths)


def test_the_longest_message_and_one_byte_more(lab):
    found = lab.call("longest")
    assert found["limit"] == LIMIT
    assert found["refusal"] in ("TypeError", "OperationError")


def test_names_of_any_language_and_length(lab):
    for label, protocol in [
        ("", ""), ("Kamera für 世界 🎥", "wetter.beispiel/1"), (LONG_NAME, ""), ("x", LONG_NAME),
    ]:
        lab.call("names", label, protocol)


def test_a_thousand_channels_in_turn(lab):
    """Each is opened, used once and closed; two streams at most serve them all, and nothing stays behind."""
    found = lab.call("turns", 1000)
    assert len(found["ids"]) <= 2
    assert (found["opened"], found["closed"], found["open"]) == (1000, 1000, 1)


def test_many_channels_at_once(lab):
    found = lab.call("crowd", 250)
    assert found["open"] == 1


def test_a_hundred_megabytes_both_ways(lab):
    """They go out and come back at the same time, and each message is compared with what was sent."""
    assert lab.call("bulk", 100 << 20, 64 * 1024) == 100 << 20


def test_small_messages_in_bulk(lab):
    assert lab.call("bulk", 2 << 20, 1024) == 2 << 20


def test_a_channel_is_closed_in_the_middle_of_a_transfer(lab):
    lab.call("closeInTheMiddle")
    assert lab.call("counts")["open"] == 1


def test_a_page_that_leaves_in_the_middle_of_a_transfer(lab, echoing_master):
    """The master says so once and serves the next connection."""
    lab.page.evaluate("void lab.bulk(1 << 30, 65536).catch(() => {})")
    wait_for(lambda: lab.page.evaluate("lab.echoed > 1 << 20"), "a transfer under way")
    lab.reload()
    wait_for(lambda: "the viewer is gone" in echoing_master.log_path.read_text(), "the master's word")
    lab.connect(echoing_master.channel)
    lab.call("names", "after the reload", "")
    log = echoing_master.log_path.read_text()
    assert log.count("the viewer is gone") == 1
    assert " warning " not in log and " error " not in log


def test_pictures_go_on_beside_bulk_data(chromium, service, echoing_master):
    context = chromium.new_context()
    lab = Lab(context.new_page(), service)
    lab.connect(echoing_master.channel, with_video=True)
    wait_for(lambda: lab.call("framesDecoded") >= 25, "pictures before the transfer")
    lab.page.evaluate("() => { lab.bulk(1 << 30, 65536).catch(() => {}); }")
    wait_for(lambda: lab.page.evaluate("lab.echoed > 1 << 20"), "a transfer under way")
    for _ in range(3):
        frames, echoed = lab.call("framesDecoded"), lab.page.evaluate("lab.echoed")
        wait_for(lambda: lab.call("framesDecoded") >= frames + 25, "25 more pictures beside the transfer")
        wait_for(lambda: lab.page.evaluate("lab.echoed") > echoed, "more data beside the pictures")
    context.close()


def test_a_browser_is_the_master(chromium, service):
    """`kvs-webrtc viewer` opens a channel to a page, the page opens one too, and lines go there and back."""
    account = boto3_contract.Service(types.SimpleNamespace(
        endpoint=service["http"], region=service["region"], access_key=ACCESS_KEY, secret_key=SECRET_KEY))
    arn = account.video.create_signaling_channel(ChannelName="browser-master")["ChannelARN"]
    context = chromium.new_context()
    lab = Lab(context.new_page(), service)
    lab.call("serve", account.presigned(account.endpoints(arn, "MASTER")["WSS"], arn))
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "KVS_WEBRTC_"))}
    lines = "".join(f"line {index}, Grüße\n" for index in range(1000))
    result = subprocess.run(
        [BINARY, "viewer", "--channel", "browser-master", "--channel-in", "--channel-out", "--linger", "1",
         "--endpoint-url", service["http"], "--region", service["region"]],
        input=lines, capture_output=True, text=True, timeout=60,
        env=clean | {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY})
    assert (result.returncode, result.stdout) == (0, lines), result.stderr
    assert lab.page.evaluate("lab.own.wasOpen && lab.own.label") == "from the master"
    context.close()
