// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The number of a relay socket, given by the server's core.
public struct RelayID: RawRepresentable, Hashable, Sendable {
  /// The number; it is never given twice.
  public let rawValue: UInt64

  /// Wraps a number.
  public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// Why a TURN server did not act on something, or refused it.
public enum TURNServerDropCause: Int, CaseIterable, Sendable {
  /// Neither STUN nor ChannelData, or damaged.
  case malformed
  /// A datagram from an address that may not be sent to.
  case unsendableSource
  /// A message that no client sends to a server.
  case unknownMethod
  /// A request without credentials or with a stale nonce: the beginning of every session.
  case challenged
  /// A request with wrong credentials.
  case unauthenticated
  /// A request that was refused for another reason.
  case refused
  /// An answer to an unauthenticated source that was not sent, because it had too many.
  case answerRateLimited
  /// Data of a client that has no allocation.
  case noAllocation
  /// Data to or from a peer that has no permission or channel, or has lost it.
  case noPermission
  /// Data to or from a peer that policy forbids.
  case forbiddenPeer
  /// Data that does not fit into lent memory or into any datagram.
  case oversized
  /// An answer that did not fit into the outgoing queue.
  case outgoingQueueFull
}

/// What a client wants to reach a peer: a view of the frame that brought it.
public struct TURNForward: ~Escapable {
  /// The relay socket to send from.
  public let relay: RelayID
  /// Where to send; a permission and the server's policy allow it.
  public let peer: TransportAddress
  /// What to send.
  public let payload: RawSpan

  @_lifetime(copy payload)
  init(relay: RelayID, peer: TransportAddress, payload: RawSpan) {
    self.relay = relay
    self.peer = peer
    self.payload = payload
  }
}

/// The decisions of a STUN and TURN server for UDP relays (RFC 8656, RFC 8489): who may have an allocation, and
/// whom it reaches.
///
/// It opens no socket: relay sockets are asked for and given back by ``Action``s, which its shell performs.
/// Clients' frames come in by ``receive(_:on:isStream:at:)``, peers' datagrams by
/// ``relay(_:from:on:into:at:)``. Nothing is kept for a source that did not prove itself by credentials and a
/// nonce of this server (T2); answers to such sources are limited (T1).
public struct TURNServerCore: ~Copyable {
  /// Whom the server serves, and how much of it.
  public struct Configuration: Sendable {
    /// The realm that clients are told; host name or product, at most 64 bytes so that challenges stay small.
    public var realm: String
    /// What ``TURNCredentials`` are made with.
    public var secret: Secret<[UInt8]>
    /// Time since 1970 at ``Instant/zero``: user names carry the end of their time in it.
    public var unixTimeAtOrigin: TimeDelta
    /// The families that relayed addresses can have.
    public var families: Set<IPAddress.Family> = [.ipv4]
    /// Whom is relayed to.
    public var peerPolicy = TURNPeerPolicy()
    /// Allocations of all users: 1,000, each a socket of the process.
    public var allocationsMax = 1000
    /// Allocations of one identity, whatever its user names' times: 50, as the service has for a channel.
    public var allocationsPerUserMax = 50
    /// Addresses that may send to one allocation: 100, as many as an ICE agent has pairs.
    public var permissionsPerAllocationMax = 100
    /// Channels of one allocation: 100, likewise.
    public var channelsPerAllocationMax = 100
    /// The least lifetime that is granted: 600 s (RFC 8656 §3.2).
    public var lifetimeSecondsMin: UInt32 = 600
    /// The longest lifetime that is granted: 3,600 s (RFC 8656 §7.2).
    public var lifetimeSecondsMax: UInt32 = 3600
    /// How long a nonce is good for: 600 s, so that most sessions see one refresh of it.
    public var nonceLifetime = TimeDelta.seconds(600)

    /// Names what has no default.
    public init(realm: String, secret: Secret<[UInt8]>, unixTimeAtOrigin: TimeDelta) {
      self.realm = realm
      self.secret = secret
      self.unixTimeAtOrigin = unixTimeAtOrigin
    }
  }

