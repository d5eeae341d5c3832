// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

@Suite("What a peer can make an agent send and keep")
struct ICELimitsTests {
  private func candidate(_ index: Int, priority: UInt32? = nil, port: UInt16 = 7000) -> ICECandidate {
    ICECandidate(
      foundation: "\(index)", priority: priority ?? UInt32(index),
      host: .ip(IPAddress(ipv4: 0x0a00_0000 + UInt32(index) + 1)), port: port, kind: .host)
  }

  private func runAlone(_ host: inout Host, from start: Instant = .zero) -> Instant {
    var now = start
    while let deadline = host.agent.nextDeadline {
      now = max(now, deadline)
      host.agent.handleTimeout(at: now)
      _ = host.drain(at: now)
    }
    return now
  }

  @Test("T8: ten thousand candidates make at most 100 pairs, 7 requests each, at the pace of RFC 8445")
  func voiceHammer() throws {
    var host = Host(.controlling, seed: 1)
    for index in 0..<4 { try host.addSocket(UInt32(index), "10.1.0.\(index + 1)", 5000) }
    var random = RandomSource(seed: 2)
    host.agent.setRemoteCredentials(.generate(using: &random), at: .zero)
    for index in 0..<10_000 { host.agent.addRemoteCandidate(candidate(index), at: .zero) }
    _ = host.drain(at: .zero)
    let now = runAlone(&host)
    let statistics = host.agent.statistics
    #expect(statistics.pairs.count == 100)
    #expect(statistics.remoteCandidates.count == 100)
    let counts = Dictionary(grouping: host.requests, by: \.route).mapValues(\.count)
    #expect(counts.count <= 100)
    #expect(counts.values.allSatisfy { $0 <= 7 })
    let times = host.requests.map(\.at)
    for (index, gap) in zip(times, times.dropFirst()).map({ $1 - $0 }).enumerated() {
      #expect(gap >= (index < 9 ? .milliseconds(5) : .milliseconds(50)), "before request \(index + 1)")
    }
    #expect(times.first == .zero)
    #expect(times[9] == .zero + .milliseconds(45))
    let state = host.agent.connectionState
    #expect(state == .failed)
    // 700 requests at 50 ms each are 35 s; the last of each is waited for.
    #expect(now <= .zero + .seconds(75))
  }

  @Test("T8: a trickle flood of ever better candidates draws no more")
  func trickleFlood() throws {
    var host = Host(.controlling, seed: 1)
    try host.addSocket(1, "10.1.0.1", 5000)
    var random = RandomSource(seed: 2)
    host.agent.setRemoteCredentials(.generate(using: &random), at: .zero)
    var now = Instant.zero
    for index in 0..<5000 {
      now += .milliseconds(7)
      if let deadline = host.agent.nextDeadline, deadline <= now { host.agent.handleTimeout(at: now) }
      host.agent.addRemoteCandidate(candidate(index), at: now)
      _ = host.drain(at: now)
    }
    _ = runAlone(&host, from: now)
    let routes = Set(host.requests.map(\.route))
    #expect(routes.count <= 100)
    #expect(host.requests.count <= 700)
  }

  @Test("T8: a peer that knows the password and forges sources draws no more than 100 pairs' requests")
  func forgedSources() throws {
    var host = Host(.controlled, seed: 1)
    try host.addSocket(1, "10.1.0.1", 5000)
    var random = RandomSource(seed: 2)
    let peer = ICECredentials.generate(using: &random)
    host.agent.setRemoteCredentials(peer, at: .zero)
    let ours = host.agent.localCredentials
    var now = Instant.zero
    for index in 0..<3000 {
      now += .milliseconds(10)
      if let deadline = host.agent.nextDeadline, deadline <= now { host.agent.handleTimeout(at: now) }
      var builder = STUNMessageBuilder(
        .request, transactionID: STUNTransactionID(prefix: 0, suffix: UInt64(index)))
      builder.append(.username, "\(ours.usernameFragment):\(peer.usernameFragment)")
      builder.append(.priority, UInt32(index))
      builder.append(.useCandidate, [])
      builder.append(.iceControlling, 1 as UInt64)
      builder.appendIntegrity(with: STUNIntegrityKey(password: ours.password))
      builder.appendFingerprint()
      let source = TransportAddress(ip: IPAddress(ipv4: 0x0a02_0000 + UInt32(index)), port: 5000)
      let route = Route(receivedOn: host.sockets[0], from: source)
      host.agent.receive(builder.bytes.rawSpan, on: route, at: now)
      _ = host.drain(at: now)
    }
    let routes = Dictionary(grouping: host.requests, by: \.route)
    #expect(routes.count <= 100)
    #expect(routes.values.allSatisfy { $0.count <= 7 })
    let (selected, pairs) = (host.agent.selectedRoute, host.agent.statistics.pairs.count)
    #expect(selected == nil)
    #expect(pairs == 100)
  }

  @Test("T8: triggered checks count among the 7 requests of a pair")
  func triggeredChecksCount() throws {
    var pair = AgentPair()
    try pair.addSockets()
    // The right agent's checks arrive, all its responses are lost.
    pair.passes = { _, _, bytes in kind(of: bytes)?.isRequest == true }
    pair.exchangeAll()
    pair.run(for: .seconds(100))
    let (left, right) = (pair.left.requests.count, pair.right.requests.count)
    #expect((5...7).contains(left) && (5...7).contains(right))
  }

