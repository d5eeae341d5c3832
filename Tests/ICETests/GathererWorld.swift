// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

/// A gatherer, the servers of its configuration, a NAT between them and peers, in one virtual time.
///
/// UDP is bare datagrams with loss; DTLS, TCP and TLS are connections that take their round trips to open and lose
/// nothing afterwards. What is blocked stays silent.
struct GathererWorld: ~Copyable {
  /// One TURN server, reached over every transport at the same address.
  final class Server {
    let address: TransportAddress
    var core: TURNServerCore
    var openRelays: [RelayID: TransportAddress] = [:]
    var nextRelayPort: UInt16 = 49_152
    var isDead = false
    var seed: UInt64

    init(address: TransportAddress, seed: UInt64, configure: (inout TURNServerCore.Configuration) -> Void) {
      self.address = address
      self.seed = seed
      core = TURNServerCore(
        configuration: TURNWorld.configuration(configure), random: RandomSource(seed: seed))
    }

    /// Forgets everything, as a new process does.
    func restart() {
      openRelays = [:]
      seed += 1
      core = TURNServerCore(configuration: TURNWorld.configuration(), random: RandomSource(seed: seed))
    }

    var allocationCount: Int { core.allocationCount }
  }

  /// A connection that the gatherer asked for.
  struct Connection {
    let wanted: ServerConnection
    let openedAt: Instant
    let local: TransportAddress
    var isOpen = false
  }

  /// Where bytes that fly are going.
  enum Target {
    case server(TransportAddress, from: TransportAddress, isStream: Bool)
    case connection(ServerConnectionID)
    case socket(Route)
    case opened(ServerConnectionID)
    case name(String)
  }

  var gatherer: CandidateGatherer
  var servers: [Server] = []
  var now = Instant.zero
  var delay = TimeDelta.milliseconds(20)
  var lossPercent = 0
  /// Transports of which nothing arrives, and connections over which never open.
  var blocked: Set<TURNTransport> = []
  /// Transports whose connections are refused at once.
  var refused: Set<TURNTransport> = []
  var names: [String: [IPAddress]] = [:]
  /// What the NAT adds to ports of shared sockets; they all get the NAT's address.
  var portShift: UInt16 = 1000
  var random: RandomSource
  let natIP: IPAddress

  var events: [(at: Instant, event: CandidateGatherer.Event)] = []
  var opened: [Connection] = []
  var connections: [ServerConnectionID: Connection] = [:]
  var closed: [ServerConnectionID] = []
  var resolves: [String] = []
  /// What shared sockets and connections sent, with when and where to.
  var sentOnSockets: [(at: Instant, route: Route, bytes: [UInt8])] = []
  var sentToServers: [(at: Instant, connection: ServerConnectionID, bytes: [UInt8])] = []
  var peersReceived: [(from: TransportAddress, peer: TransportAddress, payload: [UInt8], at: Instant)] = []
  var received: [(relay: UInt32, owner: Int, peer: TransportAddress, payload: [UInt8])] = []
  private var flying: [(at: Instant, target: Target, bytes: [UInt8])] = []

  init(seed: UInt64, configure: (inout CandidateGatherer.Configuration) -> Void = { _ in }) throws {
    var configuration = CandidateGatherer.Configuration()
    configuration.relaySpareCount = 0
    configure(&configuration)
    random = RandomSource(seed: seed &+ 100)
    gatherer = CandidateGatherer(configuration: configuration, random: RandomSource(seed: seed))
    natIP = try address("203.0.113.10", 1).ip
  }

  /// Adds a server at an address and gives it.
  mutating func addServer(
    _ ip: String = "203.0.113.1", configure: (inout TURNServerCore.Configuration) -> Void = { _ in }
  ) throws -> Server {
    let server = Server(
      address: try address(ip, 3478), seed: UInt64(servers.count) + 500, configure: configure)
    servers.append(server)
    return server
  }

  /// Credentials that are good for so long from the beginning of the world.
  static func server(_ urls: [String], identity: String = "viewer", seconds: Int64 = 300) throws -> ICEServer
  {
    let credentials = TURNCredentials(
      identity: identity, expiry: TURNWorld.unixTime + seconds, secret: TURNWorld.secret)
    return ICEServer(
      urls: try urls.map { try ICEServerURL(parsing: $0) }, username: credentials.username,
      credential: credentials.password)
  }

  /// The URLs of a TURN server over all transports.
  static let allTransports = [
    "turn:203.0.113.1?transport=udp", "turns:203.0.113.1:3478?transport=udp",
    "turn:203.0.113.1?transport=tcp", "turns:203.0.113.1:3478?transport=tcp",
  ]

  mutating func update(_ servers: [ICEServer]) { gatherer.update(servers: servers, at: now) }

  // MARK: The shell

