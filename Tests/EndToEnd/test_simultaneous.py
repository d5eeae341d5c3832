# SPDX-License-Identifier: Apache-2.0
"""Ten offers of a real browser at the same instant: all are answered, nothing is refused."""

import asyncio
import base64
import json
import urllib.request

import websockets

OFFER = """async () => {
  const pc = new RTCPeerConnection();
  window.kept = (window.kept || []).concat(pc);
  pc.addTransceiver("video", {direction: "recvonly"});
  pc.addTransceiver("audio", {direction: "recvonly"});
  await pc.setLocalDescription();
  return {type: "offer", sdp: pc.localDescription.sdp};
}"""


def frame(action, payload, correlation):
    encoded = base64.b64encode(json.dumps(payload).encode()).decode()
    return json.dumps({
        "action": action, "recipientClientId": "", "messagePayload": encoded, "correlationId": correlation})


async def exchange(urls, offers):
    """Opens all sockets, then sends all offers together; gives the first ten seconds' messages per viewer."""
    sockets = [await websockets.connect(url) for url in urls]
    try:
        await asyncio.gather(*(
            socket.send(frame("SDP_OFFER", offer, f"offer-{index}"))
            for index, (socket, offer) in enumerate(zip(sockets, offers))))

        async def answer(socket):
            while True:
                message = json.loads(await asyncio.wait_for(socket.recv(), 30))
                if message["messageType"] in ("SDP_ANSWER", "STATUS_RESPONSE"):
                    return message
        return await asyncio.gather(*(answer(socket) for socket in sockets))
    finally:
        for socket in sockets:
            await socket.close()


def test_ten_offers_at_once(start_master, chromium, service):
    start_master("ten")
    page = chromium.new_page()
    offers = [page.evaluate(OFFER) for _ in range(10)]
    urls = [
        json.load(urllib.request.urlopen(f"{service['http']}/api/connect?channel=ten"))["url"] for _ in range(10)]
    # Playwright keeps a loop of its own in this thread, so the sockets get another one.
    import threading
    result = []
    thread = threading.Thread(target=lambda: result.extend(asyncio.run(exchange(urls, offers))))
    thread.start()
    thread.join(60)
    page.close()
    assert [message["messageType"] for message in result] == ["SDP_ANSWER"] * 10
    for message in result:
        sdp = json.loads(base64.b64decode(message["messagePayload"]))["sdp"]
        assert "m=video 9" in sdp and "m=audio 9" in sdp
