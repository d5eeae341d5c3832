// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO

/// What a ``CandidateGatherer`` needs around it on a simulated host: names, sockets and connections to servers.
///
/// It does in virtual time what a network loop does with a kernel. Connections to servers leave from the first
/// interface of the server's family, as with a default route. DTLS to servers is not simulated and fails at once.
final class ServerShell {
  /// One way to a server.
  private final class Connection {
    let id: ServerConnectionID
    let local: SharedSocket
    /// Our address on it.
    let address: TransportAddress
    let server: TransportAddress
    /// `nil` for UDP.
    let stream: StreamID?
    var framer = STUNStreamFramer()

    init(
      id: ServerConnectionID, local: SharedSocket, address: TransportAddress, server: TransportAddress,
      stream: StreamID?
    ) {
      self.id = id
      self.local = local
      self.address = address
      self.server = server
      self.stream = stream
    }
  }

  /// A socket of the peer that servers are asked about, and where it is.
  struct SharedSocket: Hashable {
    let socket: LocalSocket
    let site: SiteID
  }

  var gatherer: CandidateGatherer
  /// What the host's resolver knows.
  var names: [String: [IPAddress]] = [:]
  private var sockets: [SharedSocket] = []
  private var connections: [Connection] = []
  private var nextPort: UInt16 = 40_000

  init(configuration: CandidateGatherer.Configuration, random: RandomSource) {
    gatherer = CandidateGatherer(configuration: configuration, random: random)
  }

  // MARK: Sockets

  func addSocket(_ socket: SharedSocket, at now: Instant) {
    sockets.append(socket)
    gatherer.addSocket(socket.socket, at: now)
  }

  func removeSocket(_ socket: SharedSocket, at now: Instant) {
    sockets.removeAll { $0 == socket }
    gatherer.removeSocket(id: socket.socket.id, at: now)
    let lost = connections.filter { $0.local == socket }
    connections.removeAll { $0.local == socket }
    for connection in lost {
      gatherer.connectionFailed(connection.id, reason: "the interface is gone", at: now)
    }
  }

  // MARK: In

  /// Takes a datagram if a server sent it. What a peer sent through a relay is handed on, with the relay as its
  /// socket.
  func receive(
    _ delivery: SimulatedNetwork.Delivery, at now: Instant, relayed: (RawSpan, Route) -> Void
  ) -> Bool {
    let connection = connections.first {
      $0.stream == nil && $0.address == delivery.destination && $0.local.site == delivery.site
    }
    if let connection {
      // A socket that is connected to its server hears nobody else.
      if connection.server == delivery.source {
        receive(delivery.bytes, on: connection.id, at: now, relayed: relayed)
      }
      return true
    }
    guard let kind = STUNPeek.kind(of: delivery.bytes.rawSpan), !kind.isRequest,
      kind.transactionPrefix == gatherer.transactionPrefix,
      let shared = sockets.first(where: {
        $0.socket.address == delivery.destination && $0.site == delivery.site
      })
    else { return false }
    let route = Route(receivedOn: shared.socket, from: delivery.source)
    gatherer.receive(delivery.bytes.rawSpan, on: route, at: now)
    return true
  }

  /// Takes an event of a connection to a server.
  func receive(_ event: StreamEvent, at now: Instant, relayed: (RawSpan, Route) -> Void) -> Bool {
    guard event.end == .client, let connection = connections.first(where: { $0.stream == event.stream })
    else { return false }
    switch event.kind {
    case .opened: gatherer.connectionOpened(connection.id, localAddress: connection.address, at: now)
    case .refused: fail(connection, "refused", at: now)
    case .closed: fail(connection, "closed", at: now)
    case .accepted: break
    case .received(let bytes):
      do throws(ParseError) {
        try connection.framer.append(bytes.rawSpan)
        while let frame = try connection.framer.nextFrame() {
          receive(frame, on: connection.id, at: now, relayed: relayed)
        }
      } catch {
        fail(connection, "no TURN", at: now)
      }
    }
    return true
  }

