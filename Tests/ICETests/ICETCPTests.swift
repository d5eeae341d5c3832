// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

@Suite("Connections to passive TCP candidates, RFC 6544")
struct ICETCPTests {
  private func passive(_ ip: String, _ port: UInt16) throws -> ICECandidate {
    try ICECandidate(parsing: "candidate:1 1 TCP 1518280447 \(ip) \(port) typ host tcptype passive")
  }

  /// Two agents between which only TCP passes; the right one's socket 7 stands for its end of a connection.
  private func withPassiveCandidate() throws -> AgentPair {
    var pair = AgentPair()
    try pair.addSockets()
    let udp = Set((pair.left.sockets + pair.right.sockets).map(\.address))
    pair.passes = { from, to, _ in !udp.contains(from) && !udp.contains(to) }
    pair.exchangeAll()
    try pair.right.addSocket(7, "192.0.2.2", 9000)
    pair.left.agent.addRemoteCandidate(try passive("192.0.2.2", 9000), at: .zero)
    return pair
  }

  @Test("A connection is asked for after the checks over UDP; when it stands it connects where UDP does not")
  func connects() throws {
    var pair = try withPassiveCandidate()
    pair.run(for: .milliseconds(100))
    let (from, to) = (pair.left.sockets[0].address.ip, try address("192.0.2.2", 9000))
    #expect(pair.left.requestsToDriver == [.tcpConnectionWanted(from: from, to: to)])
    let first = try #require(pair.left.requests.first)
    #expect(first.route.socket.id == 1)
    let connection = LocalSocket(id: 0x4000_0000, address: try address("192.0.2.1", 40_404))
    pair.left.sockets.append(connection)
    pair.left.agent.addTCPConnection(connection, to: to, at: pair.now)
    pair.run(for: .seconds(1))
    let (agrees, route) = (pair.agrees, pair.left.agent.selectedRoute)
    #expect(agrees && route?.socket == connection)
    let statistics = pair.left.agent.statistics
    let selected = statistics.pairs[try #require(statistics.selectedPairIndex)]
    let local = statistics.localCandidates.first { $0.transport == .tcpActive }
    #expect(local?.port == 9 && selected.route.remote == to)
    // What arrives can tell its type by the priority that the check announces.
    let check = try #require(pair.left.requests.first { $0.route.socket == connection })
    let priority = try ParsedMessage(check.bytes).priority
    #expect(priority.map { $0 >> 24 } == 80)
    #expect(pair.left.agent.signaledCandidates.allSatisfy { $0.transport == .udp })
  }

  @Test("Over a stream nothing is repeated")
  func noRepetition() throws {
    var pair = try withPassiveCandidate()
    pair.run(for: .milliseconds(100))
    let connection = LocalSocket(id: 0x4000_0000, address: try address("192.0.2.1", 40_404))
    pair.passes = { _, _, _ in false }
    pair.left.agent.addTCPConnection(connection, to: try address("192.0.2.2", 9000), at: pair.now)
    pair.run(for: .seconds(60))
    let count = pair.left.requests.count { $0.route.socket == connection }
    #expect(count == 1)
  }

  @Test("A connection has one pair, whatever other candidates there are, and its loss ends it")
  func onePair() throws {
    var pair = try withPassiveCandidate()
    pair.run(for: .milliseconds(100))
    let to = try address("192.0.2.2", 9000)
    let connection = LocalSocket(id: 0x4000_0000, address: try address("192.0.2.1", 40_404))
    pair.left.sockets.append(connection)
    pair.left.agent.addTCPConnection(connection, to: to, at: pair.now)
    pair.left.agent.addRemoteCandidate(try passive("192.0.2.3", 9000), at: pair.now)
    pair.left.agent.addRemoteCandidate(
      try ICECandidate(parsing: "candidate:1 1 udp 1 192.0.2.4 9000 typ host"), at: pair.now)
    let pairs = pair.left.agent.statistics.pairs.filter { $0.route.socket == connection }
    #expect(pairs.map(\.route.remote) == [to])
    pair.run(for: .seconds(1))
    pair.left.agent.tcpConnectionFailed(to: to, at: pair.now)
    pair.run(for: .seconds(1))
    let (left, send) = (pair.left.agent.statistics.pairs, pair.left.agent.sendRoute)
    #expect(left.allSatisfy { $0.route.socket != connection } && send == nil)
    #expect(pair.left.requestsToDriver.contains(.restartAdvised))
    // It is not asked for again, and a late success is not wanted.
    let asked = pair.left.requestsToDriver.filter {
      $0 == .tcpConnectionWanted(from: connection.address.ip, to: to)
    }
    #expect(asked.count == 1)
    pair.left.agent.addTCPConnection(connection, to: to, at: pair.now)
    let after = pair.left.agent.statistics.pairs
    #expect(after.allSatisfy { $0.route.socket != connection })
  }

  @Test("T8: at most eight connections are asked for, at the pace of checks, to permitted ports only")
  func limits() throws {
    var host = Host(.controlling, seed: 1)
    try host.addSocket(1, "192.0.2.1", 5001)
    var random = RandomSource(seed: 2)
    host.agent.setRemoteCredentials(.generate(using: &random), at: .zero)
    host.agent.addRemoteCandidate(try passive("192.0.2.2", 22), at: .zero)
    for index in 0..<100 {
      host.agent.addRemoteCandidate(try passive("198.51.100.\(index)", 9000), at: .zero)
    }
    let transports = host.agent.drops[.candidateTransport]
    #expect(transports == 92)
    var (now, times) = (Instant.zero, [Instant]())
    _ = host.drain(at: now)
    for _ in 0..<100 {
      while times.count < host.requestsToDriver.count { times.append(now) }
      guard let deadline = host.agent.nextDeadline, deadline < .zero + .seconds(10) else { break }
      now = deadline
      host.agent.handleTimeout(at: now)
      _ = host.drain(at: now)
    }
    #expect(times.count == 8)
    for (earlier, later) in zip(times, times.dropFirst()) { #expect(later - earlier >= .milliseconds(5)) }
    for event in host.requestsToDriver {
      guard case .tcpConnectionWanted(_, let to) = event else { continue }
      #expect(to.port == 9000)
    }
  }

  @Test("While a direct pair works, no connection is asked for")
  func notNeeded() throws {
    var pair = AgentPair()
    try pair.addSockets()
    pair.exchangeAll()
    pair.runUntilSelected()
    pair.left.agent.addRemoteCandidate(try passive("192.0.2.2", 9000), at: pair.now)
    pair.run(for: .seconds(10))
    #expect(pair.left.requestsToDriver.isEmpty)
    // Unless it dies.
    pair.passes = { _, _, _ in false }
    pair.run(for: .seconds(10))
    #expect(pair.left.requestsToDriver.count == 2)
  }
}