  private mutating func collect() {
    for _ in 0..<1000 {
      let before = (flying.count, opened.count, closed.count)
      performActions()
      collectFromGatherer()
      for server in servers { collect(from: server) }
      if before == (flying.count, opened.count, closed.count) { break }
    }
    while let event = gatherer.pollEvent() { events.append((now, event)) }
  }

  private mutating func performActions() {
    while let action = gatherer.pollAction() {
      switch action {
      case .resolve(let host):
        resolves.append(host)
        flying.append((now + delay * 2, .name(host), []))
      case .open(let connection): open(connection)
      case .close(let id):
        closed.append(id)
        disconnect(id)
      }
    }
  }

  private mutating func open(_ wanted: ServerConnection) {
    let isIPv4 = wanted.server.ip.family == .ipv4
    let port = UInt16(20_000 + wanted.id.rawValue)
    let local = TransportAddress(
      ip: isIPv4 ? natIP : IPAddress(ipv6High: 0x2001_0db8 << 32, low: 10), port: port)
    let connection = Connection(wanted: wanted, openedAt: now, local: local)
    opened.append(connection)
    connections[wanted.id] = connection
    if refused.contains(wanted.transport) {
      connections[wanted.id] = nil
      return gatherer.connectionFailed(wanted.id, reason: "refused", at: now)
    }
    guard !blocked.contains(wanted.transport) || wanted.transport == .udp else { return }
    let roundTrips: Int64 =
      switch wanted.transport {
      case .udp: 0
      case .tcp: 1
      case .dtls, .tls: 2
      }
    flying.append((now + delay * (2 * roundTrips), .opened(wanted.id), []))
  }

  private mutating func disconnect(_ id: ServerConnectionID) {
    guard let connection = connections.removeValue(forKey: id), connection.wanted.transport.isStream,
      let server = servers.first(where: { $0.address.ip == connection.wanted.server.ip })
    else { return }
    server.core.disconnected(route(at: server, from: connection.local))
  }

  /// Loses a connection, as a reset or a broken link does.
  mutating func lose(_ id: ServerConnectionID) {
    disconnect(id)
    gatherer.connectionFailed(id, reason: "reset", at: now)
  }

  private func route(at server: Server, from remote: TransportAddress) -> Route {
    Route(receivedOn: LocalSocket(id: 9, address: server.address), from: remote)
  }

  private mutating func collectFromGatherer() {
    while true {
      var outgoing: CandidateGatherer.Outgoing?
      let bytes = [UInt8](writing: RelayLimits.messageByteCountMax) { output in
        outgoing = gatherer.pollTransmit(into: &output, at: now)
      }
      guard let outgoing else { break }
      #expect(outgoing.byteCount == bytes.count)
      switch outgoing.destination {
      case .socket(let route):
        sentOnSockets.append((now, route, bytes))
        let mapped = mapped(route.socket.address)
        flyOverUDP(bytes, .server(route.remote, from: mapped, isStream: false))
      case .connection(let id): send(bytes, over: id)
      }
    }
  }

  private func mapped(_ address: TransportAddress) -> TransportAddress {
    portShift == 0 ? address : TransportAddress(ip: natIP, port: address.port &+ portShift)
  }

  private mutating func flyOverUDP(_ bytes: [UInt8], _ target: Target) {
    guard !blocked.contains(.udp), Int.random(in: 0..<100, using: &random) >= lossPercent else { return }
    flying.append((now + delay, target, bytes))
  }

  private mutating func send(_ bytes: [UInt8], over id: ServerConnectionID) {
    sentToServers.append((now, id, bytes))
    guard let connection = connections[id] else {
      Issue.record("something is sent over a connection that is not open")
      return
    }
    let transport = connection.wanted.transport
    let target = Target.server(connection.wanted.server, from: connection.local, isStream: transport.isStream)
    if transport == .udp || transport == .dtls {
      if transport == .udp || !blocked.contains(.dtls) { flyOverUDP(bytes, target) }
    } else if !blocked.contains(transport) {
      flying.append((now + delay, target, bytes))
    }
  }

  private mutating func collect(from server: Server) {
    while let action = server.core.pollAction() {
      switch action {
      case .openRelay(let relay, let family):
        let ip = family == .ipv4 ? server.address.ip : IPAddress(ipv6High: 0x2001_0db8 << 32, low: 1)
        let address = TransportAddress(ip: ip, port: server.nextRelayPort)
        server.nextRelayPort += 1
        server.openRelays[relay] = address
        server.core.relayOpened(relay, address: address, at: now)
      case .closeRelay(let relay): server.openRelays[relay] = nil
      }
    }
    while true {
      var route: Route?
      let bytes = [UInt8](writing: TURNLimits.messageByteCountMax) { output in
        route = server.core.pollTransmit(into: &output, at: now)?.route
      }
      guard let route else { break }
      answer(bytes, from: server, to: route.remote)
    }
  }

