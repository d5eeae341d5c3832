// SPDX-License-Identifier: Apache-2.0

/// A local socket as the cores know it: a number and the address that it is bound to.
public struct LocalSocket: Hashable, Sendable {
  /// The number that whoever opened the socket gave it.
  public let id: UInt32
  /// The address it is bound to; never unspecified, its port never 0.
  public let address: TransportAddress

  /// Names a bound socket.
  @inlinable
  public init(id: UInt32, address: TransportAddress) {
    self.id = id
    self.address = address
  }
}

/// The way a datagram takes: one of our sockets and the peer's address.
///
/// A route to send on exists only for addresses that may be sent to (``init(sendingFrom:to:)``), because one
/// refused `sendmsg` may cost every peer that shares the socket.
public struct Route: Hashable, Sendable, CustomStringConvertible {
  /// The local socket.
  public let socket: LocalSocket
  /// The peer's address as our socket sees it.
  public let remote: TransportAddress

  /// The route that a datagram came by. It is not checked: the kernel delivered it.
  @inlinable
  public init(receivedOn socket: LocalSocket, from remote: TransportAddress) {
    self.socket = socket
    self.remote = remote
  }

  /// The route to an address that a peer named, or `nil` where nothing may be sent: port 0, not unicast,
  /// another address family than the socket's, link-local IPv6 without scope, an IPv4-mapped address, or
  /// loopback to or from elsewhere.
  public init?(sendingFrom socket: LocalSocket, to remote: TransportAddress) {
    let (from, to) = (socket.address.ip, remote.ip)
    guard remote.port != 0, from.family == to.family, !to.isUnspecified, !to.isMulticastOrBroadcast,
      !to.isIPv4Mapped, from.isLoopback == to.isLoopback
    else { return nil }
    guard to.family == .ipv6, to.isLinkLocal else {
      self.init(receivedOn: socket, from: remote)
      return
    }
    let scopeID = to.scopeID == 0 ? from.scopeID : to.scopeID
    guard from.isLinkLocal, scopeID != 0, scopeID == from.scopeID else { return nil }
    let scoped = IPAddress(ipv6High: to.high, low: to.low, scopeID: scopeID)
    self.init(receivedOn: socket, from: TransportAddress(ip: scoped, port: remote.port))
  }

  /// Local and remote address, for logs at debug level.
  public var description: String { "\(socket.address)->\(remote)" }
}

/// What a core wrote into the memory that its caller lent: one or more datagrams for one route.
///
/// All datagrams have `segmentByteCount` bytes but the last, which may be shorter: what segmentation offload
/// (UDP_SEGMENT) takes in one call.
public struct Transmit: Hashable, Sendable {
  /// Where the datagrams go.
  public let route: Route
  /// Bytes of each datagram but the last.
  public let segmentByteCount: Int
  /// How many datagrams were written, at least 1.
  public let segmentCount: Int

  /// Describes what was written.
  @inlinable
  public init(route: Route, segmentByteCount: Int, segmentCount: Int = 1) {
    self.route = route
    self.segmentByteCount = segmentByteCount
    self.segmentCount = segmentCount
  }
}
