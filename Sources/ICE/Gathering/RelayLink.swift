// SPDX-License-Identifier: Apache-2.0

import SansIO

/// A connection to a TURN server with the allocation on it: being made, standing, or being given back.
///
/// Only its gatherer knows it. It is an object because the tables by connection and by relay share it.
final class RelayLink {
  /// How far the connection is.
  enum Phase {
    /// The shell was asked to open it.
    case opening(until: Instant)
    /// It stands, and the client speaks.
    case open
    /// The client gives the allocation back; then the connection is closed.
    case releasing(until: Instant)
  }

  let connection: ServerConnection
  let way: RelayWay
  /// The id that the relay has, or will have.
  let socketID: UInt32
  let family: IPAddress.Family
  /// How the client knows the connection; what is really behind it is the shell's to know.
  let route: Route
  var client: TURNClient
  var phase: Phase
  /// The slot that it works for; `nil` once it lost or was given back.
  var slotID: Int?
  /// Whose relay it is.
  var owner: Int?
  /// The relay, once it is allocated.
  var relay: LocalSocket?
  /// Our address on the connection.
  var localAddress: TransportAddress?
  /// Our address as the server sees it.
  var mapped: TransportAddress?
  /// Channels that stand: all that the packet path has to look at.
  var channels: [TransportAddress: ChannelNumber] = [:]
  /// Peers for whom a channel was asked.
  var channelWishes: Set<TransportAddress> = []
  var held = HeldDatagrams()
  /// When a NAT or firewall on the way to the server has to see something again.
  var keepAliveAt: Instant?
  var isKeepAliveDue = false
  /// Until when the server has to say that the allocation stands, after somebody had doubts.
  var verifyUntil: Instant?
  /// Whether it waits in the gatherer's list of those that have something to send.
  var isQueued = false

  init(
    connection: ServerConnection, way: RelayWay, socketID: UInt32, family: IPAddress.Family, slotID: Int,
    openUntil: Instant, random: RandomSource
  ) {
    self.connection = connection
    self.way = way
    self.socketID = socketID
    self.family = family
    self.slotID = slotID
    phase = .opening(until: openUntil)
    route = Route(
      receivedOn: LocalSocket(id: socketID, address: connection.server), from: connection.server)
    client = TURNClient(
      configuration: .init(
        route: route, isStream: connection.transport.isStream, username: way.server.username,
        password: way.server.password, family: family),
      random: random)
  }

  /// Whether the server may know of an allocation: not before it has seen our credentials.
  var mayBeAllocated: Bool {
    guard case .open = phase else { return false }
    return client.key != nil
  }

  var nextDeadline: Instant? {
    switch phase {
    case .opening(let until): until
    case .open:
      Instant.earliest(client.nextDeadline, Instant.earliest(keepAliveAt, verifyUntil))
    case .releasing(let until): Instant.earliest(until, client.nextDeadline)
    }
  }
}

/// Datagrams for peers that have no permission yet, and addresses that the server refused.
struct HeldDatagrams: Sendable {
  private struct Datagram: Sendable {
    let peer: TransportAddress
    let bytes: [UInt8]
    let since: Instant
  }

  /// In the order in which they came.
  private var datagrams: [Datagram] = []
  private var byteCount = 0
  /// What may be sent now.
  private var permitted: [Datagram] = []
  /// Until when each refused address is left alone.
  private var refusals: [IPAddress: Instant] = [:]

  /// Holds a datagram; returns whether there was room.
  mutating func hold(_ datagram: RawSpan, for peer: TransportAddress, at now: Instant) -> Bool {
    let mine = datagrams.filter { $0.peer == peer }
    let mineByteCount = mine.reduce(0) { $0 + $1.bytes.count }
    guard mine.count < RelayLimits.heldDatagramsPerPeerMax,
      mineByteCount + datagram.byteCount <= RelayLimits.heldByteCountPerPeerMax,
      byteCount + datagram.byteCount <= RelayLimits.heldByteCountMax
    else { return false }
    datagrams.append(Datagram(peer: peer, bytes: [UInt8](copying: datagram), since: now))
    byteCount += datagram.byteCount
    return true
  }

  /// Whether the server refused an address a short while ago.
  mutating func isRefused(_ ip: IPAddress, at now: Instant) -> Bool {
    guard let until = refusals[ip] else { return false }
    guard until <= now else { return true }
    refusals[ip] = nil
    return false
  }

  /// Notes a permission: what is held for the address may go.
  mutating func permit(_ ip: IPAddress) {
    permitted += datagrams.filter { $0.peer.ip == ip }
    datagrams.removeAll { $0.peer.ip == ip }
    byteCount = datagrams.reduce(0) { $0 + $1.bytes.count }
  }

  /// Notes a refusal; returns how many datagrams are lost by it.
  mutating func refuse(_ ip: IPAddress, until: Instant?) -> Int {
    let before = datagrams.count
    datagrams.removeAll { $0.peer.ip == ip }
    byteCount = datagrams.reduce(0) { $0 + $1.bytes.count }
    if let until, refusals.count < TURNLimits.peersMax { refusals[ip] = until }
    return before - datagrams.count
  }

  /// The next datagram that may be sent.
  mutating func takePermitted() -> (peer: TransportAddress, bytes: [UInt8], since: Instant)? {
    guard !permitted.isEmpty else { return nil }
    let next = permitted.removeFirst()
    return (next.peer, next.bytes, next.since)
  }
}
