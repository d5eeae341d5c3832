// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The client of one allocation on a TURN server, over a datagram socket or a stream (RFC 8656).
///
/// It asks for a relayed address, answers the server's challenge, keeps allocation, permissions and channels
/// alive, and wraps and unwraps what peers and we send each other. It belongs to one connection and does
/// nothing by itself: frames of the server, calls and time go in, requests, events and one deadline come out.
/// Over a stream each call of ``receive(_:on:at:)`` takes one frame of ``STUNStreamFramer``.
/// ``TURNLimits`` bounds all that it keeps.
public struct TURNClient: ~Copyable {
  /// Where the server is, and how to get on with it.
  public struct Configuration: Sendable {
    /// Our socket and the server's address; over a stream they only name the connection.
    public var route: Route
    /// Whether the route is a TCP or TLS connection: nothing is repeated, ChannelData is padded. UDP and DTLS
    /// are none.
    public var isStream: Bool
    /// The user name that the service gave out.
    public var username: String
    /// The password that goes with it.
    public var password: Secret<String>
    /// The family of the relayed address; it need not be the route's.
    public var family: IPAddress.Family
    /// The first four bytes of every transaction id, by which a shared socket finds the client; random if
    /// `nil`.
    public var transactionPrefix: UInt32?
    /// How long an allocation shall live without a refresh: 600 s, RFC 8656 §3.2. The server may say otherwise.
    public var lifetimeSeconds: UInt32 = 600
    /// How long before its end an allocation is refreshed, but at least half of its lifetime is used: 60 s, more
    /// than all repetitions of a request take.
    public var refreshMargin = TimeDelta.seconds(60)
    /// The time between refreshes of a permission: 240 s of the 300 s that it lives (RFC 8656 §9).
    public var permissionInterval = TimeDelta.seconds(240)
    /// The time between refreshes of a channel: 540 s of the 600 s that it lives (RFC 8656 §12).
    public var channelInterval = TimeDelta.seconds(540)
    /// The first time-out of a request over UDP: 500 ms (RFC 8489 §6.2.1). It doubles with each repetition.
    public var retransmissionTimeout = TimeDelta.milliseconds(500)
    /// How long a response over a stream is waited for: 39.5 s, Ti of RFC 8489 §6.2.2.
    public var streamTimeout = TimeDelta.milliseconds(39_500)

    /// Names a server and the credentials for it.
    public init(
      route: Route, isStream: Bool = false, username: String, password: Secret<String>,
      family: IPAddress.Family = .ipv4
    ) {
      self.route = route
      self.isStream = isStream
      self.username = username
      self.password = password
      self.family = family
    }
  }

  /// How far the allocation is.
  public enum State: Hashable, Sendable {
    /// ``start(at:)`` was not called.
    case idle
    /// The server was asked.
    case allocating
    /// The relayed address is ours.
    case allocated(relayed: TransportAddress)
    /// The server was told that the allocation is not needed any more.
    case releasing
    /// There is no allocation, or none any more. Final.
    case failed(TURNFailure)
    /// The allocation was released. Final.
    case closed
  }

  /// What the client has to say.
  public enum Event: Hashable, Sendable {
    /// A relayed address is ours; `mapped` is our own address as the server sees it.
    case allocated(relayed: TransportAddress, mapped: TransportAddress?)
    /// The allocation could not be made, or is lost. Nothing more will be sent.
    case failed(TURNFailure)
    /// The allocation was released, or the server did not answer that it was.
    case closed
    /// Data from and to all ports of the address may pass.
    case permitted(IPAddress)
    /// The server does not let the address through, now or any more; the peers on it are forgotten.
    case permissionRefused(IPAddress, TURNFailure)
    /// Data to the peer has four bytes of overhead from now on.
    case channelBound(TransportAddress)
    /// The peer got no channel, or lost it; data goes on in indications.
    case channelRefused(TransportAddress, TURNFailure)
  }

