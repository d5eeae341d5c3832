// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

/// A TURN client, a TURN server and peers in one virtual time, with delay and loss between client and server.
///
/// Relay sockets open at once; what the server relays to peers is noted, and a peer's datagram goes straight to
/// the relay.
struct TURNWorld: ~Copyable {
  static let secret = Secret(Array("a secret of the stand-in".utf8))
  /// 2024-01-31, when the virtual clock starts.
  static let unixTime: Int64 = 1_706_700_000

  var client: TURNClient
  var server: TURNServerCore
  var now = Instant.zero
  var delay = TimeDelta.milliseconds(20)
  var lossPercent = 0
  /// Whether nothing of the server's arrives.
  var losesAnswers = false
  let isStream: Bool
  let route: Route
  var random: RandomSource
  var relayAddress: IPAddress
  var canOpenRelays = true

  var events: [TURNClient.Event] = []
  var openRelays: [RelayID: TransportAddress] = [:]
  /// What peers received: from which relayed address, to whom, what.
  var peersReceived: [(from: TransportAddress, peer: TransportAddress, payload: [UInt8])] = []
  /// What the client received of peers.
  var clientReceived: [(peer: TransportAddress, payload: [UInt8])] = []
  /// Every frame between the two.
  var clientSent: [(at: Instant, bytes: [UInt8])] = []
  var serverSent: [[UInt8]] = []
  private var flying: [(at: Instant, isToServer: Bool, bytes: [UInt8])] = []
  private var relayPort: UInt16 = 49_152

  init(
    seed: UInt64, isStream: Bool = false, family: IPAddress.Family = .ipv4, password: String? = nil,
    credentialSeconds: Int64 = 300, configure: (inout TURNServerCore.Configuration) -> Void = { _ in }
  ) throws {
    let socket = LocalSocket(id: 1, address: try address("203.0.113.10", 40_000))
    let serverAddress = try address("203.0.113.1", 3478)
    let relayIP = try address(family == .ipv4 ? "203.0.113.1" : "2001:db8::1", 1).ip
    random = RandomSource(seed: seed)
    self.isStream = isStream
    route = Route(receivedOn: socket, from: serverAddress)
    relayAddress = relayIP
    let credentials = TURNCredentials(
      identity: "djE6YXJu", expiry: Self.unixTime + credentialSeconds, secret: Self.secret)
    client = TURNClient(
      configuration: .init(
        route: route, isStream: isStream, username: credentials.username,
        password: password.map { Secret($0) } ?? credentials.password, family: family),
      random: RandomSource(seed: seed &+ 1))
    server = TURNServerCore(
      configuration: Self.configuration(configure), random: RandomSource(seed: seed &+ 2))
  }

  static func configuration(
    _ configure: (inout TURNServerCore.Configuration) -> Void = { _ in }
  ) -> TURNServerCore.Configuration {
    var configuration = TURNServerCore.Configuration(
      realm: "kvs", secret: secret, unixTimeAtOrigin: .seconds(unixTime))
    configuration.families = [.ipv4, .ipv6]
    configure(&configuration)
    return configuration
  }

  /// The client's address as the server sees it.
  var serverRoute: Route {
    Route(receivedOn: LocalSocket(id: 9, address: route.remote), from: route.socket.address)
  }

  private mutating func collect() {
    while true {
      var isSent = false
      let bytes = [UInt8](writing: TURNLimits.messageByteCountMax) { output in
        isSent = client.pollTransmit(into: &output, at: now) != nil
      }
      guard isSent else { break }
      clientSent.append((now, bytes))
      fly(bytes, isToServer: true)
    }
    performActions()
    collectAnswers()
    while let event = client.pollEvent() { events.append(event) }
  }

  private mutating func performActions() {
    while let action = server.pollAction() {
      switch action {
      case .openRelay(let relay, _):
        guard canOpenRelays else {
          server.relayFailed(relay, at: now)
          continue
        }
        let address = TransportAddress(ip: relayAddress, port: relayPort)
        relayPort += 1
        openRelays[relay] = address
        server.relayOpened(relay, address: address, at: now)
      case .closeRelay(let relay): openRelays[relay] = nil
      }
    }
  }

