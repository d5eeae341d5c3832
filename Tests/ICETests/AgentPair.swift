// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

/// One agent and what came out of it.
struct Host: ~Copyable {
  var agent: ICEAgent
  var sockets: [LocalSocket] = []
  var candidates: [ICECandidate] = []
  var states: [ICEConnectionState] = []
  var selected: [Route] = []
  /// All events but those of the two above.
  var requestsToDriver: [ICEAgent.Event] = []
  /// When the last success response came by each route.
  var answeredAt: [Route: Instant] = [:]
  /// Every message sent: when, where to, the bytes.
  var sent: [(at: Instant, route: Route, bytes: [UInt8])] = []

  init(_ role: ICERole, seed: UInt64, configuration: ICEAgent.Configuration = .init()) {
    agent = ICEAgent(role: role, configuration: configuration, random: RandomSource(seed: seed))
  }

  mutating func addSocket(_ id: UInt32, _ ip: String, _ port: UInt16, at now: Instant = .zero) throws {
    let socket = LocalSocket(id: id, address: try address(ip, port))
    sockets.append(socket)
    let candidate = agent.addLocalCandidate(socket: socket, at: now)
    if let candidate { candidates.append(candidate) }
  }

  /// Adds a relay of a TURN server, which passes on what it gets: a socket at its relayed address.
  mutating func addRelay(_ id: UInt32, _ ip: String, _ port: UInt16, at now: Instant = .zero) throws {
    let socket = LocalSocket(id: id, address: try address(ip, port))
    sockets.append(socket)
    let mapped = try address("203.0.113.99", 40_000)
    let candidate = agent.addRelayedCandidate(socket: socket, mapped: mapped, over: .udp, at: now)
    candidates.append(candidate)
  }

  mutating func drain(at now: Instant) -> [(route: Route, bytes: [UInt8])] {
    var result: [(route: Route, bytes: [UInt8])] = []
    while true {
      var transmit: Transmit?
      let bytes = [UInt8](writing: STUNMessage.byteCountMax) { output in
        transmit = agent.pollTransmit(into: &output, at: now)
      }
      guard let transmit else { break }
      result.append((transmit.route, bytes))
      sent.append((now, transmit.route, bytes))
    }
    while let event = agent.pollEvent() {
      switch event {
      case .connectionStateChanged(let state): states.append(state)
      case .selectedRouteChanged(let route): selected.append(route)
      case .nameNeedsResolving, .tcpConnectionWanted, .restartAdvised: requestsToDriver.append(event)
      }
    }
    return result
  }

  /// Requests among what was sent.
  var requests: [(at: Instant, route: Route, bytes: [UInt8])] {
    sent.filter { STUNPeek.kind(of: $0.bytes.rawSpan)?.isRequest == true }
  }
}

/// Two agents in one virtual time, with delay and loss between them.
struct AgentPair: ~Copyable {
  var left: Host
  var right: Host
  var now = Instant.zero
  var delay = TimeDelta.milliseconds(10)
  var lossPercent = 0
  var random: RandomSource
  /// Decides which datagrams pass.
  var passes: (_ from: TransportAddress, _ to: TransportAddress, _ bytes: [UInt8]) -> Bool = { _, _, _ in
    true
  }
  /// Rewrites source addresses as a NAT does.
  var translated: (TransportAddress) -> TransportAddress = { $0 }
  private var flying: [(at: Instant, from: TransportAddress, to: TransportAddress, bytes: [UInt8])] = []

  init(
    seed: UInt64 = 1, leftRole: ICERole = .controlling, rightRole: ICERole = .controlled,
    configuration: ICEAgent.Configuration = .init()
  ) {
    left = Host(leftRole, seed: 2 * seed, configuration: configuration)
    right = Host(rightRole, seed: 2 * seed + 1, configuration: configuration)
    random = RandomSource(seed: seed &* 7919)
  }

  mutating func addSockets(ipv4: Bool = true, ipv6: Bool = false) throws {
    if ipv4 {
      try left.addSocket(1, "192.0.2.1", 5001)
      try right.addSocket(1, "192.0.2.2", 5002)
    }
    if ipv6 {
      try left.addSocket(2, "2001:db8::1", 6001)
      try right.addSocket(2, "2001:db8::2", 6002)
    }
  }