  /// What stands for one address that may send to us.
  struct Permission: Sendable {
    let ip: IPAddress
    var isGranted = false
    var refreshAt: Instant?
    /// When the server forgets it unless it is refreshed.
    var expiresAt: Instant?
  }

  /// What stands for one peer with a channel.
  struct Channel: Sendable {
    let peer: TransportAddress
    let number: ChannelNumber
    var isBound = false
    var refreshAt: Instant?
    /// When the server forgets it unless it is refreshed.
    var expiresAt: Instant?
  }

  let configuration: Configuration
  var random: RandomSource
  /// How far the allocation is.
  public internal(set) var state = State.idle
  var realm: String?
  var nonce: [UInt8] = []
  var key: STUNIntegrityKey?
  var transactions: [TURNTransaction] = []
  var permissions: [Permission] = []
  var channels: [Channel] = []
  /// Peers that want a channel before there is an allocation.
  var wantedChannels: [TransportAddress] = []
  var nextChannel = ChannelNumber.first
  /// Channels that were refused or lost, oldest first, at most ``TURNLimits/peersMax``: the server may know them
  /// still, and then takes no other number for the peer and no other peer for the number (RFC 8656 §12).
  var retiredChannels: [(peer: TransportAddress, number: ChannelNumber)] = []
  var refreshAt: Instant?
  var expiresAt: Instant?
  var isReleaseWanted = false
  var events = BoundedQueue<Event>(capacity: TURNLimits.eventsMax)
  /// When ``handleTimeout(at:)`` is due; `nil` if nothing is.
  public internal(set) var nextDeadline: Instant?
  /// What was not acted upon, by cause.
  public internal(set) var drops = DropCounters<TURNDropCause>()

  /// Makes a client that has not asked for anything yet. The user name has at most
  /// ``TURNLimits/usernameByteCountMax`` bytes.
  public init(configuration: Configuration, random: RandomSource) {
    precondition(
      configuration.username.utf8.count <= TURNLimits.usernameByteCountMax, "the user name is too long")
    self.configuration = configuration
    self.random = random
  }

  /// The relayed address, while the allocation lives.
  public var relayedAddress: TransportAddress? {
    if case .allocated(let relayed) = state { relayed } else { nil }
  }

  /// Asks the server for a relayed address.
  public mutating func start(at now: Instant) {
    guard state == .idle else { return }
    state = .allocating
    request(.allocate, at: now)
    rearm()
  }

  /// Lets a peer's address send to us and be sent to (RFC 8656 §9), for as long as the allocation lives.
  ///
  /// Returns whether the wish was taken: `false` for another family, a full table or after the end.
  @discardableResult
  public mutating func permit(_ ip: IPAddress, at now: Instant) -> Bool {
    guard canTakePeers, ip.family == configuration.family else { return false }
    guard !permissions.contains(where: { $0.ip == ip }) else { return true }
    guard permissions.count < TURNLimits.peersMax else { return false }
    permissions.append(Permission(ip: ip))
    if relayedAddress != nil { request(.permission(ip), at: now) }
    rearm()
    return true
  }

  /// Gives a peer a channel (RFC 8656 §12), and a permission first; until it stands, data goes in indications.
  ///
  /// Returns whether the wish was taken, as ``permit(_:at:)`` does.
  @discardableResult
  public mutating func bindChannel(to peer: TransportAddress, at now: Instant) -> Bool {
    guard peer.port != 0, permit(peer.ip, at: now) else { return false }
    guard !channels.contains(where: { $0.peer == peer }), !wantedChannels.contains(peer) else { return true }
    guard channels.count + wantedChannels.count < TURNLimits.peersMax else { return false }
    wantedChannels.append(peer)
    bindWantedChannels(at: now)
    rearm()
    return true
  }

  private var canTakePeers: Bool {
    switch state {
    case .idle, .allocating, .allocated: !isReleaseWanted
    case .releasing, .failed, .closed: false
    }
  }

