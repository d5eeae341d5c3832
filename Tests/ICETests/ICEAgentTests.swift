// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

@Suite("ICE agents connect, RFC 8445")
struct ICEAgentTests {
  @Test(
    "Two agents select the same pair within a few round trips",
    arguments: [(true, false), (false, true), (true, true)])
  func connects(ipv4: Bool, ipv6: Bool) throws {
    var pair = AgentPair()
    try pair.addSockets(ipv4: ipv4, ipv6: ipv6)
    pair.exchangeAll()
    pair.runUntilSelected()
    let (agrees, now) = (pair.agrees, pair.now)
    #expect(agrees)
    // A check and a nomination of 20 ms each, the pace, and at most the wait for a better pair.
    #expect(now <= .zero + .milliseconds(100))
    pair.run(for: .seconds(1))
    let states = pair.left.states
    #expect(states == [.checking, .connected])
    let family = pair.left.agent.selectedRoute?.remote.ip.family
    #expect(family == (ipv6 ? .ipv6 : .ipv4))
    let roundTripTime = pair.left.agent.roundTripTime
    #expect(roundTripTime == .milliseconds(20))
    pair.left.agent.setEndOfRemoteCandidates(at: pair.now)
    let state = pair.left.agent.connectionState
    #expect(state == .completed)
  }

  /// What signalling hands over, in any order.
  enum Step: CaseIterable {
    case leftCredentials, rightCredentials, leftCandidates, rightCandidates
  }

  private static let orders: [[Step]] = Step.allCases.reduce([[]]) { orders, step in
    orders.flatMap { order in (0...order.count).map { Array(order[..<$0]) + [step] + Array(order[$0...]) } }
  }

  @Test("Any order of credentials and candidates connects", arguments: orders)
  func trickleOrders(order: [Step]) throws {
    for (gap, seed) in [(TimeDelta.zero, 1), (.milliseconds(15), 2), (.milliseconds(900), 3)] {
      var pair = AgentPair(seed: UInt64(seed))
      try pair.addSockets(ipv6: true)
      for step in order {
        switch step {
        case .leftCredentials: pair.giveCredentialsToLeft()
        case .rightCredentials: pair.giveCredentialsToRight()
        case .leftCandidates: pair.giveCandidatesToLeft()
        case .rightCandidates: pair.giveCandidatesToRight()
        }
        pair.run(for: gap)
      }
      pair.runUntilSelected(within: .seconds(5))
      let agrees = pair.agrees
      #expect(agrees, "gap \(gap)")
    }
  }

  @Test(
    "A check that comes before the remote description is answered at once and followed up",
    arguments: [ICERole.controlling, .controlled])
  func earlyCheck(leftRole: ICERole) throws {
    var pair = AgentPair(
      leftRole: leftRole, rightRole: leftRole == .controlling ? .controlled : .controlling)
    try pair.addSockets()
    pair.giveCredentialsToLeft()
    pair.giveCandidatesToLeft()
    pair.run(for: .milliseconds(25))
    let (answers, requests) = (pair.right.sent.count, pair.right.requests.count)
    #expect(answers == 1 && requests == 0)
    let leftRouteFound = pair.left.agent.sendRoute
    let leftRoute = try #require(leftRouteFound)
    let leftIsValid = pair.left.agent.isValid(leftRoute)
    #expect(leftIsValid)
    let rightRoute = Route(
      receivedOn: LocalSocket(id: 1, address: try address("192.0.2.2", 5002)),
      from: try address("192.0.2.1", 5001))
    let (isAuthenticated, isValid) =
      (pair.right.agent.isAuthenticated(rightRoute), pair.right.agent.isValid(rightRoute))
    #expect(isAuthenticated && !isValid)
    let before = pair.now
    pair.giveCredentialsToRight()
    pair.run(for: .zero)
    let first = pair.right.requests.first?.at
    #expect(first == before)
    pair.runUntilSelected()
    let (agrees, now) = (pair.agrees, pair.now)
    #expect(agrees)
    #expect(now - before <= .milliseconds(60))
  }

  @Test("Peers whose names nobody resolves connect by peer-reflexive candidates")
  func hiddenCandidates() throws {
    var pair = AgentPair()
    try pair.addSockets()
    pair.exchangeCredentials()
    for var candidate in pair.right.candidates {
      candidate.host = .name("4b1b6a0e-8f0a-4c6c-a8fb-1f1d8f8f2d3a.local")
      pair.left.agent.addRemoteCandidate(candidate, at: pair.now)
    }
    pair.giveCandidatesToRight()
    pair.runUntilSelected()
    let (agrees, asked) = (pair.agrees, pair.left.requestsToDriver)
    #expect(agrees && asked == [.nameNeedsResolving("4b1b6a0e-8f0a-4c6c-a8fb-1f1d8f8f2d3a.local")])
    let kinds = pair.left.agent.statistics.remoteCandidates.map(\.kind)
    #expect(kinds == [.peerReflexive])
  }

