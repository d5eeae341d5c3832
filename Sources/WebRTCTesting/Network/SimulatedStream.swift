// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The name of a TCP connection of the simulated network.
public struct StreamID: Hashable, Sendable {
  let number: Int
}

/// The two ends of a TCP connection.
public enum StreamEnd: Hashable, Sendable {
  /// Who opened it.
  case client
  /// Who listened.
  case server

  /// The other end.
  public var other: StreamEnd { self == .client ? .server : .client }
}

/// What happens to one end of a TCP connection.
public struct StreamEvent: Sendable {
  /// What happened.
  public enum Kind: Sendable {
    /// The server's end: somebody connected, from this address as the server sees it, to this one of its own.
    case accepted(from: TransportAddress, on: TransportAddress)
    /// The client's end: the connection stands.
    case opened
    /// The client's end: nobody listens there, or a firewall said no, or nothing was heard in time.
    case refused
    /// Bytes, in order and each once.
    case received([UInt8])
    /// The other end closed, or the path broke.
    case closed
  }

  /// The connection.
  public let stream: StreamID
  /// Whose event it is.
  public let end: StreamEnd
  /// The site of that end.
  public let site: SiteID
  /// The address of that end.
  public let address: TransportAddress
  /// When it happens.
  public let arrival: Instant
  /// What happened.
  public let kind: Kind
}

/// Where a server waits for connections.
struct SimulatedListener: Hashable {
  let address: TransportAddress
  let site: SiteID
}

/// A TCP connection: a path that was found once, on which bytes arrive in order.
struct SimulatedStream {
  struct Place {
    let address: TransportAddress
    let site: SiteID
  }

  let client: Place
  let server: Place
  /// The client's address as the server sees it.
  let mappedClient: TransportAddress
  /// Links from client to server, and back.
  let forth: [SimulatedNetwork.Link]
  let back: [SimulatedNetwork.Link]
  /// Sites whose border the stream crosses, with their boot count when it did.
  let borders: [(site: SiteID, bootCount: Int)]
  /// Nothing arrives before what was sent earlier.
  var lastArrivals: [StreamEnd: Instant] = [:]
  var isBroken = false
  var closedEnds: Set<StreamEnd> = []

  func place(of end: StreamEnd) -> Place { end == .client ? client : server }
}