  /// What the shell has to do.
  public enum Action: Hashable, Sendable {
    /// Open a UDP socket that peers can reach, then call ``relayOpened(_:address:at:)`` or
    /// ``relayFailed(_:at:)``.
    case openRelay(RelayID, IPAddress.Family)
    /// Close the socket, if it was opened.
    case closeRelay(RelayID)
  }

  /// Where a message came from.
  struct Source: Sendable {
    let route: Route
    let isStream: Bool
  }

  /// A channel of a client.
  struct Channel: Sendable {
    let peer: TransportAddress
    var expiresAt: Instant
  }

  /// What one client has (RFC 8656 §2.2).
  struct Allocation: Sendable {
    let relay: RelayID
    let source: Source
    let username: String
    let identity: String
    let key: STUNIntegrityKey
    let family: IPAddress.Family
    /// The Allocate that made it; a repetition is answered again.
    let transactionID: STUNTransactionID
    let wantsFingerprint: Bool
    let lifetimeSeconds: UInt32
    /// `nil` until the shell has opened the socket.
    var relayed: TransportAddress?
    var expiresAt: Instant
    /// When each address loses its permission.
    var permissions: [IPAddress: Instant] = [:]
    var channels: [ChannelNumber: Channel] = [:]
    var numbers: [TransportAddress: ChannelNumber] = [:]
  }

  struct OutgoingMessage: Sendable {
    let route: Route
    let bytes: [UInt8]
  }

  private(set) var configuration: Configuration
  var random: RandomSource
  let nonces: TURNNonces
  var limiter: TURNAnswerLimiter
  var allocations: [Route: Allocation] = [:]
  var routes: [RelayID: Route] = [:]
  var relayedAddresses: Set<TransportAddress> = []
  var allocationsByIdentity: [String: Int] = [:]
  private var nextRelay: UInt64 = 1
  var outgoing = BoundedQueue<OutgoingMessage>(capacity: TURNLimits.outgoingMessagesMax)
  var actions: BoundedQueue<Action>
  /// When ``handleTimeout(at:)`` is due; `nil` if nothing is. It may be early, never late.
  public internal(set) var nextDeadline: Instant?
  /// What was not acted upon, by cause.
  public internal(set) var drops = DropCounters<TURNServerDropCause>()

  /// Makes a server without allocations.
  public init(configuration: Configuration, random: RandomSource) {
    precondition(configuration.realm.utf8.count <= 64, "the realm is too long")
    precondition(configuration.allocationsMax > 0, "a server has room for an allocation")
    self.configuration = configuration
    self.random = random
    nonces = TURNNonces(lifetime: configuration.nonceLifetime, random: &self.random)
    limiter = TURNAnswerLimiter(random: &self.random)
    // Opens are refused when half of it is full, and each of the allocations closes once.
    actions = BoundedQueue(capacity: 2 * configuration.allocationsMax)
  }

  /// How many allocations there are, also those whose socket is not open yet.
  public var allocationCount: Int { allocations.count }

  /// The counters that answers to unauthenticated sources are limited with; their number never changes.
  public var answerCounterCount: Int { limiter.counterCount }

  /// The user name that made the allocation behind a relay socket.
  public func username(of relay: RelayID) -> String? { routes[relay].flatMap { allocations[$0]?.username } }

  /// Whether a client has an allocation, or is about to: its connection is worth keeping.
  public func hasAllocation(on route: Route) -> Bool { allocations[route] != nil }

  /// Changes whom is relayed to, for running allocations as well.
  public mutating func update(peerPolicy: TURNPeerPolicy) { configuration.peerPolicy = peerPolicy }

  /// Tells that the socket of a relay is open, and where peers reach it. Its client gets its answer.
  public mutating func relayOpened(_ relay: RelayID, address: TransportAddress, at now: Instant) {
    guard let route = routes[relay], allocations[route]?.relayed == nil else { return }
    allocations[route]?.relayed = address
    relayedAddresses.insert(address)
    if let allocation = allocations[route] { answerAllocate(allocation) }
  }

