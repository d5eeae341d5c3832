# SPDX-License-Identifier: Apache-2.0
"""aiortc as a viewer of a master that the stand-in knows."""

import asyncio
import base64
import contextlib
import json
from concurrent.futures import ThreadPoolExecutor

import websockets
from aiortc import RTCSessionDescription


@contextlib.asynccontextmanager
async def viewing(url, pc):
    """Offers what `pc` was prepared for and takes the master's answer; ends the connection at the end."""
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
            yield
    finally:
        await pc.close()


def run(task):
    """Runs a coroutine in a thread of its own: the driver of browsers has a loop in this one."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, task).result()
