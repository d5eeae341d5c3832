# SPDX-License-Identifier: Apache-2.0
"""An Internet in a few namespaces: public servers in the middle, homes behind routers around it.

    home's host 192.168.1.10 -- lan -- router: NAT -- wan 203.0.113.101 -- Internet: 203.0.113.10 (service), .20 (coturn)

Every home has the same private addresses, as in life: a peer's private address means a neighbour, or oneself. The
Internet is a router without a switch: each `wan` is a link of its own, a veth pair or the emulator's two TUN devices.
"""

import json
import os
import pathlib
import signal
import subprocess

from namespaces import Namespace
from nat import ruleset

ROOT = pathlib.Path(__file__).resolve().parents[2]
EMULATOR = pathlib.Path(
    os.environ.get("KVS_LINK_EMULATOR", ROOT / "Tools" / "LinkEmulator" / ".build" / "release" / "link-emulator"))

SERVICE, COTURN, PROBES = "203.0.113.10", "203.0.113.20", ("203.0.113.30", "203.0.113.31")
SERVICE6, COTURN6, PROBE6 = "2001:db8::10", "2001:db8::20", "2001:db8::30"
HOST = "192.168.1.10"


class Link:
    """What a `wan` runs over: nothing (a veth pair) or the link emulator."""

    def __init__(self, conditions=(), folder=None, seed=1):
        """`conditions` are the emulator's options; `forth` is towards the Internet."""
        self.conditions, self.folder, self.seed = conditions, folder, seed
        self.process = None

    def connect(self, node, internet, far_name):
        """Makes `wan` in `node` and `far_name` in `internet`."""
        if not self.conditions:
            node.ip(f"link add wan type veth peer name {far_name} netns {internet.path}")
            return
        if not EMULATOR.exists():
            raise RuntimeError(f"{EMULATOR} is not built: swift build -c release --package-path Tools/LinkEmulator")
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", EMULATOR, "--left", f"{node.path}/wan",
             "--right", f"{internet.path}/{far_name}", "--seed", str(self.seed), "--commands", *self.conditions],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._expect("ready")

    def _expect(self, event):
        line = self.process.stdout.readline()
        said = json.loads(line or "{}")
        if said.get("event") != event:
            raise RuntimeError(f"the link emulator said {line!r} in place of {event}")
        return said

    def change(self, change):
        """Changes conditions at once, for example `both loss=100%`."""
        self.process.stdin.write(change + "\n")
        self.process.stdin.flush()
        self._expect("changed")

    def statistics(self):
        self.process.send_signal(signal.SIGUSR1)
        return self._expect("statistics")

    def close(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


class Site:
    """A place on the Internet: one namespace for the programs, perhaps a router before it."""

    def __init__(self, name, host, router, number, link):
        self.name, self.host, self.router, self.number, self.link = name, host, router, number, link
        self.public4 = f"203.0.113.{number}"
        self.public6 = f"2001:db8:{number}::10"

    @property
    def edge(self):
        """The namespace with the `wan`."""
        return self.router or self.host

    # How the outside is reached, for whoever took the device down and up again.
    routes = ("route replace 203.0.113.1 dev wan scope link", "route replace default via 203.0.113.1 dev wan")

    def renumber(self, address):
        """The provider gives the site another public address."""
        self.edge.ip(
            f"address add {address}/32 dev wan", f"address del {self.public4}/32 dev wan", *self.routes)
        self.internet.ip(f"route del {self.public4}/32 dev s{self.number}", f"route add {address}/32 dev s{self.number}")
        self.forget_mappings()
        self.public4 = address

    def allow_only_web(self):
        """The site's firewall lets out what goes to the ports 80 and 443, over TCP."""
        self.router.nft("""
          table ip office {
            chain forward {
              type filter hook forward priority filter
              iifname "lan" tcp dport != { 80, 443 } drop
              meta l4proto udp drop
            }
          }""")

    def unplug(self):
        """The cable is out: the device keeps its addresses and has no carrier."""
        self.internet.ip(f"link set s{self.number} down")

    def plug(self):
        self.internet.ip(f"link set s{self.number} up", f"route add {self.public4}/32 dev s{self.number}")

    def forget_mappings(self):
        """What a router's restart does to its table."""
        if self.router is not None:
            self.router.run("conntrack", "-F")


class Internet(Namespace):
    """The middle, with all public servers' addresses, and what is attached to it."""

    def __init__(self):
        super().__init__("internet")
        self.sites = []
        self.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        servers = ["203.0.113.1", SERVICE, COTURN, *PROBES]
        servers6 = ["2001:db8::1", SERVICE6, COTURN6, PROBE6]
        self.ip(
            *(f"address add {address}/32 dev lo" for address in servers),
            *(f"address add {address}/128 dev lo nodad" for address in servers6))
        # What has no owner, private addresses among it, leads out into nothing and never comes back. (An unreachable
        # route would answer with an error at once, and coturn ends a whole allocation for one such error.)
        self.nothing = Namespace("nothing")
        self.ip(f"link add nothing type veth peer name far netns {self.nothing.path}", "link set nothing arp off")
        self.enable_ipv6("nothing")
        self.ip("link set nothing up", "route add 0.0.0.0/0 dev nothing", "route add ::/0 dev nothing")
        self.nothing.ip("link set far up")

    def site(self, name, kind=None, ipv4=True, ipv6=False, link=None):
        """A home behind a router of `kind`, or for None a host with public addresses of its own."""
        number = 101 + len(self.sites)
        site = Site(name, Namespace(name), Namespace(f"{name}-router") if kind else None, number, link or Link())
        site.internet = self
        self.sites.append(site)
        site.link.connect(site.edge, self, f"s{number}")
        self._connect(site, ipv4, ipv6)
        if kind is not None:
            self._build_home(site, kind, ipv4, ipv6)
        return site

    def _connect(self, site, ipv4, ipv6):
        edge, far = site.edge, f"s{site.number}"
        edge.ip("link set wan up")
        self.ip(f"link set {far} up")
        if ipv4:
            edge.ip(f"address add {site.public4}/32 dev wan", *site.routes)
            self.ip(f"route add {site.public4}/32 dev {far}")
        if ipv6:
            edge.enable_ipv6("wan")
            self.enable_ipv6(far)
            address = [] if site.router else [f"address add {site.public6}/64 dev wan nodad"]
            edge.ip(
                "address add fe80::2/64 dev wan nodad", "route add default via fe80::1 dev wan", *address)
            self.ip(
                f"address add fe80::1/64 dev {far} nodad",
                f"route add 2001:db8:{site.number}::/48 via fe80::2 dev {far}")

    def _build_home(self, site, kind, ipv4, ipv6):
        router, host = site.router, site.host
        router.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        router.nft(ruleset(kind, HOST))
        router.ip(f"link add lan type veth peer name eth0 netns {host.path}", "link set lan up")
        host.ip("link set eth0 up")
        if ipv4:
            router.ip("address add 192.168.1.1/24 dev lan")
            host.ip(f"address add {HOST}/24 dev eth0", "route add default via 192.168.1.1")
        if ipv6:
            router.enable_ipv6("lan")
            host.enable_ipv6("eth0")
            prefix = f"2001:db8:{site.number}:"
            router.ip(f"address add {prefix}:1/64 dev lan nodad")
            host.ip(f"address add {site.public6}/64 dev eth0 nodad", f"route add default via {prefix}:1")

    def close(self):
        for site in self.sites:
            site.link.close()
            for namespace in (site.host, site.router):
                if namespace is not None:
                    namespace.close()
        self.nothing.close()
        super().close()
