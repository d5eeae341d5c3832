// SPDX-License-Identifier: Apache-2.0

import SansIO

/// Addresses at which a translator in front of the host makes it reachable: 1:1 NAT, as clouds have it.
///
/// Such a translator keeps ports, so that each socket is reachable at the advertised address of its family with
/// the port of its own. That is what a STUN server would have told, known without asking one.
struct AdvertisedAddresses: Sendable {
  private let addresses: [IPAddress]

  /// Takes the addresses that a peer can send to; others (0.0.0.0, groups) are left out.
  init(_ addresses: [IPAddress]) {
    self.addresses = addresses.filter {
      !$0.isUnspecified && !$0.isMulticastOrBroadcast && !$0.isIPv4Mapped
    }
  }

  /// Where a socket is reachable from outside. No translator leads to a loopback address.
  func mappedAddresses(of socket: LocalSocket) -> [TransportAddress] {
    let own = socket.address.ip
    return addresses.filter { $0.family == own.family && $0.isLoopback == own.isLoopback && $0 != own }
      .map { TransportAddress(ip: $0, port: socket.address.port) }
  }
}
