// SPDX-License-Identifier: Apache-2.0

public import DTLS
public import ICE
public import RTP
public import SansIO
public import WebRTCCore

#if DataChannels
  public import SCTP
#endif

/// A whole connection of ours on a host of the simulated network: the core, its sockets, the gatherer that asks
/// servers for its candidates, and what it reported.
public final class SimulatedPeer: SimulatedNode {
  /// The connection.
  public var core: PeerConnectionCore
  /// Its sockets.
  public private(set) var sockets: [LocalSocket]
  /// Everything it reported so far, frames and candidates left out.
  public private(set) var events: [PeerConnectionCore.Event] = []
  /// Candidates that wait to be carried to the other side, `nil` for their end.
  public var trickled: [ICECandidateInit?] = []
  /// Whether an offer of this peer has to be made.
  public internal(set) var wantsNegotiation = false
  /// What it learnt from servers.
  public private(set) var gathered: [CandidateGatherer.Event] = []
  /// Frames that arrived.
  public private(set) var frames: [(transceiver: TransceiverID, frame: MediaFrame, arrival: Instant)] = []
  #if DataChannels
    /// Messages of data channels that arrived.
    public private(set) var messages:
      [(channel: DataChannelID, message: DataChannelMessage, arrival: Instant)] =
        []
    /// Whether the application reads them at once; those that it has not read hold the other side back.
    public var readsMessages = true
    private var unreadByteCounts: [Int] = []
  #endif
  /// How often a key frame was asked for.
  public private(set) var keyFrameRequestCount = 0
  /// When the connection state last became `connected`.
  public private(set) var connectedAt: Instant?
  /// What the host's resolver knows, for names of servers and of the other side's candidates. A candidate with
  /// another name, and the wish for a TCP connection to one, are left to the test: they stand in ``events``.
  public var names: [String: [IPAddress]] = [:] {
    didSet { shell?.names = names }
  }

  private var sites: [UInt32: SiteID] = [:]
  private var shell: ServerShell?

  /// Makes a peer on the Internet with one socket for each address.
  public convenience init(
    addresses: [TransportAddress], dtls: DTLSContext, seed: UInt64, at now: Instant,
    configure: (inout PeerConnectionCore.Configuration) -> Void = { _ in }
  ) throws {
    try self.init(
      sockets: addresses.map { ($0, .internet) }, servers: [], dtls: dtls, seed: seed, at: now,
      configure: configure)
  }

  /// Makes a peer on a host, with a socket at port 5000 of each of its interfaces.
  ///
  /// - Parameter servers: STUN and TURN servers that it gathers candidates from, from now on.
  public convenience init(
    host: SimulatedHost, servers: [ICEServer] = [], dtls: DTLSContext, seed: UInt64, at now: Instant,
    configure: (inout PeerConnectionCore.Configuration) -> Void = { _ in }
  ) throws {
    try self.init(
      sockets: host.interfaces.map { (TransportAddress(ip: $0.ip, port: 5000), $0.site) }, servers: servers,
      dtls: dtls, seed: seed, at: now, configure: configure)
  }

  private init(
    sockets: [(address: TransportAddress, site: SiteID)], servers: [ICEServer], dtls: DTLSContext,
    seed: UInt64, at now: Instant, configure: (inout PeerConnectionCore.Configuration) -> Void
  ) throws {
    var random = RandomSource(seed: seed)
    var configuration = PeerConnectionCore.Configuration(
      dtls: dtls, certificate: try dtls.makeCertificate(), random: random.split(),
      transactionPrefix: UInt32(truncatingIfNeeded: random.next()),
      wallClockNanosecondsAtZero: SimulatedTURNServer.unixTimeAtOrigin.nanoseconds)
    configure(&configuration)
    core = PeerConnectionCore(configuration: configuration, at: now)
    self.sockets = []
    if !servers.isEmpty {
      var gathering = CandidateGatherer.Configuration()
      // Whole calls are simulated, not a master that waits for viewers.
      gathering.relaySpareCount = 0
      shell = ServerShell(configuration: gathering, random: random.split())
    }
    for (address, site) in sockets { addSocket(at: address, in: site, at: now) }
    shell?.gatherer.update(servers: servers, at: now)
    shell?.gatherer.requestRelay(for: Self.owner, at: now)
  }

  /// Whose relays a peer's gatherer asks for: there is but one connection.
  private static let owner = 0

  /// Opens one more socket, as when an interface comes up.
  @discardableResult
  public func addSocket(at address: TransportAddress, in site: SiteID = .internet, at now: Instant)
    -> LocalSocket
  {
    let socket = LocalSocket(id: UInt32(sites.count), address: address)
    sockets.append(socket)
    sites[socket.id] = site
    core.addLocalSocket(socket, at: now)
    shell?.addSocket(ServerShell.SharedSocket(socket: socket, site: site), at: now)
    return socket
  }

  /// Closes a socket, as when its interface went down.
  public func removeSocket(_ socket: LocalSocket, at now: Instant) {
    sockets.removeAll { $0 == socket }
    core.removeLocalSocket(id: socket.id, at: now)
    let site = sites[socket.id] ?? .internet
    shell?.removeSocket(ServerShell.SharedSocket(socket: socket, site: site), at: now)
  }

