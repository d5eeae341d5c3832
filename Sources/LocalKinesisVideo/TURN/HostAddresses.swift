// SPDX-License-Identifier: Apache-2.0

import NIOCore
import SansIO

/// The addresses of this host's interfaces.
enum HostAddresses {
  /// More addresses than this are not looked at: each costs a socket.
  static let addressesMax = 32

  /// All unicast addresses, loopback included, each once and without link-local IPv6 ones: those need a scope, which
  /// the text of a URI cannot carry.
  static func current() -> [IPAddress] {
    let devices = (try? System.enumerateDevices()) ?? []
    var found: [IPAddress] = []
    for ip in devices.compactMap({ TransportAddress($0.address)?.ip }) {
      let isUsable =
        !ip.isUnspecified && !ip.isMulticastOrBroadcast && !(ip.family == .ipv6 && ip.isLinkLocal)
      if isUsable, !found.contains(ip) { found.append(ip) }
    }
    return Array(found.prefix(addressesMax))
  }
}
