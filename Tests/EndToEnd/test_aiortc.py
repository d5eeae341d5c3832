# SPDX-License-Identifier: Apache-2.0
"""aiortc as an independent viewer: another ICE, DTLS, SRTP and jitter buffer than a browser's."""

import asyncio

from aiortc import RTCPeerConnection

from aiortc_viewer import run, viewing
from data_channels import connection


async def watch(url, frames):
    pc = RTCPeerConnection()
    counts = {"video": 0, "audio": 0}
    sizes = set()
    done = asyncio.Event()

    async def consume(track):
        while True:
            frame = await track.recv()
            counts[track.kind] += 1
            if track.kind == "video":
                sizes.add((frame.width, frame.height))
            if min(counts.values()) >= frames:
                done.set()

    tasks = []
    pc.on("track", lambda track: tasks.append(asyncio.ensure_future(consume(track))))
    pc.addTransceiver("video", direction="recvonly")
    pc.addTransceiver("audio", direction="recvonly")
    try:
        async with viewing(url, pc):
            await asyncio.wait_for(done.wait(), 60)
    finally:
        for task in tasks:
            task.cancel()
    return counts, sizes


def test_aiortc_sees_and_hears(start_master, service):
    start_master("aiortc")
    counts, sizes = run(watch(connection(service, "aiortc")["url"], 50))
    assert counts["video"] >= 50 and counts["audio"] >= 50
    assert sizes == {(1280, 720)}
