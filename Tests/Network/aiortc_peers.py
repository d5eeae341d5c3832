# SPDX-License-Identifier: Apache-2.0
"""aiortc in a namespace: a whole peer in a thread whose sockets belong to that network."""

import asyncio
import base64
import json
import threading
import urllib.request

import websockets
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from aiortc.sdp import candidate_from_sdp
from programs import PATIENCE_SECONDS


class Worker:
    """Runs a coroutine to its end in a thread inside `namespace`."""

    def __init__(self, namespace, coroutine):
        self._outcome = None
        self._error = None
        self._thread = threading.Thread(target=self._run, args=(namespace, coroutine), daemon=True)
        self._thread.start()

    def _run(self, namespace, coroutine):
        try:
            with namespace.entered():
                self._outcome = asyncio.run(coroutine)
        except BaseException as error:  # pylint: disable=broad-except  (it is raised again in `result`)
            self._error = error

    def result(self, seconds=90):
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise AssertionError(f"not done within {seconds} s")
        if self._error is not None:
            raise self._error
        return self._outcome


class Watched:
    """What a viewer saw."""

    def __init__(self):
        self.frames = {"video": 0, "audio": 0}
        self.pair = None

    def __repr__(self):
        return f"{self.frames} over {self.pair}"


def selected_pair(pc):
    """The candidate types of the pair in use: (local, remote)."""
    transport = pc.sctp.transport if pc.sctp else pc.getTransceivers()[0].receiver.transport
    pair = transport.transport._connection._nominated[1]
    return pair.local_candidate.type, pair.remote_candidate.type


def ice_servers(entries, transport):
    """The servers that the service names, as far as their URLs go by `transport`: udp, tcp, tls or stun; None for
    none. (aiortc takes one server only, the first.)"""
    wanted = {"udp": "turn:", "tcp": "turn:", "tls": "turns:", "stun": "stun:"}.get(transport)
    for entry in entries:
        for url in entry["urls"] if isinstance(entry["urls"], list) else [entry["urls"]]:
            over = url.partition("transport=")[2] or ("tcp" if url.startswith("turns:") else "udp")
            if wanted and url.startswith(wanted) and over == {"tls": "tcp", "stun": "udp"}.get(transport, transport):
                return [RTCIceServer(
                    urls=[url], username=entry.get("username"), credential=entry.get("credential"))]
    assert transport is None, f"the service names no server for {transport}: {entries}"
    return []


async def watch(service_url, channel, frames=5, transport=None, relay_only=False, servers=None):
    """Watches until so many pictures and pieces of sound came; runs inside a `Worker`."""
    # Blocking calls, since another thread would be in another network.
    connection = json.load(urllib.request.urlopen(f"{service_url}/api/connect?channel={channel}", timeout=20))
    if servers is None:
        servers = ice_servers(connection["iceServers"], transport)
    policy = RTCIceTransportPolicy.RELAY if relay_only else RTCIceTransportPolicy.ALL
    pc = RTCPeerConnection(RTCConfiguration(iceServers=servers, iceTransportPolicy=policy))
    watched, done, tasks = Watched(), asyncio.Event(), []

    async def consume(track):
        while True:
            await track.recv()
            watched.frames[track.kind] += 1
            if min(watched.frames.values()) >= frames:
                done.set()

    pc.on("track", lambda track: tasks.append(asyncio.ensure_future(consume(track))))
    for kind in ("video", "audio"):
        pc.addTransceiver(kind, direction="recvonly")
    await pc.setLocalDescription(await pc.createOffer())
    try:
        async with websockets.connect(connection["url"]) as socket:
            await socket.send(json.dumps({
                "action": "SDP_OFFER", "recipientClientId": "",
                "messagePayload": pack({"type": "offer", "sdp": pc.localDescription.sdp})}))
            tasks.append(asyncio.ensure_future(signal(pc, socket)))
            await asyncio.wait_for(done.wait(), PATIENCE_SECONDS)
            watched.pair = selected_pair(pc)
            return watched
    except TimeoutError:
        raise AssertionError(f"not enough arrived ({watched}); ICE is {pc.iceConnectionState}") from None
    finally:
        for task in tasks:
            task.cancel()
        await pc.close()


async def signal(pc, socket):
    """Takes what the master says: its answer and then its candidates."""
    async for text in socket:
        if not text:
            continue
        message = json.loads(text)
        payload = json.loads(base64.b64decode(message.get("messagePayload") or "bnVsbA=="))
        if message["messageType"] == "SDP_ANSWER":
            await pc.setRemoteDescription(RTCSessionDescription(payload["sdp"], payload["type"]))
        elif message["messageType"] == "ICE_CANDIDATE" and payload["candidate"]:
            candidate = candidate_from_sdp(payload["candidate"].removeprefix("candidate:"))
            candidate.sdpMid, candidate.sdpMLineIndex = payload.get("sdpMid"), payload.get("sdpMLineIndex")
            await pc.addIceCandidate(candidate)


def pack(payload):
    return base64.b64encode(json.dumps(payload).encode()).decode()