  private mutating func collectAnswers() {
    while true {
      var route: Route?
      let bytes = [UInt8](writing: TURNLimits.messageByteCountMax) { output in
        route = server.pollTransmit(into: &output, at: now)?.route
      }
      guard let route else { break }
      serverSent.append(bytes)
      if route == serverRoute { fly(bytes, isToServer: false) }
    }
  }

  private mutating func fly(_ bytes: [UInt8], isToServer: Bool) {
    guard isStream || Int.random(in: 0..<100, using: &random) >= lossPercent else { return }
    guard isToServer || !losesAnswers else { return }
    flying.append((now + delay, isToServer, bytes))
  }

  /// Runs both until `end`, or until `isDone` says so.
  mutating func run(for length: TimeDelta, until isDone: (borrowing TURNWorld) -> Bool = { _ in false }) {
    let end = now + length
    for _ in 0..<100_000 {
      collect()
      if isDone(self) { return }
      var next = Instant.earliest(client.nextDeadline, server.nextDeadline)
      next = Instant.earliest(next, flying.map(\.at).min())
      guard let next, next <= end else {
        now = end
        return
      }
      now = max(next, now)
      client.handleTimeout(at: now)
      server.handleTimeout(at: now)
      let arrived = flying.filter { $0.at <= now }
      flying.removeAll { $0.at <= now }
      for frame in arrived { frame.isToServer ? deliverToServer(frame.bytes) : deliverToClient(frame.bytes) }
    }
    Issue.record("client and server never rest")
  }

  mutating func deliverToServer(_ bytes: [UInt8]) {
    if let forward = server.receive(bytes.rawSpan, on: serverRoute, isStream: isStream, at: now) {
      let from = openRelays[forward.relay] ?? TransportAddress(ip: relayAddress, port: 0)
      peersReceived.append((from, forward.peer, [UInt8](copying: forward.payload)))
    }
  }

  mutating func deliverToClient(_ bytes: [UInt8]) {
    if let payload = client.receive(bytes.rawSpan, on: route, at: now) {
      clientReceived.append((payload.peer, [UInt8](copying: payload.bytes)))
    }
  }

  /// Sends from the client to a peer; gives the frame, or `nil` where the client does not send.
  @discardableResult
  mutating func send(_ payload: [UInt8], to peer: TransportAddress) -> [UInt8]? {
    var isSent = false
    let bytes = [UInt8](writing: payload.count + TURNLimits.overheadByteCountMax) { output in
      isSent = client.wrap(payload.rawSpan, to: peer, into: &output) != nil
    }
    guard isSent else { return nil }
    fly(bytes, isToServer: true)
    return bytes
  }

  /// Sends from a peer to the one relay that is open; gives the frame that the client will get.
  @discardableResult
  mutating func sendFromPeer(_ payload: [UInt8], _ peer: TransportAddress) -> [UInt8]? {
    guard let relay = openRelays.keys.first else { return nil }
    var isSent = false
    let bytes = [UInt8](writing: payload.count + TURNLimits.overheadByteCountMax) { output in
      isSent = server.relay(payload.rawSpan, from: peer, on: relay, into: &output, at: now) != nil
    }
    guard isSent else { return nil }
    fly(bytes, isToServer: false)
    return bytes
  }

  /// Allocates and binds a channel to each peer.
  mutating func connect(to peers: [TransportAddress]) {
    client.start(at: now)
    for peer in peers { client.bindChannel(to: peer, at: now) }
    run(for: .seconds(60)) { world in
      let bound = world.events.filter { if case .channelBound = $0 { true } else { false } }
      return bound.count == peers.count
    }
  }

  /// What the client and server cores hold; read here since expectations cannot borrow.
  var allocationCount: Int { server.allocationCount }
  /// The client's state.
  var state: TURNClient.State { client.state }
  /// The methods and classes of what the client sent, in order.
  func sentMethods() -> [STUNMethod] {
    clientSent.compactMap { try? STUNMessage(parsing: $0.bytes.rawSpan).method }
  }
}

/// The error code of a message, if it has one.
func errorCode(of bytes: [UInt8]) -> STUNErrorCode? { try? STUNMessage(parsing: bytes.rawSpan).errorCode }
