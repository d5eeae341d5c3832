// SPDX-License-Identifier: Apache-2.0

import ICE
import NIOCore
import SansIO

/// The addresses of a TURN server, worked out from its settings and the host's interfaces.
struct TURNNetwork: Sendable {
  /// What TCP listens on.
  let listening: IPAddress
  /// What UDP listens on: never an address that means all interfaces, because an answer has to leave from the one
  /// that the request came to.
  let datagramAddresses: [IPAddress]
  /// Where relays are, by family.
  let relayAddresses: [IPAddress.Family: TURNServerState.RelayAddress]
  /// The hosts for URIs, one of a family; none where each client shall come back to the one that it found.
  let advertisedHosts: [String]
  /// All addresses of this host.
  let hostAddresses: [IPAddress]

  /// - Throws: The setting that names no address of this host.
  init(
    _ configuration: TURNServer.Configuration, hostAddresses: [IPAddress] = HostAddresses.current()
  ) throws(LocalServerError) {
    let listening = try Self.resolve(configuration.host)
    self.listening = listening
    self.hostAddresses = hostAddresses
    // A socket of :: takes IPv4 as well.
    let reachable = hostAddresses.filter { listening.family == .ipv6 || $0.family == .ipv4 }
    datagramAddresses = listening.isUnspecified ? reachable : [listening]
    var relays: [IPAddress.Family: TURNServerState.RelayAddress] = [:]
    for family in [IPAddress.Family.ipv4, .ipv6] {
      let candidates = datagramAddresses.filter { $0.family == family }
      let chosen =
        configuration.relayAddresses.first { $0.family == family }
        ?? candidates.first { !$0.isLoopback } ?? candidates.first
      guard let bound = chosen else { continue }
      let advertised = configuration.advertisedAddresses.first { $0.family == family }
      relays[family] = TURNServerState.RelayAddress(bound: bound, advertised: advertised ?? bound)
    }
    relayAddresses = relays
    let advertised = configuration.advertisedAddresses
    let named = [IPAddress.Family.ipv4, .ipv6].compactMap { family in advertised.first { $0.family == family }
    }
    let hosts = named.isEmpty && !listening.isUnspecified ? [listening] : named
    advertisedHosts = hosts.map(\.description)
  }

  private static func resolve(_ host: String) throws(LocalServerError) -> IPAddress {
    if let ip = IPAddress(host) { return ip }
    guard let ip = TransportAddress(try? SocketAddress.makeAddressResolvingHost(host, port: 0))?.ip else {
      throw .hostNotAvailable(host: host)
    }
    return ip
  }

  /// Whom is relayed to: the Internet at large, this server's own relays, and what was named. What listens on this
  /// host often trusts it, so its own addresses are refused even where they are public (T3).
  func peerPolicy(_ configuration: TURNServer.Configuration) -> TURNPeerPolicy {
    TURNPeerPolicy(
      allowedPrefixes: configuration.allowedPrefixes,
      hostAddresses: Set(hostAddresses + configuration.advertisedAddresses))
  }

  /// What the core is made with.
  func coreConfiguration(
    _ configuration: TURNServer.Configuration, at now: ServiceTime
  ) -> TURNServerCore.Configuration {
    let unixTime = TimeDelta.milliseconds(now.unixMilliseconds)
    var core = TURNServerCore.Configuration(
      realm: "kinesisvideo", secret: configuration.secret, unixTimeAtOrigin: unixTime - (now.instant - .zero))
    core.families = Set(relayAddresses.keys)
    core.peerPolicy = peerPolicy(configuration)
    core.allocationsMax = configuration.allocationsMax
    core.allocationsPerUserMax = configuration.allocationsPerChannelMax
    return core
  }
}
