// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The number of a connection to a TURN server, given by the gatherer and never given twice.
public struct ServerConnectionID: RawRepresentable, Hashable, Sendable {
  /// The number.
  public let rawValue: UInt64

  /// Wraps a number.
  public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// A connection that a gatherer wants to a TURN server.
public struct ServerConnection: Hashable, Sendable {
  /// Its number.
  public let id: ServerConnectionID
  /// UDP means a socket of its own: a server tells allocations apart by our address and port (RFC 8656 §2.2).
  public let transport: TURNTransport
  /// Where the server is. An unspecified address stands for "whatever the proxy makes of the name", see
  /// ``CandidateGatherer/Action/resolve(host:)``.
  public let server: TransportAddress
  /// The name in the server's URL, which its certificate has to be for; `nil` where the URL has an address.
  public let hostName: String?

  /// Describes a connection.
  public init(
    id: ServerConnectionID, transport: TURNTransport, server: TransportAddress, hostName: String?
  ) {
    self.id = id
    self.transport = transport
    self.server = server
    self.hostName = hostName
  }
}

/// A datagram that a peer sent through a relay: a view of the frame that brought it.
public struct RelayedDatagram: ~Escapable {
  /// The relay that the peer sent to.
  public let relay: LocalSocket
  /// Whose relay it is.
  public let owner: Int
  /// The peer that the server names.
  public let peer: TransportAddress
  /// What the peer sent.
  public let bytes: RawSpan

  @_lifetime(copy bytes)
  init(relay: LocalSocket, owner: Int, peer: TransportAddress, bytes: RawSpan) {
    self.relay = relay
    self.owner = owner
    self.peer = peer
    self.bytes = bytes
  }
}

/// Learns the addresses that servers know for us, and allocates relays before they are needed (RFC 8445 §5.1.1).
///
/// One gatherer serves all peer connections of a network loop: server-reflexive addresses belong to the sockets
/// that they share, relays to one owner each, with spares in wait. It opens nothing by itself: ``Action``s ask its
/// shell for names and connections, datagrams and frames go in, requests and ``Event``s come out.
/// ``RelayLimits`` bounds all that it keeps.
public struct CandidateGatherer: ~Copyable {
  /// How many relays are wanted, and the timings.
  public struct Configuration: Sendable {
    /// Relays that wait for an owner, for each family: 0 to ``RelayLimits/relaySpareCountMax``.
    public var relaySpareCount = 1
    /// The families of relayed addresses. Each owner gets one relay of each.
    public var relayFamilies: [IPAddress.Family] = [.ipv4]
    /// The time between two Bindings that keep a NAT's mapping: 15 s, the least that RFC 8445 §11 allows; home
    /// routers were seen to forget after 20 s to 30 s.
    public var keepAliveInterval = TimeDelta.seconds(15)
    /// How long a relay over a worse transport waits for a better one at the first allocation: 500 ms, so that
    /// one lost datagram (RFC 8489 §6.2.1's first time-out) does not put a whole call on TCP.
    public var transportGrace = TimeDelta.milliseconds(500)
    /// How long the way that worked before is waited for until all others are tried beside it: 1 s.
    public var fallbackDelay = TimeDelta.seconds(1)
    /// The time between tries of two addresses of one name: 250 ms (RFC 8305 §5).
    public var addressStagger = TimeDelta.milliseconds(250)
    /// How long the shell may take to open a connection or to resolve a name: 10 s.
    public var openTimeout = TimeDelta.seconds(10)
    /// When an owner is told that gathering is complete although something has not answered yet: 10 s. What comes
    /// later is announced all the same.
    public var gatheringTimeout = TimeDelta.seconds(10)
    /// How long a server may take to say that a relay still stands, see ``verifyRelays(of:at:)``: 3 s, the first
    /// request and two repetitions.
    public var verificationTimeout = TimeDelta.seconds(3)
    /// How long a server is waited for when its relay is given back: 2 s.
    public var releaseTimeout = TimeDelta.seconds(2)