  /// Takes renewed credentials, or other servers.
  public func update(servers: [ICEServer], at now: Instant) {
    shell?.gatherer.update(servers: servers, at: now)
  }

  // MARK: Being driven

  /// When the core or the gatherer wants to be called.
  public var nextDeadline: Instant? { Instant.earliest(core.nextDeadline, shell?.gatherer.nextDeadline) }

  /// Gives the core or the gatherer a datagram that is for one of their sockets.
  public func receive(_ delivery: SimulatedNetwork.Delivery, at now: Instant) -> Bool {
    let isTaken = shell?.receive(delivery, at: now) { bytes, route in
      core.receive(bytes, on: route, at: now)
    }
    if isTaken == true { return true }
    let socket = sockets.first { $0.address == delivery.destination && sites[$0.id] == delivery.site }
    guard let socket else { return false }
    core.receive(delivery.bytes.rawSpan, on: Route(receivedOn: socket, from: delivery.source), at: now)
    return true
  }

  /// Gives the gatherer what comes over connections to servers.
  public func receive(_ event: StreamEvent, at now: Instant) -> Bool {
    shell?.receive(event, at: now) { bytes, route in core.receive(bytes, on: route, at: now) } ?? false
  }

  /// Lets the core and the gatherer do what is due.
  public func handleTimeout(at now: Instant) {
    if let deadline = core.nextDeadline, deadline <= now { core.handleTimeout(at: now) }
    if let deadline = shell?.gatherer.nextDeadline, deadline <= now { shell?.gatherer.handleTimeout(at: now) }
  }

  /// The socket bound to an address.
  public func socket(at address: TransportAddress) -> LocalSocket? { sockets.first { $0.address == address } }

  /// The latest connection state.
  public var connectionState: PeerConnectionState { core.connectionState }

  /// Moves all that core and gatherer want to send to the network and all events to the logs.
  public func drain(into network: inout SimulatedNetwork, at now: Instant) {
    while true {
      drainCore(into: &network, at: now)
      guard let shell else { return }
      var hasActed = shell.drain(into: &network, at: now)
      while let event = shell.gatherer.pollEvent() {
        hasActed = true
        take(event, at: now)
      }
      guard hasActed else { return }
    }
  }

  private func drainCore(into network: inout SimulatedNetwork, at now: Instant) {
    while true {
      var transmit: Transmit?
      let bytes = [UInt8](writing: 57_600) { out in transmit = core.pollTransmit(into: &out, at: now) }
      guard let transmit else { break }
      for start in stride(from: 0, to: bytes.count, by: transmit.segmentByteCount) {
        let end = min(start + transmit.segmentByteCount, bytes.count)
        send(Array(bytes[start..<end]), on: transmit.route, into: &network, at: now)
      }
    }
    while let event = core.pollEvent() { note(event, at: now) }
  }

  #if DataChannels
    /// Reads the messages that wait, as an application does that has let them wait.
    public func readMessages(at now: Instant) {
      for byteCount in unreadByteCounts { core.messageConsumed(byteCount, at: now) }
      unreadByteCounts = []
    }

    private func note(_ id: DataChannelID, _ message: DataChannelMessage, at now: Instant) {
      messages.append((id, message, now))
      unreadByteCounts.append(message.bytes.count)
      if readsMessages { readMessages(at: now) }
    }
  #endif

  private func send(
    _ bytes: [UInt8], on route: Route, into network: inout SimulatedNetwork, at now: Instant
  ) {
    if route.socket.id >= CandidateGatherer.firstRelaySocketID {
      shell?.send(bytes.rawSpan, on: route, into: &network, at: now)
    } else {
      network.send(
        bytes, from: route.socket.address, in: sites[route.socket.id] ?? .internet, to: route.remote, at: now)
    }
  }

  private func take(_ event: CandidateGatherer.Event, at now: Instant) {
    gathered.append(event)
    switch event {
    case .serverReflexive(let base, let mapped):
      core.addServerReflexiveAddress(mapped, base: base, at: now)
    case .relayed(let socket, let mapped, let transport, _):
      core.addRelay(socket, mapped: mapped, over: transport, at: now)
    case .relayLost(let id, _, _): core.removeLocalSocket(id: id, at: now)
    case .gatheringComplete: core.setEndOfLocalCandidates(at: now)
    case .serverFailed: break
    }
  }

  private func note(_ event: PeerConnectionCore.Event, at now: Instant) {
    switch event {
    case .frameReceived(let id, let frame): frames.append((id, frame, now))
    case .localCandidate(let candidate): trickled.append(candidate)
    case .endOfLocalCandidates: trickled.append(nil)
    case .negotiationNeeded: wantsNegotiation = true
    case .nameNeedsResolving(let name):
      if let addresses = names[name] { core.resolved(name: name, to: addresses, at: now) }
    case .keyFrameRequested: keyFrameRequestCount += 1
    case .relaysInDoubt:
      shell?.gatherer.verifyRelays(of: Self.owner, at: now)
    case .connectionStateChanged(let state): if state == .connected { connectedAt = now }
    default: break
    }
    #if DataChannels
      if case .messageReceived(let id, let message) = event { return note(id, message, at: now) }
    #endif
    switch event {
    case .frameReceived, .localCandidate: break
    default: events.append(event)
    }
  }
}
