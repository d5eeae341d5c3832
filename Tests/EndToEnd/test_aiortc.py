# SPDX-License-Identifier: Apache-2.0
"""aiortc as an independent viewer: another ICE, DTLS, SRTP and jitter buffer than a browser's."""

import asyncio
import base64
import json
import urllib.request

import websockets
from aiortc import RTCPeerConnection, RTCSessionDescription


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
    await pc.setLocalDescription(await pc.createOffer())
    try:
        async with websockets.connect(url) as socket:
            payload = json.dumps({"type": "offer", "sdp": pc.localDescription.sdp})
            await socket.send(json.dumps({
                "action": "SDP_OFFER", "recipientClientId": "",
                "messagePayload": base64.b64encode(payload.encode()).decode()}))
            while True:
                message = json.loads(await asyncio.wait_for(socket.recv(), 30))
                if message["messageType"] == "SDP_ANSWER":
                    break
            answer = json.loads(base64.b64decode(message["messagePayload"]))
            await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
            await asyncio.wait_for(done.wait(), 60)
    finally:
        for task in tasks:
            task.cancel()
        await pc.close()
    return counts, sizes


def test_aiortc_sees_and_hears(start_master, service):
    start_master("aiortc")
    url = json.load(urllib.request.urlopen(f"{service['http']}/api/connect?channel=aiortc"))["url"]
    counts, sizes = asyncio.run(watch(url, 50))
    assert counts["video"] >= 50 and counts["audio"] >= 50
    assert sizes == {(1280, 720)}