  mutating func exchangeCredentials() {
    giveCredentialsToLeft()
    giveCredentialsToRight()
  }

  mutating func giveCredentialsToLeft() {
    let credentials = right.agent.localCredentials
    left.agent.setRemoteCredentials(credentials, at: now)
  }

  mutating func giveCredentialsToRight() {
    let credentials = left.agent.localCredentials
    right.agent.setRemoteCredentials(credentials, at: now)
  }

  mutating func giveCandidatesToLeft() {
    for candidate in right.candidates { left.agent.addRemoteCandidate(candidate, at: now) }
  }

  mutating func giveCandidatesToRight() {
    for candidate in left.candidates { right.agent.addRemoteCandidate(candidate, at: now) }
  }

  mutating func exchangeAll() {
    exchangeCredentials()
    giveCandidatesToLeft()
    giveCandidatesToRight()
  }

  /// Brings a datagram under way that nobody may have sent.
  mutating func inject(_ bytes: [UInt8], from: TransportAddress, to: TransportAddress) {
    flying.append((now + delay, from, to, bytes))
  }

  private mutating func collect() {
    for (route, bytes) in left.drain(at: now) + right.drain(at: now) {
      let (from, to) = (translated(route.socket.address), route.remote)
      guard passes(from, to, bytes), Int.random(in: 0..<100, using: &random) >= lossPercent else { continue }
      flying.append((now + delay, from, to, bytes))
    }
  }

  /// Runs both agents until `end`, or until `isDone` says so.
  mutating func run(
    for length: TimeDelta, until isDone: (borrowing AgentPair) -> Bool = { _ in false }
  ) {
    let end = now + length
    for _ in 0..<1_000_000 {
      collect()
      if isDone(self) { return }
      var next = Instant.earliest(left.agent.nextDeadline, right.agent.nextDeadline)
      next = Instant.earliest(next, flying.map(\.at).min())
      guard let next, next <= end else {
        now = end
        return
      }
      now = max(next, now)
      left.agent.handleTimeout(at: now)
      right.agent.handleTimeout(at: now)
      let arrived = flying.filter { $0.at <= now }
      flying.removeAll { $0.at <= now }
      for datagram in arrived { deliver(datagram.bytes, from: datagram.from, to: datagram.to) }
    }
    Issue.record("the agents never rest")
  }

  private mutating func deliver(_ bytes: [UInt8], from: TransportAddress, to: TransportAddress) {
    if let socket = Self.socket(of: left, at: to, translated: translated) {
      let route = Route(receivedOn: socket, from: from)
      if Self.isSuccess(bytes) { left.answeredAt[route] = now }
      left.agent.receive(bytes.rawSpan, on: route, at: now)
    } else if let socket = Self.socket(of: right, at: to, translated: translated) {
      let route = Route(receivedOn: socket, from: from)
      if Self.isSuccess(bytes) { right.answeredAt[route] = now }
      right.agent.receive(bytes.rawSpan, on: route, at: now)
    }
  }

  /// RFC 8489 §5: a Binding success response begins with 0x0101.
  private static func isSuccess(_ bytes: [UInt8]) -> Bool { bytes.starts(with: [1, 1]) }

  private static func socket(
    of host: borrowing Host, at address: TransportAddress,
    translated: (TransportAddress) -> TransportAddress
  ) -> LocalSocket? {
    host.sockets.first { $0.address == address || translated($0.address) == address }
  }

  /// Runs until both have selected a pair.
  mutating func runUntilSelected(within length: TimeDelta = .seconds(40)) {
    run(for: length) { pair in
      pair.left.agent.selectedRoute != nil && pair.right.agent.selectedRoute != nil
    }
  }

  /// Whether both selected, and the same pair.
  var agrees: Bool {
    guard let left = left.agent.selectedRoute, let right = right.agent.selectedRoute else { return false }
    return translated(left.socket.address) == right.remote && translated(right.socket.address) == left.remote
  }
}
