// SPDX-License-Identifier: Apache-2.0

public import DTLS
public import RTP
public import SansIO
public import WebRTCCore

/// A whole connection of ours on a host of the simulated network: the core, its sockets, what it reported.
public final class SimulatedPeer: SimulatedNode {
  /// The connection.
  public var core: PeerConnectionCore
  /// Its sockets.
  public private(set) var sockets: [LocalSocket]
  /// Everything it reported so far, frames and candidates left out.
  public private(set) var events: [PeerConnectionCore.Event] = []
  /// Candidates that wait to be carried to the other side.
  public var trickled: [ICECandidateInit] = []
  /// Frames that arrived.
  public private(set) var frames: [(transceiver: TransceiverID, frame: MediaFrame, arrival: Instant)] = []
  /// How often a key frame was asked for.
  public private(set) var keyFrameRequestCount = 0
  /// When the connection state last became `connected`.
  public private(set) var connectedAt: Instant?
  /// The site that each socket is in, by the socket's id.
  private var sites: [UInt32: SiteID] = [:]

  /// Makes a peer on the Internet with one socket for each address.
  public convenience init(
    addresses: [TransportAddress], dtls: DTLSContext, seed: UInt64, at now: Instant,
    configure: (inout PeerConnectionCore.Configuration) -> Void = { _ in }
  ) throws {
    try self.init(
      sockets: addresses.map { ($0, .internet) }, dtls: dtls, seed: seed, at: now, configure: configure)
  }

  /// Makes a peer on a host, with a socket at port 5000 of each of its interfaces.
  public convenience init(
    host: SimulatedHost, dtls: DTLSContext, seed: UInt64, at now: Instant,
    configure: (inout PeerConnectionCore.Configuration) -> Void = { _ in }
  ) throws {
    try self.init(
      sockets: host.interfaces.map { (TransportAddress(ip: $0.ip, port: 5000), $0.site) }, dtls: dtls,
      seed: seed, at: now, configure: configure)
  }

  private init(
    sockets: [(address: TransportAddress, site: SiteID)], dtls: DTLSContext, seed: UInt64, at now: Instant,
    configure: (inout PeerConnectionCore.Configuration) -> Void
  ) throws {
    var random = RandomSource(seed: seed)
    var configuration = PeerConnectionCore.Configuration(
      dtls: dtls, certificate: try dtls.makeCertificate(), random: random.split(),
      transactionPrefix: UInt32(truncatingIfNeeded: random.next()),
      wallClockNanosecondsAtZero: 1_700_000_000_000_000_000)
    configure(&configuration)
    core = PeerConnectionCore(configuration: configuration, at: now)
    self.sockets = []
    for (address, site) in sockets { addSocket(at: address, in: site, at: now) }
  }

  /// Opens one more socket, as when an interface comes up.
  @discardableResult
  public func addSocket(at address: TransportAddress, in site: SiteID = .internet, at now: Instant)
    -> LocalSocket
  {
    let socket = LocalSocket(id: UInt32(sites.count), address: address)
    sockets.append(socket)
    sites[socket.id] = site
    core.addLocalSocket(socket, at: now)
    return socket
  }

  /// Closes a socket, as when its interface went down.
  public func removeSocket(_ socket: LocalSocket, at now: Instant) {
    sockets.removeAll { $0 == socket }
  }

  // MARK: Being driven

  /// When the core wants to be called.
  public var nextDeadline: Instant? { core.nextDeadline }

  /// Gives the core a datagram that is for one of its sockets.
  public func receive(_ delivery: SimulatedNetwork.Delivery, at now: Instant) -> Bool {
    let socket = sockets.first { $0.address == delivery.destination && sites[$0.id] == delivery.site }
    guard let socket else { return false }
    core.receive(delivery.bytes.rawSpan, on: Route(receivedOn: socket, from: delivery.source), at: now)
    return true
  }

  /// Takes no connections yet.
  public func receive(_ event: StreamEvent, at now: Instant) -> Bool { false }

  /// Lets the core do what is due.
  public func handleTimeout(at now: Instant) { core.handleTimeout(at: now) }

  /// The socket bound to an address.
  public func socket(at address: TransportAddress) -> LocalSocket? { sockets.first { $0.address == address } }

  /// The latest connection state.
  public var connectionState: PeerConnectionState { core.connectionState }

  /// Moves all that the core wants to send to the network and all events to the logs.
  public func drain(into network: inout SimulatedNetwork, at now: Instant) {
    var isDone = false
    while !isDone {
      var transmit: Transmit?
      let bytes = [UInt8](writing: 16_000) { out in transmit = core.pollTransmit(into: &out, at: now) }
      guard let transmit else {
        isDone = true
        continue
      }
      for start in stride(from: 0, to: bytes.count, by: transmit.segmentByteCount) {
        let end = min(start + transmit.segmentByteCount, bytes.count)
        let socket = transmit.route.socket
        network.send(
          Array(bytes[start..<end]), from: socket.address, in: sites[socket.id] ?? .internet,
          to: transmit.route.remote, at: now)
      }
    }
    while let event = core.pollEvent() { note(event, at: now) }
  }

  private func note(_ event: PeerConnectionCore.Event, at now: Instant) {
    switch event {
    case .frameReceived(let id, let frame): frames.append((id, frame, now))
    case .localCandidate(let candidate): trickled.append(candidate)
    case .keyFrameRequested:
      keyFrameRequestCount += 1
      events.append(event)
    case .connectionStateChanged(.connected):
      connectedAt = now
      events.append(event)
    default: events.append(event)
    }
  }
}
