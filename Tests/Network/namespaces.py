# SPDX-License-Identifier: Apache-2.0
"""Network namespaces that cannot be left behind.

A namespace lives as long as somebody holds it: here this process does, by an open descriptor, and the programs that run
in it, which the kernel ends when this process dies. So nothing has a name to clean up, and nothing that a test does
reaches the machine's own network.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import socket
import subprocess

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _call(function, *arguments):
    if getattr(_libc, function)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{function}: {os.strerror(error)}")


class Namespace:
    """A network of its own, with nothing but a loopback device at first."""

    def __init__(self, name):
        self.name = name
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _call("unshare", CLONE_NEWNET)
            try:
                self.descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            finally:
                _call("setns", own, CLONE_NEWNET)
        finally:
            os.close(own)
        # No device speaks IPv6 by itself; it is taken up where it is wanted. (The loopback device has it already.)
        self.sysctl(net__ipv6__conf__default__disable_ipv6=1)
        self.ip("link set lo up")

    @property
    def path(self):
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    @property
    def launcher(self):
        """What to put before a command line so that it runs in here, and ends when this process ends."""
        return ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net={self.path}"]

    def close(self):
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    @contextlib.contextmanager
    def entered(self):
        """The calling thread is in this namespace meanwhile; sockets that it makes stay there."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _call("setns", self.descriptor, CLONE_NEWNET)
            try:
                yield self
            finally:
                _call("setns", own, CLONE_NEWNET)
        finally:
            os.close(own)

    def run(self, *command, text=None):
        """Runs a command to its end and returns what it wrote; a failure raises with what it complained of."""
        done = subprocess.run([*self.launcher, *command], input=text, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(command)}: {done.stderr.strip()}\n{text or ''}")
        return done.stdout

    def ip(self, *lines):
        """Several commands of `ip` at once."""
        self.run("ip", "-batch", "-", text="\n".join(lines) + "\n")

    def nft(self, ruleset):
        self.run("nft", "-f", "-", text=ruleset)

    def sysctl(self, **values):
        """For example `net__ipv4__ip_forward=1`."""
        with self.entered():
            for name, value in values.items():
                pathlib.Path("/proc/sys", name.replace("__", "/")).write_text(str(value))

    def enable_ipv6(self, device):
        self.sysctl(**{f"net__ipv6__conf__{device}__disable_ipv6": 0})

    def socket(self, family, kind, address=None, timeout=10):
        """A socket in this namespace."""
        with self.entered():
            made = socket.socket(family, kind)
        made.settimeout(timeout)
        if address is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
        return made


def missing(commands=("ip", "nft", "conntrack", "nsenter", "setpriv", "turnserver")):
    """Why this machine cannot run the tests of this folder, or None."""
    if not os.path.exists("/dev/net/tun"):
        return "this machine has no /dev/net/tun"
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [command for command in commands if shutil.which(command) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    left = right = None
    try:
        left, right = Namespace("probe-left"), Namespace("probe-right")
        left.ip(f"link add wan type veth peer name wan netns {right.path}")
        left.nft(
            "table ip probe {\n set s { type inet_service . ipv4_addr; flags dynamic,timeout; }\n"
            " chain c {\n type nat hook postrouting priority srcnat\n ct state new masquerade fully-random\n }\n}\n")
        left.sysctl(net__ipv4__ip_forward=1)
    except (OSError, RuntimeError) as error:
        return f"this machine's kernel or container does not allow the namespaces that the tests make: {error}"
    finally:
        for namespace in (left, right):
            if namespace is not None:
                namespace.close()
    return None
