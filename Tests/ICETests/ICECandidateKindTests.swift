// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

@Suite("Reflexive and relayed candidates, RFC 8445 §5.1")
struct ICECandidateKindTests {
  private func socket(_ id: UInt32, _ ip: String, _ port: UInt16) throws -> LocalSocket {
    LocalSocket(id: id, address: try address(ip, port))
  }

  @Test("Type preferences order host, reflexive and relayed candidates; the way to the relay orders relays")
  func priorities() throws {
    var host = Host(.controlling, seed: 1)
    let base = try socket(1, "10.0.0.1", 5000)
    let addedHost = host.agent.addLocalCandidate(socket: base, at: .zero)
    let addedReflexive = host.agent.addServerReflexiveCandidate(
      try address("203.0.113.1", 6000), base: base, at: .zero)
    let hostCandidate = try #require(addedHost)
    let reflexive = try #require(addedReflexive)
    #expect(hostCandidate.priority >> 24 == 126)
    #expect(reflexive.priority >> 24 == 100 && reflexive.relatedAddress == base.address)
    var relays: [ICECandidate] = []
    for (index, transport) in [TURNTransport.tls, .tcp, .dtls, .udp].enumerated() {
      let relay = try socket(0x8000_0000 + UInt32(index), "198.51.100.\(index + 1)", 50_000)
      let mapped = try address("203.0.113.1", 6000)
      relays.append(
        host.agent.addRelayedCandidate(socket: relay, mapped: mapped, over: transport, at: .zero))
    }
    #expect(relays.allSatisfy { $0.priority >> 24 == 0 && $0.kind == .relayed })
    #expect(relays.map(\.priority) == relays.map(\.priority).sorted())
    #expect(relays.map(\.relayProtocol) == [.tls, .tcp, .dtls, .udp])
    let mapped = try address("203.0.113.1", 6000)
    #expect(relays.allSatisfy { $0.relatedAddress == mapped })
    let signaled = host.agent.signaledCandidates
    #expect(Set(signaled) == Set([hostCandidate, reflexive] + relays))
    #expect(Set(signaled.map(\.priority)).count == signaled.count)
  }

  @Test("Foundations are equal for one kind, base address and transport, and differ else")
  func foundations() throws {
    var host = Host(.controlling, seed: 1)
    var foundations: [String: String] = [:]
    for (id, ip, port) in [(1, "10.0.0.1", 5000), (2, "10.0.0.1", 5001), (3, "10.0.0.2", 5000)] {
      let base = try socket(UInt32(id), ip, UInt16(port))
      let added = host.agent.addLocalCandidate(socket: base, at: .zero)
      let mapped = try address("203.0.113.1", UInt16(6000 + id))
      let reflexive = host.agent.addServerReflexiveCandidate(mapped, base: base, at: .zero)
      foundations["host \(id)"] = added?.foundation
      foundations["srflx \(id)"] = reflexive?.foundation
    }
    for (id, transport) in [(4, TURNTransport.udp), (5, .udp), (6, .tcp)] {
      let relay = try socket(0x8000_0000 + UInt32(id), "198.51.100.1", UInt16(50_000 + id))
      let candidate = host.agent.addRelayedCandidate(socket: relay, mapped: nil, over: transport, at: .zero)
      foundations["relay \(id)"] = candidate.foundation
    }
    #expect(foundations["host 1"] == foundations["host 2"])
    #expect(foundations["srflx 1"] == foundations["srflx 2"])
    #expect(foundations["relay 4"] == foundations["relay 5"])
    #expect(Set(foundations.values).count == 6)
  }

  @Test("A reflexive candidate that adds nothing is not signaled, and none is paired")
  func redundantReflexive() throws {
    var host = Host(.controlling, seed: 1)
    let base = try socket(1, "203.0.113.9", 5000)
    let stranger = try socket(9, "203.0.113.9", 5009)
    _ = host.agent.addLocalCandidate(socket: base, at: .zero)
    let mapped = try address("203.0.113.1", 6000)
    let same = host.agent.addServerReflexiveCandidate(base.address, base: base, at: .zero)
    let first = host.agent.addServerReflexiveCandidate(mapped, base: base, at: .zero)
    let again = host.agent.addServerReflexiveCandidate(mapped, base: base, at: .zero)
    let baseless = host.agent.addServerReflexiveCandidate(mapped, base: stranger, at: .zero)
    #expect(same == nil && first != nil && again == nil && baseless == nil)
    let line = "candidate:1 1 udp 1 192.0.2.2 5002 typ host"
    host.agent.addRemoteCandidate(try ICECandidate(parsing: line), at: .zero)
    let pairs = host.agent.statistics.pairs
    #expect(pairs.count == 1)
  }

