# SPDX-License-Identifier: Apache-2.0
"""Starts and ends the real programs of the project for the end-to-end tests."""

import json
import os
import pathlib
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("KVS_WEBRTC_BINARY", ROOT / ".build" / "debug" / "kvs-webrtc"))

ACCESS_KEY = "CANARYACCESSKEY"
SECRET_KEY = "canary-secret-key-5f1c"

PATIENCE_SECONDS = 60
"""How long a condition may take on a loaded machine before a test gives up on it."""


def wait_for(condition, what, seconds=PATIENCE_SECONDS):
    """Polls until `condition` gives something true, and returns it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


class Program:
    """One run of kvs-webrtc with its log in a file; `launcher` is what to put before its command line."""

    def __init__(self, folder, name, *arguments, environment=None, launcher=(), stdin=subprocess.DEVNULL):
        self.name = name
        self.log_path = pathlib.Path(folder) / f"{name}.log"
        self.ready_path = pathlib.Path(folder) / f"{name}.ready.json"
        self.ready_path.unlink(missing_ok=True)
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "KVS_WEBRTC_"))
        } | {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "KVS_WEBRTC_LOG_LEVEL": "trace",
        } | (environment or {})
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [*launcher, BINARY, *arguments, "--ready-file", str(self.ready_path)],
            stdin=stdin, stdout=self.log, stderr=subprocess.STDOUT, env=environment, cwd=folder)

    def ready(self):
        """Waits for the ready file and returns what it says."""
        def read():
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")
            return self.ready_path.exists() and json.loads(self.ready_path.read_text())
        return wait_for(read, f"{self.name} is ready")

    def tail(self, count=40):
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-count:])

    def interrupt(self):
        """Ctrl-C; returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=PATIENCE_SECONDS)

    def kill(self):
        """kill -9: no goodbye."""
        self.process.kill()
        self.process.wait(timeout=PATIENCE_SECONDS)

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()
        if self.process.stdin:
            self.process.stdin.close()
        self.log.close()