  private mutating func answer(_ bytes: [UInt8], from server: Server, to remote: TransportAddress) {
    guard !server.isDead else { return }
    if let connection = connections.values.first(where: { $0.local == remote }) {
      let transport = connection.wanted.transport
      if transport.isStream {
        flying.append((now + delay, .connection(connection.wanted.id), bytes))
      } else {
        flyOverUDP(bytes, .connection(connection.wanted.id))
      }
    } else if let sent = sentOnSockets.last(where: { mapped($0.route.socket.address) == remote }) {
      flyOverUDP(bytes, .socket(Route(receivedOn: sent.route.socket, from: server.address)))
    }
  }

  // MARK: Time

  /// Runs everything until `end`, or until `isDone` says so.
  mutating func run(for length: TimeDelta, until isDone: (borrowing GathererWorld) -> Bool = { _ in false }) {
    let end = now + length
    for _ in 0..<200_000 {
      collect()
      if isDone(self) { return }
      var next = Instant.earliest(gatherer.nextDeadline, flying.map(\.at).min())
      for server in servers { next = Instant.earliest(next, server.core.nextDeadline) }
      guard let next, next <= end else {
        now = end
        return
      }
      now = max(next, now)
      gatherer.handleTimeout(at: now)
      for server in servers { server.core.handleTimeout(at: now) }
      let arrived = flying.filter { $0.at <= now }
      flying.removeAll { $0.at <= now }
      for item in arrived { deliver(item.bytes, to: item.target) }
    }
    Issue.record("the gatherer never rests")
  }

  private mutating func deliver(_ bytes: [UInt8], to target: Target) {
    switch target {
    case .name(let host): gatherer.resolved(host: host, to: names[host] ?? [], at: now)
    case .opened(let id):
      guard let connection = connections[id] else { return }
      connections[id]?.isOpen = true
      gatherer.connectionOpened(id, localAddress: connection.local, at: now)
    case .socket(let route): gatherer.receive(bytes.rawSpan, on: route, at: now)
    case .connection(let id): deliver(bytes, on: id)
    case .server(let address, let remote, let isStream):
      guard let server = servers.first(where: { $0.address.ip == address.ip }), !server.isDead else { return }
      let route = route(at: server, from: remote)
      if let forward = server.core.receive(bytes.rawSpan, on: route, isStream: isStream, at: now) {
        guard let from = server.openRelays[forward.relay] else { return }
        peersReceived.append((from, forward.peer, [UInt8](copying: forward.payload), now))
      }
    }
  }

  /// Hands a frame of a server to the gatherer.
  mutating func deliver(_ bytes: [UInt8], on id: ServerConnectionID) {
    guard connections[id] != nil else { return }
    if let datagram = gatherer.receive(bytes.rawSpan, on: id, at: now) {
      received.append((datagram.relay.id, datagram.owner, datagram.peer, [UInt8](copying: datagram.bytes)))
    }
  }

  /// Sends from an owner's relay to a peer; whether the frame left at once.
  @discardableResult
  mutating func send(_ payload: [UInt8], to peer: TransportAddress, via relay: LocalSocket) -> [UInt8]? {
    var id: ServerConnectionID?
    let bytes = [UInt8](writing: payload.count + TURNLimits.overheadByteCountMax) { output in
      id = gatherer.wrap(payload.rawSpan, to: peer, via: relay.id, into: &output, at: now)
    }
    guard let id else {
      #expect(bytes.isEmpty)
      return nil
    }
    send(bytes, over: id)
    return bytes
  }

  /// Sends from a peer to a relayed address.
  mutating func sendFromPeer(_ payload: [UInt8], _ peer: TransportAddress, to relayed: TransportAddress) {
    for server in servers {
      guard let relay = server.openRelays.first(where: { $0.value == relayed })?.key else { continue }
      var route: Route?
      let bytes = [UInt8](writing: payload.count + TURNLimits.overheadByteCountMax) { output in
        route = server.core.relay(payload.rawSpan, from: peer, on: relay, into: &output, at: now)?.route
      }
      if let route { answer(bytes, from: server, to: route.remote) }
    }
  }

  // MARK: What was seen

  /// The relays of an owner, in the order in which they came.
  func relays(of wanted: Int) -> [(at: Instant, socket: LocalSocket, over: TURNTransport)] {
    events.compactMap { at, event in
      guard case .relayed(let socket, _, let over, let owner) = event, owner == wanted else { return nil }
      return (at, socket, over)
    }
  }

  /// How often something was told.
  func count(_ isMeant: (CandidateGatherer.Event) -> Bool) -> Int { events.count { isMeant($0.event) } }

  /// When gathering was complete for an owner.
  func completed(_ owner: Int) -> Instant? {
    events.first { $0.event == .gatheringComplete(owner: owner) }?.at
  }

  var failures: [String] {
    events.compactMap { if case .serverFailed(let url, _) = $0.event { url } else { nil } }
  }

  var allocationCount: Int { servers.reduce(0) { $0 + $1.allocationCount } }
  var spareCount: Int { gatherer.spareRelayCount }
  var openConnectionCount: Int { connections.count }
}