    /// The defaults.
    public init() {}
  }

  /// What the shell has to do.
  public enum Action: Hashable, Sendable {
    /// Look up a name's addresses of both families, then call ``CandidateGatherer/resolved(host:to:at:)``.
    ///
    /// Where nothing but a proxy knows names, answer with an unspecified address (0.0.0.0): connections over TCP
    /// and TLS are then asked for by name, the others are not tried.
    case resolve(host: String)
    /// Open a connection, then call ``CandidateGatherer/connectionOpened(_:localAddress:at:)`` or
    /// ``CandidateGatherer/connectionFailed(_:reason:at:)``.
    case open(ServerConnection)
    /// Close a connection, open or not. It does not have to be reported.
    case close(ServerConnectionID)
  }

  /// Where bytes go.
  public enum Destination: Hashable, Sendable {
    /// From one of the shared sockets.
    case socket(Route)
    /// Over a connection to a server.
    case connection(ServerConnectionID)
  }

  /// What ``pollTransmit(into:at:)`` wrote: one datagram, or one frame of a stream.
  public struct Outgoing: Hashable, Sendable {
    /// Where it goes.
    public let destination: Destination
    /// How long it is.
    public let byteCount: Int
  }

  /// What the gatherer has found out.
  public enum Event: Hashable, Sendable {
    /// Others see a shared socket at this address. Said again whenever the address changes; never said where it
    /// is the socket's own.
    case serverReflexive(base: LocalSocket, mapped: TransportAddress)
    /// An owner has a relay. The socket's address is the relayed one, `mapped` is where the server sees us.
    case relayed(LocalSocket, mapped: TransportAddress?, over: TURNTransport, owner: Int)
    /// An owner's relay is gone. Another one is on its way, unless the owner was released.
    case relayLost(socketID: UInt32, owner: Int, reason: TURNFailure)
    /// Everything that is known for an owner was said, and nothing more is to be waited for. Once per
    /// ``requestRelay(for:at:)``.
    case gatheringComplete(owner: Int)
    /// A server did not do what it is for. Once for each URL until it works again. A URL that is not used for a
    /// reason of ours is named here too.
    case serverFailed(url: String, reason: String)
  }

  /// Ids of relays begin here; below are the host's sockets and its TCP connections.
  public static let firstRelaySocketID: UInt32 = 0x8000_0000

  /// Somebody who asked for relays.
  struct Owner: Sendable {
    let id: Int
    /// When gathering counts as complete although something has not answered; `nil` once it does.
    var completeBy: Instant?
  }

  let configuration: Configuration
  var random: RandomSource
  /// The first four bytes of the transaction id of every request that leaves a shared socket: a response with it
  /// is for ``receive(_:on:at:)``.
  public let transactionPrefix: UInt32

  /// The URLs in use, in the configuration's order; `nil` before the first ``update(servers:at:)``.
  var servers: [UsedServer]?
  /// URLs whose failure was told and that have not worked since.
  var failedURLs: Set<ICEServerURL> = []
  var names = NameTable()

  var sockets: [SharedSocket] = []
  /// When the next Binding may begin, and how many were begun.
  var nextProbeAt = Instant(nanoseconds: .min)
  var probesBegun = 0
  var hasUnsentProbes = false

  var owners: [Owner] = []
  /// In the order of their ids.
  var slots: [RelaySlot] = []
  var provenWay: ProvenWay?
  /// All connections.
  var links: [ServerConnectionID: RelayLink] = [:]
  /// The connections whose relays have an owner, by the relays' ids.
  var relays: [UInt32: RelayLink] = [:]
  /// Connections that may have something to send.
  var queuedLinks: [ServerConnectionID] = []
  var nextSlotID = 0
  private var nextLinkNumber: UInt64 = 0
  private var isEnding = false

