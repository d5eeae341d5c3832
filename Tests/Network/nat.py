# SPDX-License-Identifier: Apache-2.0
"""The five kinds of routers that a peer may sit behind, as rules of nftables (RFC 4787 §4 and §5 name the behaviour).

Linux' own NAT keeps a host's port if it can, whatever the destination: its mapping is endpoint-independent. What comes
in is translated back only from where something went out to, address and port: its filter is address- and
port-dependent. The kinds differ from that in a line or two.
"""

import enum

CONTACT_SECONDS = 120
"""How long a remote address may send after it was sent to. RFC 4787 §4.3 REQ-5 wants two minutes or more."""


class Kind(enum.Enum):
    """What a router does with UDP. All of them let TCP out."""

    FULL_CONE = "full-cone"
    """Endpoint-independent mapping and filtering: once open, a port is open to everybody."""

    ADDRESS_RESTRICTED = "address-restricted"
    """Endpoint-independent mapping, address-dependent filtering."""

    PORT_RESTRICTED = "port-restricted"
    """Endpoint-independent mapping, address- and port-dependent filtering."""

    SYMMETRIC = "symmetric"
    """Address- and port-dependent mapping and filtering: each destination sees another port."""

    UDP_BLOCKED = "udp-blocked"
    """No UDP at all, as in many an office."""

    def __str__(self):
        return self.value

    @property
    def is_direct_with(self):
        """The kinds that a peer behind this one can reach without a relay, by hole punching."""
        if self is Kind.UDP_BLOCKED:
            return set()
        reachable = {Kind.FULL_CONE, Kind.ADDRESS_RESTRICTED, Kind.PORT_RESTRICTED, Kind.SYMMETRIC}
        if self is Kind.SYMMETRIC:
            # The port that the other side punches for is not the one that comes.
            reachable -= {Kind.PORT_RESTRICTED, Kind.SYMMETRIC}
        if self is Kind.PORT_RESTRICTED:
            reachable -= {Kind.SYMMETRIC}
        return reachable


def ruleset(kind, host):
    """Rules for a router with `wan` outside and `lan` inside, where the only host is `host`."""
    forward = {
        Kind.ADDRESS_RESTRICTED: """
          oifname "wan" meta l4proto udp update @contacted { udp sport . ip daddr }
          iifname "wan" meta l4proto udp ct state new udp dport . ip saddr != @contacted drop""",
        Kind.UDP_BLOCKED: """
          meta l4proto udp drop""",
    }.get(kind, "")
    # A cone's open port: whatever comes to the router is the host's, on the same port.
    is_open = kind in (Kind.FULL_CONE, Kind.ADDRESS_RESTRICTED)
    prerouting = f'iifname "wan" meta l4proto udp dnat to {host}' if is_open else ""
    masquerade = "masquerade fully-random" if kind is Kind.SYMMETRIC else "masquerade"
    return f"""
      table ip home {{
        set contacted {{ type inet_service . ipv4_addr; flags dynamic,timeout; timeout {CONTACT_SECONDS}s; }}
        # Without this, an unsolicited packet to the router itself makes an entry that takes a mapping's place, and the
        # next destination sees another port.
        chain input {{
          type filter hook input priority filter
          iifname "wan" ct state new drop
        }}
        chain forward {{
          type filter hook forward priority filter
          {forward}
        }}
        chain prerouting {{
          type nat hook prerouting priority dstnat
          {prerouting}
        }}
        chain postrouting {{
          type nat hook postrouting priority srcnat
          oifname "wan" {masquerade}
        }}
      }}
      table ip6 home {{
        # No translation for IPv6, but what nobody inside asked for stays outside, as RFC 6092 recommends.
        chain forward {{
          type filter hook forward priority filter
          {"meta l4proto udp drop" if kind is Kind.UDP_BLOCKED else ""}
          iifname "wan" ct state new drop
        }}
      }}"""
