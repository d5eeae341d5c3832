// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

/// Which datagrams between two agents pass: closed over by ``AgentPair/passes``, changed by a test.
private final class Gate {
  /// Addresses whose datagrams are lost, sent or to be received.
  var dead: Set<TransportAddress> = []
  /// Whether only what goes to these addresses is lost.
  var isOneWay = false

  func passes(_ from: TransportAddress, _ to: TransportAddress) -> Bool {
    !(dead.contains(to) || (!isOneWay && dead.contains(from)))
  }
}

@Suite("Another path when the selected one dies")
struct ICEFailoverTests {
  private func connected(seed: UInt64 = 1, _ gate: Gate, settlesFor: TimeDelta = .seconds(1)) throws
    -> AgentPair
  {
    var pair = AgentPair(seed: seed)
    try pair.addSockets(ipv6: true)
    pair.passes = { from, to, _ in gate.passes(from, to) }
    pair.exchangeAll()
    pair.runUntilSelected()
    pair.run(for: settlesFor)
    return pair
  }

  /// When a host first repeated a consent check quickly: it has noticed that an answer is missing.
  private func suspicion(of host: borrowing Host, on route: Route?, after start: Instant) -> Instant? {
    let times = host.requests.filter { $0.route == route && $0.at > start }.map(\.at)
    return zip(times, times.dropFirst()).first { $1 - $0 <= .milliseconds(600) }?.1
  }

  @Test(
    "A path dies while another lives: data takes it within 3 s of the first missed answer, on both sides",
    arguments: 1...20 as ClosedRange<UInt64>, [false, true])
  func takeover(seed: UInt64, isOneWay: Bool) throws {
    let gate = Gate()
    var pair = try connected(seed: seed, gate, settlesFor: .milliseconds(Int64(seed) * 700))
    let old = pair.left.agent.selectedRoute
    #expect(old?.remote.ip.family == .ipv6)
    let diedAt = pair.now
    // Of a path that is dead one way, requests of the left agent still arrive.
    gate.dead = [pair.left.sockets[1].address]
    gate.isOneWay = isOneWay
    pair.run(for: .seconds(20)) { pair in
      pair.left.agent.sendRoute?.remote.ip.family == .ipv4
        && pair.right.agent.sendRoute?.remote.ip.family == .ipv4
    }
    let noticed = suspicion(of: pair.left, on: old, after: diedAt)
    let noticedAt = try #require(noticed)
    let tookOverAt = pair.now
    pair.run(for: .seconds(1))
    let agrees = pair.agrees
    #expect(agrees, "seed \(seed)")
    #expect(noticedAt - diedAt <= .milliseconds(6500), "seed \(seed)")
    #expect(tookOverAt - noticedAt <= .seconds(3), "seed \(seed)")
    // The session goes on, and no restart is asked for.
    pair.run(for: .seconds(90))
    let (left, right) = (pair.left.agent.connectionState, pair.right.agent.connectionState)
    #expect(left == .connected && right == .connected, "seed \(seed)")
    #expect(pair.left.requestsToDriver.isEmpty && pair.right.requestsToDriver.isEmpty, "seed \(seed)")
  }