  @Test("Two relays connect where nothing else passes, and statistics name the way to the relay")
  func relaysOnly() throws {
    var pair = AgentPair()
    try pair.addSockets()
    try pair.left.addRelay(0x8000_0001, "198.51.100.1", 50_001)
    try pair.right.addRelay(0x8000_0001, "198.51.100.2", 50_002)
    let relays = Set([try address("198.51.100.1", 50_001), try address("198.51.100.2", 50_002)])
    pair.passes = { from, to, _ in relays.contains(from) && relays.contains(to) }
    pair.exchangeAll()
    pair.runUntilSelected(within: .seconds(2))
    let (agrees, route) = (pair.agrees, pair.left.agent.selectedRoute)
    #expect(agrees)
    #expect(route?.socket.id == 0x8000_0001)
    let statistics = pair.left.agent.statistics
    let selected = statistics.pairs[try #require(statistics.selectedPairIndex)]
    let local = statistics.localCandidates[selected.localCandidateIndex]
    #expect(local.kind == .relayed && local.relayProtocol == .udp)
    #expect(statistics.remoteCandidates[selected.remoteCandidateIndex].kind == .relayed)
  }

  @Test("A direct path that opens after a relayed one was nominated takes over, on both sides")
  func directAfterRelayed() throws {
    final class Gate { var isOpen = false }
    let gate = Gate()
    var pair = AgentPair()
    try pair.addSockets()
    try pair.left.addRelay(0x8000_0001, "198.51.100.1", 50_001)
    let direct = Set((pair.left.sockets.prefix(1) + pair.right.sockets).map(\.address))
    pair.passes = { from, to, _ in gate.isOpen || !(direct.contains(from) && direct.contains(to)) }
    pair.exchangeAll()
    pair.runUntilSelected(within: .seconds(1))
    let first = pair.left.agent.selectedRoute
    #expect(first?.socket.id == 0x8000_0001)
    gate.isOpen = true
    pair.run(for: .seconds(5))
    let (agrees, second) = (pair.agrees, pair.left.agent.selectedRoute)
    #expect(agrees && second?.socket.id == 1)
    let changes = (pair.left.selected.count, pair.right.selected.count)
    #expect(changes == (2, 2))
  }

  @Test("A direct socket that appears while a relayed pair carries the data takes over")
  func lateDirectSocket() throws {
    var pair = AgentPair()
    try pair.left.addRelay(0x8000_0001, "198.51.100.1", 50_001)
    try pair.right.addSocket(1, "192.0.2.2", 5002)
    pair.exchangeAll()
    pair.runUntilSelected(within: .seconds(1))
    pair.run(for: .seconds(5))
    try pair.left.addSocket(1, "192.0.2.1", 5001, at: pair.now)
    pair.run(for: .seconds(1))
    let (agrees, route) = (pair.agrees, pair.left.agent.selectedRoute)
    #expect(agrees && route?.socket.id == 1)
  }

  @Test("T44: under the policy relay only relays are signaled, paired and answered, and hide what is behind")
  func relayPolicy() throws {
    var configuration = ICEAgent.Configuration()
    configuration.transportPolicy = .relay
    var pair = AgentPair()
    pair.left = Host(.controlling, seed: 2, configuration: configuration)
    try pair.addSockets(ipv6: true)
    let base = pair.left.sockets[0]
    let reflexive = pair.left.agent.addServerReflexiveCandidate(
      try address("203.0.113.1", 6000), base: base, at: .zero)
    let hosts = pair.left.candidates
    #expect(reflexive == nil && hosts.isEmpty)
    try pair.left.addRelay(0x8000_0001, "198.51.100.1", 50_001)
    try pair.left.addRelay(0x8000_0002, "2001:db8:ffff::1", 50_001)
    let related = pair.left.candidates.map { $0.relatedAddress?.description }
    #expect(related == ["0.0.0.0:0", "[::]:0"])
    let lines = pair.left.candidates.map(\.attributeValue)
    #expect(lines.allSatisfy { !$0.contains("192.0.2.1") && !$0.contains("203.0.113") })
    // The peer guesses our addresses all the same.
    pair.exchangeAll()
    for socket in pair.left.sockets.prefix(2) {
      pair.right.agent.addRemoteCandidate(
        ICECandidate(
          foundation: "9", priority: .max, host: .ip(socket.address.ip), port: socket.address.port,
          kind: .host),
        at: .zero)
    }
    pair.left.agent.addRemoteCandidate(
      try ICECandidate(parsing: "candidate:7 1 tcp 9 192.0.2.2 6000 typ host tcptype passive"), at: .zero)
    pair.left.agent.addRemoteCandidate(
      try ICECandidate(parsing: "candidate:8 1 udp 9 abc.local 6000 typ host"), at: .zero)
    pair.runUntilSelected()
    pair.run(for: .seconds(30))
    let agrees = pair.agrees
    #expect(agrees)
    #expect(pair.left.sent.allSatisfy { $0.route.socket.id >= 0x8000_0000 })
    let statistics = pair.left.agent.statistics
    #expect(statistics.localCandidates.allSatisfy { $0.kind == .relayed })
    let (unanswered, asked) = (pair.left.agent.drops[.unknownSocket], pair.left.requestsToDriver)
    #expect(unanswered > 0)
    #expect(asked.isEmpty)
  }

  @Test("T8: with relays there are at most 100 pairs, and 7 requests each")
  func limits() throws {
    var host = Host(.controlling, seed: 1)
    for index in 0..<2 { try host.addSocket(UInt32(index), "10.1.0.\(index + 1)", 5000) }
    for index in 0..<3 { try host.addRelay(0x8000_0000 + UInt32(index), "198.51.100.\(index + 1)", 50_000) }
    var random = RandomSource(seed: 2)
    host.agent.setRemoteCredentials(.generate(using: &random), at: .zero)
    for index in 0..<1000 {
      host.agent.addRemoteCandidate(
        ICECandidate(
          foundation: "\(index)", priority: UInt32(index),
          host: .ip(IPAddress(ipv4: 0x0a00_0000 + UInt32(index))),
          port: 7000, kind: index.isMultiple(of: 2) ? .host : .relayed), at: .zero)
    }
    var now = Instant.zero
    while let deadline = host.agent.nextDeadline {
      now = deadline
      host.agent.handleTimeout(at: now)
      _ = host.drain(at: now)
    }
    let counts = Dictionary(grouping: host.requests, by: \.route).mapValues(\.count)
    #expect(counts.count <= 100)
    #expect(counts.values.allSatisfy { $0 <= 7 })
    let (state, reason) = (host.agent.connectionState, host.agent.failureReason)
    #expect(state == .failed && reason == .noAnswer)
  }

  @Test("100 forged candidates neither keep the true one from its chance nor are they all tried for long")
  func forgedCandidates() throws {
    for isTrueOneLast in [true, false] {
      var pair = AgentPair()
      try pair.addSockets()
      pair.exchangeCredentials()
      if !isTrueOneLast { pair.giveCandidatesToLeft() }
      for index in 0..<99 {
        pair.left.agent.addRemoteCandidate(
          ICECandidate(
            foundation: "\(index)", priority: .max - UInt32(index),
            host: .ip(IPAddress(ipv4: 0xc633_6400 + UInt32(index))), port: 7000, kind: .host), at: .zero)
      }
      if isTrueOneLast { pair.giveCandidatesToLeft() }
      pair.giveCandidatesToRight()
      pair.runUntilSelected(within: .seconds(10))
      let agrees = pair.agrees
      #expect(agrees, "true one last: \(isTrueOneLast)")
      let forged = pair.left.requests.count { $0.route.remote.port == 7000 }
      pair.run(for: .seconds(60))
      let later = pair.left.requests.count { $0.route.remote.port == 7000 }
      #expect(later - forged <= 10)
    }
  }
}
