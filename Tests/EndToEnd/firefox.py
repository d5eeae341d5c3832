# SPDX-License-Identifier: Apache-2.0
"""A Firefox of the system over WebDriver BiDi: as much of a page as the data channel tests need."""

import contextlib
import itertools
import json
import pathlib
import re
import shutil
import subprocess

from websockets.sync.client import connect

from programs import wait_for

EXECUTABLE = shutil.which("firefox-esr") or shutil.which("firefox")

PREFERENCES = {
    # Connections within this host, without asking the network for names.
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    # Nothing but the test.
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
}

ANSWER_SECONDS = 120


class Firefox:
    """A headless browser with a profile of its own, and its one page."""

    def __init__(self, folder):
        profile = pathlib.Path(folder)
        profile.mkdir(exist_ok=True)
        (profile / "user.js").write_text(
            "".join(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items()))
        log = profile / "firefox.log"
        self.open = contextlib.ExitStack()
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                [EXECUTABLE, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env={"HOME": str(profile), "PATH": "/usr/bin:/bin", "MOZ_DISABLE_CONTENT_SANDBOX": "1"})
        try:
            address = wait_for(
                lambda: re.search(r"ws://\S+", log.read_text(errors="replace")), "Firefox listens").group()
            self.socket = self.open.enter_context(connect(f"{address}/session", max_size=None))
            self.ids = itertools.count(1)
            self.command("session.new", capabilities={})
            self.context = self.command("browsingContext.getTree")["contexts"][0]["context"]
        except BaseException:
            self.end()
            raise

    def command(self, method, **parameters):
        number = next(self.ids)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv(timeout=ANSWER_SECONDS))
            if message.get("id") == number:
                break
        assert message["type"] == "success", message
        return message["result"]

    def goto(self, address):
        self.command("browsingContext.navigate", context=self.context, url=address, wait="complete")

    def evaluate(self, expression, argument=None):
        """As Playwright's: calls a function with `argument`, or evaluates anything else."""
        value = f"({expression})({json.dumps(argument)})" if argument is not None else f"({expression})"
        found = self.command(
            "script.evaluate", expression=f"(async () => JSON.stringify(await {value}) ?? 'null')()", awaitPromise=True,
            target={"context": self.context})
        assert found["type"] == "success", found["exceptionDetails"]["text"]
        return json.loads(found["result"]["value"])

    def end(self):
        self.open.close()
        self.process.terminate()
        self.process.wait(timeout=30)