  @Test(
    "T45: candidates that may not be sent to are left alone",
    arguments: [
      ("0.0.0.0", 5000), ("255.255.255.255", 5000), ("224.0.0.1", 5000), ("127.0.0.1", 5000),
      ("192.0.2.2", 0), ("192.0.2.2", 22), ("192.0.2.2", 1023), ("10.0.0.2", 443), ("::", 5000),
      ("ff02::1", 5000), ("::1", 5000),
      ("::ffff:192.0.2.2", 5000), ("fe80::1", 5000),
    ] as [(String, UInt16)])
  func unusableCandidates(ip: String, port: UInt16) throws {
    var host = Host(.controlling, seed: 1)
    try host.addSocket(1, "192.0.2.1", 5000)
    try host.addSocket(2, "2001:db8::1", 5000)
    var random = RandomSource(seed: 2)
    host.agent.setRemoteCredentials(.generate(using: &random), at: .zero)
    let place = try #require(IPAddress(ip))
    host.agent.addRemoteCandidate(
      ICECandidate(foundation: "1", priority: 1, host: .ip(place), port: port, kind: .host), at: .zero)
    _ = host.drain(at: .zero)
    _ = runAlone(&host)
    #expect(host.sent.isEmpty)
  }

  @Test("T45: a check from a port that cannot be sent to is not answered")
  func unsendableSource() throws {
    var pair = AgentPair()
    try pair.addSockets()
    pair.exchangeAll()
    pair.run(for: .zero)
    let request = try #require(pair.left.requests.first).bytes
    let (ip, socket) = (pair.left.sockets[0].address.ip, pair.right.sockets[0])
    let route = Route(receivedOn: socket, from: TransportAddress(ip: ip, port: 0))
    let before = pair.right.sent.count
    pair.right.agent.receive(request.rawSpan, on: route, at: .zero)
    _ = pair.right.drain(at: .zero)
    let (after, drops) = (pair.right.sent.count, pair.right.agent.drops[.unsendableSource])
    #expect(after == before && drops == 1)
  }

  @Test("Candidates of other components, transports and sessions are left alone")
  func otherCandidates() throws {
    var host = Host(.controlling, seed: 1)
    try host.addSocket(1, "10.1.0.1", 5000)
    var random = RandomSource(seed: 2)
    host.agent.setRemoteCredentials(.generate(using: &random), at: .zero)
    var (rtcp, tcp, other) = (candidate(1), candidate(2), candidate(3))
    rtcp.component = 2
    tcp.transport = .tcpActive
    other.usernameFragment = "wxyz"
    for candidate in [rtcp, tcp, other] { host.agent.addRemoteCandidate(candidate, at: .zero) }
    let causes = Set(host.agent.drops.nonZero.map(\.cause))
    #expect(causes == [.candidateComponent, .candidateTransport, .candidateGeneration])
    let pairs = host.agent.statistics.pairs.count
    #expect(pairs == 0)
  }

  @Test("Candidates and early checks of another session go when the credentials come")
  func strangers() throws {
    var host = Host(.controlling, seed: 1)
    try host.addSocket(1, "10.1.0.1", 5000)
    var other = candidate(3)
    other.usernameFragment = "wxyz"
    host.agent.addRemoteCandidate(other, at: .zero)
    let before = host.agent.statistics.pairs.count
    #expect(before == 1)
    var random = RandomSource(seed: 2)
    host.agent.setRemoteCredentials(.generate(using: &random), at: .zero)
    let after = host.agent.statistics.pairs.count
    #expect(after == 0)
  }

  @Test(
    "Unusable credentials are refused",
    arguments: [("", "p"), ("u", ""), (String(repeating: "u", count: 257), "p")])
  func unusableCredentials(fragment: String, password: String) throws {
    var host = Host(.controlling, seed: 1)
    try host.addSocket(1, "10.1.0.1", 5000)
    host.agent.addRemoteCandidate(candidate(1), at: .zero)
    host.agent.setRemoteCredentials(
      ICECredentials(usernameFragment: fragment, password: Secret(password)), at: .zero)
    _ = host.drain(at: .zero)
    #expect(host.sent.isEmpty)
  }

  @Test("The longest credentials fit into a check")
  func longestCredentials() throws {
    var host = Host(.controlling, seed: 1)
    try host.addSocket(1, "10.1.0.1", 5000)
    host.agent.addRemoteCandidate(candidate(1), at: .zero)
    let long = String(repeating: "u", count: 256)
    host.agent.setRemoteCredentials(
      ICECredentials(usernameFragment: long, password: Secret(long)), at: .zero)
    _ = host.drain(at: .zero)
    #expect(host.sent.count == 1)
  }

  @Test("A closed agent is silent")
  func closed() throws {
    var pair = AgentPair()
    try pair.addSockets()
    pair.exchangeAll()
    pair.runUntilSelected()
    pair.left.agent.close()
    _ = pair.left.drain(at: pair.now)
    let count = pair.left.sent.count
    pair.run(for: .seconds(20))
    let (state, later) = (pair.left.agent.connectionState, pair.left.sent.count)
    #expect(state == .closed && later == count)
    let (sendRoute, deadline) = (pair.left.agent.sendRoute, pair.left.agent.nextDeadline)
    #expect(sendRoute == nil && deadline == nil)
  }
}
