// SPDX-License-Identifier: Apache-2.0

import SansIO

extension TURNTransport {
  /// Whether the server is spoken to over TCP: frames have no borders, ChannelData is padded.
  public var isStream: Bool { self == .tcp || self == .tls }

  /// Which way is the better one, the lowest first: datagrams before streams, since a stream holds back all that
  /// follows a lost segment; bare before encrypted, since what is relayed is encrypted already.
  var rank: Int {
    switch self {
    case .udp: 0
    case .dtls: 1
    case .tcp: 2
    case .tls: 3
    }
  }
}

/// A URL of the configuration that is in use, and the credentials that go with it.
struct UsedServer: Hashable, Sendable {
  let url: ICEServerURL
  var username = ""
  var password = Secret("")
}

/// One way to one relay: which server, how, and at which of its addresses.
struct RelayWay: Hashable, Sendable {
  let server: UsedServer
  let address: TransportAddress
  /// Whether a server sent us there instead of serving us (RFC 8489 §10); it is followed once.
  var isAlternate = false

  var transport: TURNTransport { server.url.transport }

  /// The name that the certificate has to be for.
  var hostName: String? { server.url.address == nil ? server.url.host : nil }
}

/// The way that gave us a relay, for allocations to come.
struct ProvenWay: Sendable {
  let way: RelayWay
  let provenAt: Instant
}