  private var actions: [Action] = []
  private var events: [Event] = []
  /// When ``handleTimeout(at:)`` is due; `nil` if nothing is. It may be early, never late.
  public internal(set) var nextDeadline: Instant?
  /// What was not done or not acted upon, by cause.
  public internal(set) var drops = DropCounters<GathererDropCause>()

  /// Makes a gatherer without sockets and servers.
  public init(configuration: Configuration = .init(), random: RandomSource) {
    precondition(
      (0...RelayLimits.relaySpareCountMax).contains(configuration.relaySpareCount), "too many spare relays")
    self.configuration = configuration
    self.random = random
    transactionPrefix = UInt32(truncatingIfNeeded: self.random.next())
  }

  /// Relays that stand ready without an owner.
  public var spareRelayCount: Int { slots.count { $0.owner == nil && $0.isStanding } }

  /// Relays that owners have.
  public var relayCount: Int { relays.count }

  /// Gives everything back and asks for nothing more; close actions follow.
  public mutating func shutdown(at now: Instant) {
    isEnding = true
    owners = []
    sockets = []
    servers = []
    names = NameTable()
    for slot in slots { abandon(slot, at: now) }
    slots = []
    rearm()
  }

  /// Whether ``shutdown(at:)`` was called.
  var isShuttingDown: Bool { isEnding }

  /// Whether ``shutdown(at:)`` was called, and all connections are closed.
  public var isShutDown: Bool { isEnding && links.isEmpty }

  /// Acts on everything that is due.
  public mutating func handleTimeout(at now: Instant) {
    handleNameTimeouts(at: now)
    handleProbeTimeouts(at: now)
    handleLinkTimeouts(at: now)
    handleSlotTimeouts(at: now)
    settle(at: now)
  }

  /// What every call but those for packets ends with.
  mutating func settle(at now: Instant) {
    beginProbes(at: now)
    balanceSpares(at: now)
    beginQueued(at: now)
    tellCompletion(at: now)
    rearm()
  }

  /// Computes the deadline from all that has one.
  private mutating func rearm() {
    var next = names.nextDeadline
    for socket in sockets {
      for probe in socket.probes {
        guard let deadline = probe.nextDeadline else { continue }
        next = Instant.earliest(next, probe.isAsking ? deadline : max(deadline, nextProbeAt))
      }
    }
    for slot in slots { next = Instant.earliest(next, slot.nextDeadline) }
    for link in links.values { next = Instant.earliest(next, link.nextDeadline) }
    for owner in owners { next = Instant.earliest(next, owner.completeBy) }
    nextDeadline = next
  }

  /// The next action, oldest first. The shell takes all after every call.
  public mutating func pollAction() -> Action? { actions.isEmpty ? nil : actions.removeFirst() }

  /// The next event, oldest first. The shell takes all after every call.
  public mutating func pollEvent() -> Event? { events.isEmpty ? nil : events.removeFirst() }

  mutating func perform(_ action: Action) {
    precondition(actions.count < RelayLimits.actionsMax, "the shell does not take the actions")
    actions.append(action)
  }

  mutating func emit(_ event: Event) {
    if events.count >= RelayLimits.eventsMax { events.removeFirst() }
    events.append(event)
  }

  /// Tells that a URL does not do what it is for, unless that was told.
  mutating func report(_ url: ICEServerURL, reason: String) {
    guard failedURLs.insert(url).inserted else { return }
    emit(.serverFailed(url: url.description, reason: reason))
  }

  /// A number for a connection, and the id for its relay: each is given to one connection at a time.
  mutating func takeLinkNumber() -> (id: ServerConnectionID, socketID: UInt32) {
    var socketID: UInt32
    repeat {
      nextLinkNumber += 1
      socketID = Self.socketID(of: nextLinkNumber)
    } while links.values.contains { $0.socketID == socketID }
    return (ServerConnectionID(rawValue: nextLinkNumber), socketID)
  }

  private static func socketID(of number: UInt64) -> UInt32 {
    firstRelaySocketID | UInt32(truncatingIfNeeded: number) & ~firstRelaySocketID
  }
}