  @Test("Behind a NAT our own peer-reflexive candidate is learnt")
  func translatedAddress() throws {
    var pair = AgentPair()
    try pair.addSockets()
    let (inner, outer) = (try address("192.0.2.1", 5001), try address("203.0.113.1", 9999))
    pair.translated = { $0 == inner ? outer : $0 }
    pair.exchangeAll()
    pair.runUntilSelected()
    let remote = pair.right.agent.selectedRoute?.remote
    #expect(remote == outer)
    let statistics = pair.left.agent.statistics
    let selected = statistics.pairs[try #require(statistics.selectedPairIndex)]
    let local = statistics.localCandidates[selected.localCandidateIndex]
    #expect(local.kind == .peerReflexive && local.address == outer)
    #expect(selected.nominated && selected.state == .succeeded && selected.responsesReceived >= 2)
  }

  @Test("30 % loss does not keep agents apart", arguments: 1...40)
  func loss(seed: UInt64) throws {
    var pair = AgentPair(seed: seed)
    pair.lossPercent = 30
    try pair.addSockets(ipv6: true)
    pair.exchangeAll()
    pair.runUntilSelected(within: .seconds(39))
    pair.run(for: .seconds(10))
    let agrees = pair.agrees
    #expect(agrees, "seed \(seed)")
  }

  @Test(
    "Role conflicts are resolved, whoever wins",
    arguments: [ICERole.controlling, .controlled], 1...20 as ClosedRange<UInt64>)
  func roleConflict(role: ICERole, seed: UInt64) throws {
    var pair = AgentPair(seed: seed, leftRole: role, rightRole: role)
    try pair.addSockets(ipv6: seed % 2 == 0)
    pair.exchangeAll()
    pair.runUntilSelected(within: .seconds(5))
    let (agrees, left, right) = (pair.agrees, pair.left.agent.role, pair.right.agent.role)
    #expect(agrees)
    #expect(left != right)
  }

  @Test("T9: equal tie-breakers end in different roles", arguments: [ICERole.controlling, .controlled])
  func equalTieBreakers(role: ICERole) throws {
    var pair = AgentPair(leftRole: role, rightRole: role)
    // The same seed gives both the same tie-breaker (and credentials, which are not at stake); a fixed prefix
    // draws fewer random numbers, so that new tie-breakers differ.
    var configuration = ICEAgent.Configuration()
    configuration.transactionPrefix = 1
    pair.right = Host(role, seed: 2, configuration: configuration)
    try pair.addSockets()
    pair.exchangeAll()
    pair.runUntilSelected(within: .seconds(20))
    let (agrees, left, right) = (pair.agrees, pair.left.agent.role, pair.right.agent.role)
    #expect(agrees)
    #expect(left != right)
  }

  @Test("Late candidates connect agents that had nothing to check")
  func lateCandidates() throws {
    var pair = AgentPair()
    try pair.addSockets()
    pair.exchangeCredentials()
    pair.run(for: .seconds(30))
    let before = pair.left.agent.connectionState
    #expect(before == .new)
    pair.giveCandidatesToRight()
    pair.runUntilSelected(within: .seconds(2))
    let agrees = pair.agrees
    #expect(agrees)
  }

  @Test("A socket that appears late connects, one that goes away is replaced")
  func socketsComeAndGo() throws {
    var pair = AgentPair()
    pair.exchangeCredentials()
    try pair.addSockets(ipv6: true)
    pair.giveCandidatesToLeft()
    pair.giveCandidatesToRight()
    pair.runUntilSelected()
    pair.run(for: .seconds(1))
    let firstFound = pair.left.agent.selectedRoute
    let first = try #require(firstFound)
    pair.left.agent.removeLocalSocket(id: first.socket.id, at: pair.now)
    pair.run(for: .seconds(2))
    let secondFound = pair.left.agent.selectedRoute
    let second = try #require(secondFound)
    #expect(second.socket.id != first.socket.id)
    let state = pair.left.agent.connectionState
    #expect(state == .connected)
    pair.run(for: .seconds(5))
    let right = pair.right.agent.selectedRoute
    #expect(right?.socket.id == second.socket.id)
  }

  @Test("Without anybody there, the agent fails after its patience, never earlier", arguments: [0, 10])
  func nobodyThere(candidates: Int) throws {
    var host = Host(.controlling, seed: 1)
    try host.addSocket(1, "192.0.2.1", 5001)
    var random = RandomSource(seed: 2)
    host.agent.setRemoteCredentials(.generate(using: &random), at: .zero)
    for index in 0..<candidates {
      host.agent.addRemoteCandidate(
        ICECandidate(
          foundation: "1", priority: UInt32(index), host: .ip(IPAddress(ipv4: 0xc000_0264)),
          port: UInt16(7000 + index), kind: .host), at: .zero)
    }
    var now = Instant.zero
    while let deadline = host.agent.nextDeadline {
      now = deadline
      host.agent.handleTimeout(at: now)
      _ = host.drain(at: now)
    }
    let state = host.agent.connectionState
    #expect(state == .failed)
    #expect((.milliseconds(39_500)...(.seconds(60))).contains(now - .zero))
  }

  @Test("An unanswered check is repeated after 500 ms, doubling, seven requests in all")
  func retransmissions() throws {
    var host = Host(.controlling, seed: 1)
    try host.addSocket(1, "192.0.2.1", 5001)
    var random = RandomSource(seed: 2)
    host.agent.setRemoteCredentials(.generate(using: &random), at: .zero)
    let line = "candidate:1 1 udp 1 192.0.2.2 5002 typ host"
    host.agent.addRemoteCandidate(try ICECandidate(parsing: line), at: .zero)
    _ = host.drain(at: .zero)
    var failedAt = Instant.zero
    while let deadline = host.agent.nextDeadline {
      host.agent.handleTimeout(at: deadline)
      _ = host.drain(at: deadline)
      failedAt = deadline
    }
    let times = host.requests.map { ($0.at - .zero).inSeconds }
    #expect(times == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
    #expect(failedAt == .zero + .milliseconds(39_500))
    let identifiers = try Set(host.requests.map { try ParsedMessage($0.bytes).transactionID })
    #expect(identifiers.count == 1)
  }

  @Test("A check of the peer repeats one in progress: a firewall that it opened costs no time-out")
  func firewalls() throws {
    final class Openings { var ways: Set<[TransportAddress]> = [] }
    let openings = Openings()
    var pair = AgentPair()
    try pair.addSockets()
    pair.passes = { from, to, _ in
      openings.ways.insert([from, to])
      return openings.ways.contains([to, from])
    }
    pair.exchangeAll()
    pair.runUntilSelected()
    let (agrees, now) = (pair.agrees, pair.now)
    #expect(agrees)
    #expect(now <= .zero + .milliseconds(100))
  }

  @Test("A better pair that does not answer delays nomination by 50 ms at most")
  func nominationWait() throws {
    var pair = AgentPair()
    pair.delay = .milliseconds(30)
    try pair.addSockets(ipv6: true)
    pair.passes = { from, _, _ in from.ip.family == .ipv4 }
    pair.exchangeAll()
    pair.runUntilSelected()
    let (agrees, now) = (pair.agrees, pair.now)
    #expect(agrees)
    // Pace 5 ms, check 60 ms, wait 50 ms, nomination 60 ms.
    #expect(now == .zero + .milliseconds(175))
  }

  @Test("On a fast network agents connect in milliseconds")
  func fastNetwork() throws {
    var pair = AgentPair()
    pair.delay = .microseconds(100)
    try pair.addSockets(ipv6: true)
    pair.exchangeAll()
    pair.runUntilSelected()
    let (agrees, now) = (pair.agrees, pair.now)
    #expect(agrees)
    #expect(now <= .zero + .milliseconds(2))
  }

  @Test("Requests carry what RFC 8445 §7.1 and §7.2.2 ask for")
  func requestContents() throws {
    var configuration = ICEAgent.Configuration()
    configuration.transactionPrefix = 0xabcd_ef01
    var pair = AgentPair(configuration: configuration)
    try pair.addSockets()
    pair.exchangeAll()
    pair.runUntilSelected()
    let (left, right) = (pair.left.agent.localCredentials, pair.right.agent.localCredentials)
    let password = right.password.unredacted
    let requests = try pair.left.requests.map { try ParsedMessage($0.bytes, password: password) }
    #expect(requests.count >= 2)
    let priority: UInt32 = 110 << 24 | 0xfffe << 8 | 255
    for request in requests {
      #expect(request.isAuthentic && request.hasFingerprint)
      #expect(request.username == "\(right.usernameFragment):\(left.usernameFragment)")
      #expect(request.priority == priority)
      #expect(request.controlling != nil && request.controlled == nil)
      #expect(request.transactionID.prefix == 0xabcd_ef01)
    }
    #expect(requests.first?.usesCandidate == false)
    #expect(requests.last?.usesCandidate == true)
    #expect(Set(requests.map(\.transactionID)).count == requests.count)
  }
}