  /// Asks the server at once whether the allocation still stands, by a Refresh (RFC 8656 §7): a server that was
  /// started anew says so long before the next regular refresh.
  public mutating func verify(at now: Instant) {
    guard relayedAddress != nil else { return }
    request(.refresh, at: now)
    rearm()
  }

  /// Whether a Refresh waits for its answer.
  var isVerifying: Bool { transactions.contains { $0.kind == .refresh } }

  /// Gives the relayed address back (RFC 8656 §7.1: a Refresh with lifetime 0). ``Event/closed`` follows.
  public mutating func release(at now: Instant) {
    switch state {
    case .idle: close()
    case .allocating: isReleaseWanted = true
    case .allocated: beginRelease(at: now)
    case .releasing, .failed, .closed: break
    }
    rearm()
  }

  /// Lets go of everything but the request that ends the allocation.
  mutating func beginRelease(at now: Instant) {
    state = .releasing
    forgetEverything()
    request(.release, at: now)
  }

  /// Ends without another word to the server.
  mutating func close() {
    forgetEverything()
    state = .closed
    emit(.closed)
  }

  mutating func fail(_ failure: TURNFailure) {
    forgetEverything()
    if isReleaseWanted {
      state = .closed
      emit(.closed)
    } else {
      state = .failed(failure)
      emit(.failed(failure))
    }
  }

  private mutating func forgetEverything() {
    transactions = []
    permissions = []
    channels = []
    wantedChannels = []
    refreshAt = nil
    expiresAt = nil
  }

  /// Acts on everything that is due.
  public mutating func handleTimeout(at now: Instant) {
    handleTransactionTimeouts(at: now)
    handleLifetimes(at: now)
    rearm()
  }

  private mutating func handleLifetimes(at now: Instant) {
    guard relayedAddress != nil else { return }
    if let expiresAt, expiresAt <= now { return fail(.timedOut) }
    if let refreshAt, refreshAt <= now {
      self.refreshAt = nil
      request(.refresh, at: now)
    }
    for index in permissions.indices where permissions[index].refreshAt.map({ $0 <= now }) == true {
      permissions[index].refreshAt = nil
      request(.permission(permissions[index].ip), at: now)
    }
    for index in channels.indices where channels[index].refreshAt.map({ $0 <= now }) == true {
      channels[index].refreshAt = nil
      request(.channel(channels[index].peer), at: now)
    }
    for ip in permissions.filter({ $0.expiresAt.map { $0 <= now } == true }).map(\.ip) {
      refusePermission(ip, .timedOut)
    }
    for peer in channels.filter({ $0.expiresAt.map { $0 <= now } == true }).map(\.peer) {
      refuseChannel(peer, .timedOut)
    }
  }

  /// Computes the deadline from all that has one.
  mutating func rearm() {
    var next = Instant.earliest(refreshAt, expiresAt)
    for transaction in transactions { next = Instant.earliest(next, transaction.nextAt) }
    for permission in permissions {
      next = Instant.earliest(next, Instant.earliest(permission.refreshAt, permission.expiresAt))
    }
    for channel in channels {
      next = Instant.earliest(next, Instant.earliest(channel.refreshAt, channel.expiresAt))
    }
    nextDeadline = next
  }

  /// Writes one request and says where it goes, or returns `nil` when there is none. The lent memory has room
  /// for ``TURNLimits/messageByteCountMax`` bytes.
  public mutating func pollTransmit(into output: inout OutputRawSpan, at now: Instant) -> Transmit? {
    guard let index = transactions.firstIndex(where: \.isUnsent) else { return nil }
    transactions[index].isUnsent = false
    output.write(transactions[index].bytes)
    return Transmit(route: configuration.route, segmentByteCount: transactions[index].bytes.count)
  }

  /// The next event, oldest first.
  public mutating func pollEvent() -> Event? { events.popFirst() }

  mutating func emit(_ event: Event) {
    if events.isFull { _ = events.popFirst() }
    _ = events.append(event)
  }
}