  private func receive(
    _ frame: [UInt8], on id: ServerConnectionID, at now: Instant, relayed: (RawSpan, Route) -> Void
  ) {
    guard let datagram = gatherer.receive(frame.rawSpan, on: id, at: now) else { return }
    relayed(datagram.bytes, Route(receivedOn: datagram.relay, from: datagram.peer))
  }

  private func fail(_ connection: Connection, _ reason: String, at now: Instant) {
    connections.removeAll { $0 === connection }
    gatherer.connectionFailed(connection.id, reason: reason, at: now)
  }

  // MARK: Out

  /// Sends a datagram of the peer's core through a relay.
  func send(
    _ datagram: RawSpan, on route: Route, into network: inout SimulatedNetwork, at now: Instant
  ) {
    var id: ServerConnectionID?
    let bytes = [UInt8](writing: datagram.byteCount + TURNLimits.overheadByteCountMax) { out in
      id = gatherer.wrap(datagram, to: route.remote, via: route.socket.id, into: &out, at: now)
    }
    if let id { send(bytes, on: id, into: &network, at: now) }
  }

  /// Performs all actions and sends all that waits. Returns whether there was anything to do.
  func drain(into network: inout SimulatedNetwork, at now: Instant) -> Bool {
    var hasActed = false
    while let action = gatherer.pollAction() {
      hasActed = true
      perform(action, in: &network, at: now)
    }
    while true {
      var outgoing: CandidateGatherer.Outgoing?
      let bytes = [UInt8](writing: RelayLimits.messageByteCountMax) { out in
        outgoing = gatherer.pollTransmit(into: &out, at: now)
      }
      guard let outgoing else { return hasActed }
      hasActed = true
      switch outgoing.destination {
      case .connection(let id): send(bytes, on: id, into: &network, at: now)
      case .socket(let route):
        let site = sockets.first { $0.socket == route.socket }?.site ?? .internet
        network.send(bytes, from: route.socket.address, in: site, to: route.remote, at: now)
      }
    }
  }

  private func send(
    _ bytes: [UInt8], on id: ServerConnectionID, into network: inout SimulatedNetwork, at now: Instant
  ) {
    guard let connection = connections.first(where: { $0.id == id }) else { return }
    if let stream = connection.stream {
      network.send(bytes, on: stream, from: .client, at: now)
    } else {
      network.send(
        bytes, from: connection.address, in: connection.local.site, to: connection.server, at: now)
    }
  }

  private func perform(
    _ action: CandidateGatherer.Action, in network: inout SimulatedNetwork, at now: Instant
  ) {
    switch action {
    case .resolve(let host): gatherer.resolved(host: host, to: names[host] ?? [], at: now)
    case .open(let wanted): open(wanted, in: &network, at: now)
    case .close(let id):
      guard let connection = connections.first(where: { $0.id == id }) else { return }
      connections.removeAll { $0 === connection }
      if let stream = connection.stream { network.close(stream, from: .client, at: now) }
    }
  }

  private func open(_ wanted: ServerConnection, in network: inout SimulatedNetwork, at now: Instant) {
    let local = sockets.first { $0.socket.address.ip.family == wanted.server.ip.family }
    guard let local, wanted.transport != .dtls else {
      return gatherer.connectionFailed(wanted.id, reason: "no way there", at: now)
    }
    let address = TransportAddress(ip: local.socket.address.ip, port: nextPort)
    nextPort += 1
    var stream: StreamID?
    if wanted.transport != .udp {
      stream = network.openStream(
        from: address, in: local.site, to: wanted.server,
        handshakeRoundTripCount: wanted.transport == .tls ? 1 : 0, at: now)
    }
    connections.append(
      Connection(id: wanted.id, local: local, address: address, server: wanted.server, stream: stream))
    if stream == nil { gatherer.connectionOpened(wanted.id, localAddress: address, at: now) }
  }
}