  @Test("T6: a path that lost consent is not used again, though it comes back and is the better one")
  func lostPathStaysLost() throws {
    let gate = Gate()
    var pair = try connected(gate)
    let old = pair.left.agent.selectedRoute
    let start = pair.now
    gate.dead = [pair.left.sockets[1].address]
    pair.run(for: .seconds(40))
    gate.dead = []
    pair.run(for: .seconds(60))
    let last = pair.left.requests.last { $0.route == old }
    let lastAt = try #require(last).at
    #expect(lastAt - start <= .seconds(30))
    let (isValid, send) = (pair.left.agent.isValid(try #require(old)), pair.left.agent.sendRoute)
    #expect(!isValid && send?.remote.ip.family == .ipv4)
  }

  @Test("Nothing else valid: disconnected and one advice to restart; what comes back in time is used again")
  func nothingElse() throws {
    let gate = Gate()
    var pair = try connected(gate)
    gate.dead = Set(pair.left.sockets.map(\.address))
    pair.run(for: .seconds(20))
    let (left, right) = (pair.left.agent.connectionState, pair.right.agent.connectionState)
    #expect(left == .disconnected && right == .disconnected)
    #expect(pair.left.requestsToDriver == [.restartAdvised])
    #expect(pair.right.requestsToDriver == [.restartAdvised])
    gate.dead = []
    pair.run(for: .seconds(5))
    let (agrees, after) = (pair.agrees, pair.left.agent.connectionState)
    #expect(agrees && after == .connected)
    // The next death is another one.
    gate.dead = Set(pair.left.sockets.map(\.address))
    pair.run(for: .seconds(60))
    #expect(pair.left.requestsToDriver == [.restartAdvised, .restartAdvised])
    let (state, reason) = (pair.left.agent.connectionState, pair.left.agent.failureReason)
    #expect(state == .failed && reason == .consentLost)
  }

  @Test("A socket that appears later rests until the selected path dies, and then needs no restart")
  func lateSocket() throws {
    let gate = Gate()
    var pair = try connected(gate)
    try pair.left.addSocket(3, "192.0.2.33", 7001, at: pair.now)
    let candidate = try #require(pair.left.candidates.last)
    pair.right.agent.addRemoteCandidate(candidate, at: pair.now)
    pair.run(for: .seconds(20))
    let early = pair.left.requests.count { $0.route.socket.id == 3 }
    #expect(early == 0)
    gate.dead = Set(pair.left.sockets[..<2].map(\.address))
    let start = pair.now
    pair.run(for: .seconds(20)) { pair in
      pair.left.agent.sendRoute?.socket.id == 3 && pair.right.agent.sendRoute?.remote.port == 7001
    }
    let now = pair.now
    pair.run(for: .seconds(1))
    let agrees = pair.agrees
    #expect(agrees)
    // The next consent check after 6 s at most, 2 s until it counts as lost, two round trips.
    #expect(now - start <= .milliseconds(8200))
  }

  @Test("A candidate that comes in the midst of a call has the selected path looked after at once, once")
  func lateCandidate() throws {
    let gate = Gate()
    var pair = try connected(gate, settlesFor: .seconds(3))
    // Right after a check the next one is far.
    let before = pair.right.requests.count
    pair.run(for: .seconds(10)) { $0.right.requests.count > before }
    pair.run(for: .milliseconds(2500))
    let (start, route) = (pair.now, pair.right.agent.selectedRoute)
    for (number, port) in [7001, 7002, 7003].enumerated() {
      try pair.left.addSocket(UInt32(3 + number), "192.0.2.33", UInt16(port), at: pair.now)
      let candidate = try #require(pair.left.candidates.last)
      pair.right.agent.addRemoteCandidate(candidate, at: pair.now)
    }
    pair.run(for: .milliseconds(20))
    let checks = pair.right.requests.count { $0.at >= start && $0.route == route }
    #expect(checks == 1)
  }

  @Test(
    "The only socket goes away, another comes: the old session goes on over it within 3 s",
    arguments: [ICERole.controlling, .controlled])
  func addressChange(role: ICERole) throws {
    var pair = AgentPair(leftRole: role, rightRole: role == .controlling ? .controlled : .controlling)
    try pair.addSockets()
    pair.exchangeAll()
    pair.runUntilSelected()
    pair.run(for: .seconds(4))
    pair.left.agent.removeLocalSocket(id: 1, at: pair.now)
    pair.left.sockets = []
    pair.run(for: .milliseconds(100))
    let (send, state) = (pair.left.agent.sendRoute, pair.left.agent.connectionState)
    #expect(send == nil && state == .disconnected)
    #expect(pair.left.requestsToDriver == [.restartAdvised])
    let start = pair.now
    try pair.left.addSocket(3, "192.0.2.33", 7001, at: pair.now)
    pair.run(for: .seconds(20)) { pair in
      pair.left.agent.sendRoute?.socket.id == 3 && pair.right.agent.sendRoute?.remote.port == 7001
    }
    let elapsed = pair.now - start
    #expect(elapsed <= .seconds(3))
  }

  @Test("Three pairs stand by, checked every 9.6 to 14.4 s, on different sockets before others")
  func standby() throws {
    var pair = AgentPair()
    for index in 1...3 as ClosedRange<UInt32> {
      try pair.left.addSocket(index, "192.0.2.\(index)", 5000 + UInt16(index))
      try pair.right.addSocket(index, "198.51.100.\(index)", 5000 + UInt16(index))
    }
    // All nine become valid before one is nominated.
    pair.passes = { _, _, bytes in (try? ParsedMessage(bytes))?.usesCandidate != true }
    pair.exchangeAll()
    pair.run(for: .seconds(2))
    pair.passes = { _, _, _ in true }
    pair.runUntilSelected()
    pair.run(for: .seconds(30))
    let count = pair.left.requests.count
    let selected = try #require(pair.left.selected.last)
    pair.run(for: .seconds(120))
    let checks = pair.left.requests[count...].filter { $0.route != selected }
    let routes = Dictionary(grouping: checks, by: \.route).mapValues { $0.map(\.at) }
    #expect(routes.count == 3)
    let sockets = Set(routes.keys.map(\.socket)).union([selected.socket])
    #expect(sockets.count == 3)
    for times in routes.values {
      for (earlier, later) in zip(times, times.dropFirst()) {
        #expect((.milliseconds(9600)...(.milliseconds(14_400))).contains(later - earlier))
      }
    }
  }

  @Test("T9: a peer that answers every check with 487 draws no storm")
  func roleConflictStorm() throws {
    var pair = AgentPair()
    try pair.addSockets()
    pair.exchangeAll()
    let password = pair.right.agent.localCredentials.password
    let key = STUNIntegrityKey(password: password)
    let route = Route(receivedOn: pair.left.sockets[0], from: pair.right.sockets[0].address)
    var answered = 0
    for _ in 0..<5000 {
      let next = pair.left.agent.nextDeadline
      _ = pair.left.drain(at: pair.now)
      if pair.left.requests.count > answered {
        let request = try ParsedMessage(pair.left.requests[answered].bytes)
        answered += 1
        var builder = STUNMessageBuilder(.errorResponse, transactionID: request.transactionID)
        builder.append(.roleConflict)
        builder.appendIntegrity(with: key)
        builder.appendFingerprint()
        pair.left.agent.receive(builder.bytes.rawSpan, on: route, at: pair.now)
      } else if let next {
        pair.now = max(pair.now, next)
        pair.left.agent.handleTimeout(at: pair.now)
      } else {
        break
      }
    }
    #expect(pair.left.requests.count <= 7)
    let state = pair.left.agent.connectionState
    #expect(state == .failed)
  }

  @Test("T7: a response that was used, and an old one played again, prolong no consent")
  func replayedResponses() throws {
    let gate = Gate()
    var pair = try connected(gate)
    pair.run(for: .seconds(20))
    let responses = pair.right.sent.map(\.bytes).filter { kind(of: $0)?.isRequest == false }
    let route = try #require(pair.left.selected.last)
    let start = pair.now
    gate.dead = Set(pair.left.sockets.map(\.address))
    for _ in 0..<40 {
      pair.run(for: .seconds(1))
      for bytes in responses { pair.left.agent.receive(bytes.rawSpan, on: route, at: pair.now) }
    }
    let (state, replayed) = (pair.left.agent.connectionState, pair.left.agent.drops[.unknownTransaction])
    #expect(state == .failed && replayed > 0)
    let last = try #require(pair.left.sent.last)
    #expect(last.at - start <= .seconds(30))
  }
}
