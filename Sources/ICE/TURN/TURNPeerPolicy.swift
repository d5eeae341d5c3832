// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Which addresses a TURN server relays to (threat T3): the Internet at large, and of everything else only what
/// was named.
///
/// A relay is a way around the firewall that it stands behind. So addresses that mean something only near the
/// server are refused in every form in which they can be written: as they are, as IPv4-mapped, and embedded in
/// the prefixes of translators and tunnels.
public struct TURNPeerPolicy: Sendable {
  /// Ranges that are relayed to although they are refused by default.
  public var allowedPrefixes: [IPPrefix]
  /// Single sockets that are relayed to although their addresses are refused by default.
  public var allowedPeers: Set<TransportAddress>
  /// Ranges that are never relayed to, whatever else is said.
  public var deniedPrefixes: [IPPrefix]
  /// Addresses of the server's own host. They are refused as loopback is, because what listens there often trusts
  /// its own host.
  public var hostAddresses: Set<IPAddress>

  /// Makes a policy; without arguments the default one.
  public init(
    allowedPrefixes: [IPPrefix] = [], allowedPeers: Set<TransportAddress> = [],
    deniedPrefixes: [IPPrefix] = [], hostAddresses: Set<IPAddress> = []
  ) {
    self.allowedPrefixes = allowedPrefixes
    self.allowedPeers = allowedPeers
    self.deniedPrefixes = deniedPrefixes
    self.hostAddresses = hostAddresses
  }

  /// Whether an address is refused unless it was named.
  public static func isRefusedByDefault(_ ip: IPAddress) -> Bool {
    ip.isUnspecified || ip.isLoopback || ip.isLinkLocal || ip.isMulticastOrBroadcast || ip.isIPv4Mapped
      || refusedPrefixes.contains { $0.contains(ip) }
  }

  /// Special-purpose ranges of RFC 6890 that are not reachable from the Internet or lead somewhere else.
  /// Documentation ranges are not among them: nothing answers there.
  private static let refusedPrefixes: [IPPrefix] = [
    // "This network", private use, shared by carriers, protocol assignments, benchmarks, reserved.
    "0.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24",
    "198.18.0.0/15", "240.0.0.0/4",
    // IPv4-compatible (with :: and ::1), mapped, translated, unique local, site local, Teredo, 6to4.
    "::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "fc00::/7", "fec0::/10",
    "2001::/32", "2002::/16",
  ].compactMap { IPPrefix($0) }

  /// Whether a peer may be relayed to, given the relayed addresses of this server.
  func allows(_ peer: TransportAddress, isOwnRelay: Bool) -> Bool {
    guard peer.port != 0, !isNeverAPeer(peer.ip) else { return false }
    return !isRefused(peer.ip) || isOwnRelay || allowedPeers.contains(peer)
      || allowedPrefixes.contains { $0.contains(peer.ip) }
  }

  /// Whether some port of an address may be relayed to: what a permission needs.
  func allowsSome(of ip: IPAddress, isOwnRelay: Bool) -> Bool {
    guard !isNeverAPeer(ip) else { return false }
    return !isRefused(ip) || isOwnRelay || allowedPeers.contains { $0.ip == ip }
      || allowedPrefixes.contains { $0.contains(ip) }
  }

  private func isRefused(_ ip: IPAddress) -> Bool {
    Self.isRefusedByDefault(ip) || hostAddresses.contains(ip)
  }

  /// What no list can allow: no address at all, groups, and addresses in the clothes of another family.
  private func isNeverAPeer(_ ip: IPAddress) -> Bool {
    ip.isUnspecified || ip.isMulticastOrBroadcast || ip.isIPv4Mapped
      || deniedPrefixes.contains { $0.contains(ip) }
  }
}