  /// Tells that the socket of a relay could not be opened. Its client is told that there is no room.
  public mutating func relayFailed(_ relay: RelayID, at now: Instant) {
    guard let route = routes[relay], let allocation = allocations[route], allocation.relayed == nil else {
      return
    }
    forget(route)
    answer(
      TURNRefusal(.insufficientCapacity, key: allocation.key), method: .allocate,
      transactionID: allocation.transactionID, to: allocation.source, at: now)
  }

  /// Tells that the socket of a relay is gone and cannot be replaced: its allocation ends, which its client
  /// learns at its next request.
  public mutating func relayLost(_ relay: RelayID) {
    guard let route = routes[relay] else { return }
    forget(route)
  }

  /// Ends what a client has whose stream was closed.
  public mutating func disconnected(_ route: Route) { remove(route) }

  /// Ends allocations whose time is over.
  public mutating func handleTimeout(at now: Instant) {
    guard let due = nextDeadline, due <= now else { return }
    let expired = allocations.values.filter { $0.expiresAt <= now }
    for allocation in expired.sorted(by: { $0.relay.rawValue < $1.relay.rawValue }) {
      remove(allocation.source.route)
    }
    nextDeadline = allocations.values.map(\.expiresAt).min()
  }

  /// Writes one answer and says where it goes, or returns `nil` when there is none. The lent memory has room for
  /// ``TURNLimits/messageByteCountMax`` bytes.
  public mutating func pollTransmit(into output: inout OutputRawSpan, at now: Instant) -> Transmit? {
    guard let message = outgoing.popFirst() else { return nil }
    output.write(message.bytes)
    return Transmit(route: message.route, segmentByteCount: message.bytes.count)
  }

  /// The next action, oldest first.
  public mutating func pollAction() -> Action? { actions.popFirst() }

  /// Takes an allocation that was granted into the tables, and asks for its socket.
  mutating func insert(_ make: (RelayID) -> Allocation) {
    let allocation = make(RelayID(rawValue: nextRelay))
    nextRelay += 1
    routes[allocation.relay] = allocation.source.route
    allocations[allocation.source.route] = allocation
    allocationsByIdentity[allocation.identity, default: 0] += 1
    nextDeadline = Instant.earliest(nextDeadline, allocation.expiresAt)
    perform(.openRelay(allocation.relay, allocation.family))
  }

  /// Ends an allocation and has its socket closed.
  mutating func remove(_ route: Route) {
    guard let relay = allocations[route]?.relay else { return }
    forget(route)
    perform(.closeRelay(relay))
  }

  private mutating func forget(_ route: Route) {
    guard let allocation = allocations.removeValue(forKey: route) else { return }
    routes[allocation.relay] = nil
    if let relayed = allocation.relayed { relayedAddresses.remove(relayed) }
    let count = allocationsByIdentity[allocation.identity, default: 1] - 1
    allocationsByIdentity[allocation.identity] = count > 0 ? count : nil
  }

  private mutating func perform(_ action: Action) {
    let isTaken = actions.append(action)
    precondition(isTaken, "the shell does not take the actions")
  }

  mutating func enqueue(_ bytes: [UInt8], to route: Route) {
    if !outgoing.append(OutgoingMessage(route: route, bytes: bytes)) { drops[.outgoingQueueFull] += 1 }
  }

  /// Whether a peer may be relayed to.
  func isAllowed(_ peer: TransportAddress) -> Bool {
    configuration.peerPolicy.allows(peer, isOwnRelay: relayedAddresses.contains(peer))
  }

  /// Whether an address may get a permission: whether any of its ports may be relayed to.
  func isAllowed(_ ip: IPAddress) -> Bool {
    configuration.peerPolicy.allowsSome(of: ip, isOwnRelay: relayedAddresses.contains { $0.ip == ip })
  }
}
