# SPDX-License-Identifier: Apache-2.0
"""What the data channel tests share: sizes, kinds, and the way to a master."""

import json
import pathlib
import urllib.parse
import urllib.request

SCRIPT = (pathlib.Path(__file__).parent / "data_channels.js").read_text()

SIZES = [0, 1, 2, 1159, 1160, 1161, 16 * 1024, 64 * 1024, 256 * 1024]
"""Bytes of a message: nothing, the least, around the length of a packet, and what browsers' pages use."""

RELIABILITIES = [{}, {"maxRetransmits": 20}, {"maxPacketLifeTime": 10_000}]
"""Limits that a network without losses never reaches: what a channel promises has to be understood, not broken."""

KINDS = [{"ordered": ordered} | reliability for ordered in (True, False) for reliability in RELIABILITIES]

LONG_NAME = "ü" * 32_767 + "x"
"""65,535 bytes of UTF-8: as long as a label may be."""


def connection(service, channel):
    """The signed address and the relays that the stand-in gives to a viewer."""
    query = urllib.parse.urlencode({"channel": channel})
    return json.load(urllib.request.urlopen(f"{service['http']}/api/connect?{query}"))


class Lab:
    """A page that runs data_channels.js; of the service, for a browser lets others not reach this host's addresses."""

    def __init__(self, page, service):
        self.page = page
        self.service = service
        self.reload()

    def reload(self):
        self.page.goto(self.service["page"])
        self.page.evaluate("() => {" + SCRIPT + "}", 0)

    def call(self, name, *arguments):
        return self.page.evaluate("([name, arguments]) => lab[name](...arguments)", [name, list(arguments)])

    def connect(self, channel, with_video=False):
        found = connection(self.service, channel)
        self.call("connect", found["url"], found.get("iceServers", []), with_video)
