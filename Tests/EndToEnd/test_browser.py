# SPDX-License-Identifier: Apache-2.0
"""Chromium on the viewer page against the real stand-in and the real master."""

import re

import pytest

from programs import wait_for
from viewer import frames_decoded, statistics, wait_for_frames, wait_for_state


def test_picture_and_sound_arrive(start_master, open_viewer):
    """Frames keep coming past 100, at 1280x720, with sound, over GCM, and nothing is lost for good."""
    start_master("picture")
    page = open_viewer("picture")
    found = wait_for_frames(page, 101)
    assert (found["video"]["frameWidth"], found["video"]["frameHeight"]) == (1280, 720)
    assert found["state"] == "live"
    assert found["transport"]["dtlsState"] == "connected"
    assert "GCM" in found["transport"]["srtpCipher"]
    assert "h264" in page.evaluate(
        "async () => { for (const s of (await kvs.pc.getStats()).values())"
        " if (s.type === 'codec' && s.mimeType.startsWith('video/')) return s.mimeType.toLowerCase(); return ''; }")
    wait_for(lambda: statistics(page)["audio"]["totalAudioEnergy"] > 0.01, "sound that is not silence")
    last = wait_for_frames(page, found["video"]["framesDecoded"] + 25)
    assert last["video"]["packetsLost"] == 0 and last["audio"]["packetsLost"] == 0


def test_five_viewers_at_once(start_master, open_viewer):
    start_master("five")
    pages = [open_viewer("five") for _ in range(5)]
    for page in pages:
        wait_for_frames(page, 25)
    before = [frames_decoded(page) for page in pages]
    for page, count in zip(pages, before):
        wait_for_frames(page, count + 25)


def test_a_viewer_leaves_and_returns(start_master, open_viewer):
    start_master("return")
    page = open_viewer("return")
    wait_for_frames(page, 25)
    page.goto("about:blank")
    page.go_back()
    wait_for_frames(page, 25)


def test_one_beyond_the_limit_is_told_so(start_master, open_viewer):
    """The page shows that the camera is full, and the log says it once."""
    master = start_master("full", "--max-viewers", "1")
    first = open_viewer("full")
    wait_for_frames(first, 10)
    second = open_viewer("full")
    wait_for_state(second, "full")
    assert "full" in second.inner_text("body").lower()
    wait_for_frames(first, frames_decoded(first) + 10)
    assert master.log_path.read_text().count("--max-viewers") == 1


def test_the_twelve_durations_are_printed(start_master, open_viewer, monkeypatch):
    """The C application's switch works; the lines are there as soon as the viewer has gone, also in a file."""
    monkeypatch.setenv("METRIC_PRINT_ENABLED", "1")
    master = start_master("metrics")
    page = open_viewer("metrics")
    wait_for_frames(page, 10)
    page.goto("about:blank")
    wait_for(lambda: master.log_path.read_text().count("Duration of ") == 12, "twelve lines")
    for step in ("Gather ICE Host Candidate", "Find Peer-To-Peer Connection", "DTLS Handshaking", "First Frame"):
        assert re.search(f"Duration of {step}: [0-9]+[.][0-9] ms", master.log_path.read_text()), step


@pytest.mark.parametrize("ending", ["interrupt", "kill"])
def test_the_page_recovers_from_a_master_that_ended(start_master, open_viewer, ending):
    """Ended by Ctrl-C or by kill -9 and started again: the page comes back by itself."""
    channel = f"recover-{ending}"
    master = start_master(channel)
    page = open_viewer(channel)
    wait_for_frames(page, 25)
    page.evaluate("window.firstConnection = kvs.pc")
    if ending == "interrupt":
        assert master.interrupt() == 0
    else:
        master.kill()
    start_master(channel)
    wait_for(lambda: page.evaluate("kvs.pc !== null && kvs.pc !== window.firstConnection"), "a new connection")
    wait_for_frames(page, 25)
    wait_for_state(page, "live")


def test_viewer_before_master(start_master, open_viewer):
    """A page that was opened first starts when the camera comes."""
    start_master("early").interrupt()
    page = open_viewer("early")
    start_master("early")
    wait_for_frames(page, 10)
