// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

@Suite("A gatherer's relays, in virtual time against TURN servers")
struct GathererRelayTests {
  @Test("Over UDP an owner has its relay after two round trips, and then gathering is complete")
  func oneRelay() throws {
    var world = try GathererWorld(seed: 1)
    let server = try world.addServer()
    world.update([try GathererWorld.server(["turn:203.0.113.1"])])
    world.gatherer.requestRelay(for: 7, at: world.now)
    world.run(for: .seconds(1))
    let relay = try #require(world.relays(of: 7).first)
    #expect(relay.at == Instant.zero + .milliseconds(80))
    #expect(relay.over == .udp)
    #expect(relay.socket.address == server.openRelays.values.first)
    #expect(relay.socket.id >= CandidateGatherer.firstRelaySocketID)
    let expected = CandidateGatherer.Event.relayed(
      relay.socket, mapped: try address("203.0.113.10", 20_001), over: .udp, owner: 7)
    #expect(world.events.map(\.event) == [expected, .gatheringComplete(owner: 7)])
    #expect(world.completed(7) == relay.at)
  }

  @Test(
    "All transports are tried side by side at first; the best that works is the relay, the others are released",
    arguments: [
      // Over what it comes, and when, in milliseconds: round trips of 40 ms to open, 80 ms to allocate, and the
      // grace of 500 ms where a better way may answer yet.
      ([], [], TURNTransport.udp, 80 as Int64),
      ([.udp, .dtls], [], .tcp, 120 + 500),
      ([.udp, .dtls, .tcp], [], .tls, 160 + 500),
      ([], [.udp, .dtls], .tcp, 120),
      ([], [.udp, .dtls, .tcp], .tls, 160),
      ([.tcp, .tls], [.udp], .dtls, 160),
    ] as [([TURNTransport], [TURNTransport], TURNTransport, Int64)])
  func sideBySide(
    blocked: [TURNTransport], refused: [TURNTransport], best: TURNTransport, milliseconds: Int64
  ) throws {
    var world = try GathererWorld(seed: 2)
    _ = try world.addServer()
    (world.blocked, world.refused) = (Set(blocked), Set(refused))
    world.update([try GathererWorld.server(GathererWorld.allTransports)])
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(8))
    #expect(world.opened.count == 4)
    #expect(world.opened.allSatisfy { $0.openedAt == .zero })
    let relay = try #require(world.relays(of: 1).first)
    #expect(relay.over == best)
    #expect(relay.at == Instant.zero + .milliseconds(milliseconds))
    #expect(world.allocationCount == 1)
    #expect(world.openConnectionCount == 1)
    #expect(world.closed.count + refused.count == 3)

    // The way is known now.
    world.gatherer.requestRelay(for: 2, at: world.now)
    world.run(for: .seconds(8))
    #expect(world.opened.map(\.wanted.transport).dropFirst(4) == [best])
    #expect(world.relays(of: 2).map(\.over) == [best])
    #expect(world.failures == [] || !refused.isEmpty)
  }

  @Test("When the way that worked works no more, all others are tried beside it after a second")
  func fallsBack() throws {
    var world = try GathererWorld(seed: 3)
    _ = try world.addServer()
    world.update([try GathererWorld.server(GathererWorld.allTransports)])
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(5))
    world.blocked = [.udp, .dtls]
    let start = world.now
    world.gatherer.requestRelay(for: 2, at: start)
    world.run(for: .seconds(5))
    let relay = try #require(world.relays(of: 2).first)
    #expect(relay.over == .tcp)
    #expect(relay.at == start + .milliseconds(1120))
    world.gatherer.requestRelay(for: 3, at: world.now)
    let count = world.opened.count
    world.run(for: .seconds(5))
    #expect(world.opened.map(\.wanted.transport).dropFirst(count) == [.tcp])
  }

  @Test("A spare is handed out in the same instant, and replaced")
  func spares() throws {
    var world = try GathererWorld(seed: 4) { $0.relaySpareCount = 2 }
    let server = try world.addServer()
    world.update([try GathererWorld.server(GathererWorld.allTransports)])
    world.run(for: .seconds(5))
    #expect(world.events.isEmpty)
    #expect(world.spareCount == 2)
    #expect(server.allocationCount == 2)
    for owner in 0..<2 { world.gatherer.requestRelay(for: owner, at: world.now) }
    let start = world.now
    world.run(for: .milliseconds(1))
    #expect(world.relays(of: 0).map(\.at) == [start])
    #expect(world.relays(of: 1).map(\.at) == [start])
    #expect(world.completed(1) == start)
    #expect(world.relays(of: 0).map(\.socket) != world.relays(of: 1).map(\.socket))
    world.run(for: .seconds(5))
    #expect(world.spareCount == 2)
    #expect(server.allocationCount == 4)
    world.gatherer.releaseRelays(of: 0, at: world.now)
    world.run(for: .seconds(5))
    #expect(server.allocationCount == 3)
    #expect(world.count { if case .relayLost = $0 { true } else { false } } == 0)
  }

  @Test("An owner that comes while a spare is being made gets it, and does not wait longer than for its own")
  func takesOverSpare() throws {
    var world = try GathererWorld(seed: 5) { $0.relaySpareCount = 1 }
    _ = try world.addServer()
    world.update([try GathererWorld.server(["turn:203.0.113.1"])])
    world.run(for: .milliseconds(50))
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(5))
    #expect(world.relays(of: 1).map(\.at) == [Instant.zero + .milliseconds(80)])
    #expect(world.spareCount == 1)
  }

  @Test("A spare stands for hours, over nonces that go stale, and a NAT sees something every 15 s")
  func spareIsKept() throws {
    var world = try GathererWorld(seed: 6) { $0.relaySpareCount = 1 }
    let server = try world.addServer { $0.nonceLifetime = .seconds(100) }
    world.update([try GathererWorld.server(["turn:203.0.113.1"], seconds: 5)])
    world.run(for: .seconds(7200))
    #expect(world.opened.count == 1)
    #expect(server.allocationCount == 1)
    let times = world.sentToServers.map(\.at)
    let longestSilence = try #require(zip(times.dropFirst(), times).map { $0 - $1 }.max())
    #expect(longestSilence <= .milliseconds(15_040), "an interval, the first one after an answer")
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .milliseconds(1))
    #expect(world.relays(of: 1).count == 1)
  }

  @Test("Renewed credentials replace spares, one for one; relays with owners live on under the old ones")
  func renewal() throws {
    var world = try GathererWorld(seed: 7) { $0.relaySpareCount = 1 }
    let server = try world.addServer()
    let url = ["turn:203.0.113.1"]
    world.update([try GathererWorld.server(url, seconds: 300)])
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(5))
    let before = Set(server.openRelays.values)
    #expect(before.count == 2)
    world.update([try GathererWorld.server(url, seconds: 600)])
    let spareCount = world.spareCount
    #expect(spareCount == 1)
    world.run(for: .seconds(5))
    let owned = try #require(world.relays(of: 1).first).socket.address
    let after = Set(server.openRelays.values)
    #expect(after.count == 2)
    #expect(after.intersection(before) == [owned])
    // The same credentials again change nothing.
    world.update([try GathererWorld.server(url, seconds: 600)])
    world.run(for: .seconds(3600))
    #expect(Set(server.openRelays.values) == after)
    #expect(world.count { if case .relayLost = $0 { true } else { false } } == 0)
    // Without servers there is nothing to have a spare on.
    world.update([])
    world.run(for: .seconds(5))
    #expect(Set(server.openRelays.values) == [owned])
  }

  @Test(
    "Credentials whose time is over are told once; with others the owner has its relay in two round trips")
  func expiredCredentials() throws {
    var world = try GathererWorld(seed: 8)
    _ = try world.addServer()
    let url = ["turn:203.0.113.1"]
    world.update([try GathererWorld.server(url, seconds: 1)])
    world.run(for: .seconds(2))
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(120))
    #expect(world.failures == ["turn:203.0.113.1:3478?transport=udp"])
    #expect(world.completed(1) == Instant.zero + .milliseconds(2080))
    #expect(world.relays(of: 1).isEmpty)
    let start = world.now
    world.update([try GathererWorld.server(url, seconds: 600)])
    world.run(for: .seconds(1))
    #expect(world.relays(of: 1).map(\.at) == [start + .milliseconds(80)])
  }

  @Test("Before the servers are known an owner waits for them; without any it does not")
  func waitsForServers() throws {
    var world = try GathererWorld(seed: 8)
    _ = try world.addServer()
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(1))
    #expect(world.events.isEmpty)
    world.update([try GathererWorld.server(["turn:203.0.113.1"])])
    world.run(for: .seconds(1))
    #expect(world.relays(of: 1).map(\.at) == [Instant.zero + .milliseconds(1080)])
    #expect(world.completed(1) == Instant.zero + .milliseconds(1080))
    world.update([])
    world.gatherer.requestRelay(for: 2, at: world.now)
    world.run(for: .milliseconds(1))
    #expect(world.completed(2) == Instant.zero + .seconds(2))
  }

  @Test("A relay that its server denies for its password's sake is replaced under the renewed one")
  func passwordExpiresInMidCall() throws {
    var world = try GathererWorld(seed: 9)
    let server = try world.addServer()
    let url = ["turn:203.0.113.1"]
    world.update([try GathererWorld.server(url, seconds: 300)])
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(290))
    let renewed = try GathererWorld.server(url, seconds: 900)
    world.update([renewed])
    world.run(for: .seconds(20))
    world.gatherer.verifyRelays(of: 1, at: world.now)
    world.run(for: .milliseconds(1))
    let refresh = try #require(world.sentToServers.last)
    let id = try STUNMessage(parsing: refresh.bytes.rawSpan).transactionID
    var answer = STUNMessageBuilder(.errorResponse, .refresh, transactionID: id)
    answer.append(STUNErrorCode.unauthenticated)
    world.deliver(answer.bytes, on: refresh.connection)
    let start = world.now
    world.run(for: .seconds(1))
    let old = try #require(world.relays(of: 1).first).socket
    let lost = CandidateGatherer.Event.relayLost(socketID: old.id, owner: 1, reason: .unauthenticated)
    #expect(world.count { $0 == lost } == 1)
    #expect(world.relays(of: 1).map(\.at).last == start + .milliseconds(80))
    let users = server.openRelays.keys.sorted { $0.rawValue < $1.rawValue }.map {
      server.core.username(of: $0)
    }
    #expect(users.last == renewed.username)
  }

  @Test("Credentials that are renewed while a round runs are used at once when the old ones are refused")
  func renewalInMidRound() throws {
    var world = try GathererWorld(seed: 9)
    _ = try world.addServer()
    let url = ["turn:203.0.113.1"]
    world.update([try GathererWorld.server(url, seconds: 0)])
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .milliseconds(50))
    world.update([try GathererWorld.server(url, seconds: 600)])
    world.run(for: .seconds(1))
    #expect(world.relays(of: 1).map(\.at) == [Instant.zero + .milliseconds(160)])
    #expect(world.opened.count == 2)
  }

  @Test("A user who has all that one may have is left in peace for a minute, and served when there is room")
  func quota() throws {
    var world = try GathererWorld(seed: 10)
    _ = try world.addServer { $0.allocationsPerUserMax = 1 }
    world.update([try GathererWorld.server(["turn:203.0.113.1"])])
    for owner in 1...2 { world.gatherer.requestRelay(for: owner, at: world.now) }
    world.run(for: .seconds(60))
    #expect(world.relays(of: 1).count == 1)
    #expect(world.relays(of: 2).isEmpty)
    #expect(world.completed(2) != nil)
    #expect(world.failures.count == 1)
    #expect(world.opened.count == 2)
    world.gatherer.releaseRelays(of: 1, at: world.now)
    world.run(for: .seconds(80))
    #expect(world.relays(of: 2).count == 1)
  }

  @Test(
    "A server that was started anew denies the relay when asked; the owner has another in a few round trips")
  func serverRestart() throws {
    var world = try GathererWorld(seed: 11)
    let server = try world.addServer()
    world.update([try GathererWorld.server(["turn:203.0.113.1"])])
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(100))
    let first = try #require(world.relays(of: 1).first).socket
    server.restart()
    let start = world.now
    world.gatherer.verifyRelays(of: 1, at: start)
    world.run(for: .seconds(5))
    let lost = CandidateGatherer.Event.relayLost(socketID: first.id, owner: 1, reason: .allocationMismatch)
    #expect(world.count { $0 == lost } == 1)
    let second = try #require(world.relays(of: 1).last)
    #expect(second.socket.id != first.id)
    // Stale nonce, mismatch, challenge, allocation.
    #expect(second.at == start + .milliseconds(160))
    // A relay that stands is verified without a word.
    world.gatherer.verifyRelays(of: 1, at: world.now)
    world.run(for: .seconds(10))
    #expect(world.count { if case .relayLost = $0 { true } else { false } } == 1)
  }

  @Test(
    "A server that falls silent costs the relay three seconds after the question; another server gives the next"
  )
  func serverDies() throws {
    var world = try GathererWorld(seed: 12)
    let first = try world.addServer()
    _ = try world.addServer("203.0.113.2")
    world.update([try GathererWorld.server(["turn:203.0.113.1", "turn:203.0.113.2"])])
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(100))
    #expect(world.relays(of: 1).last?.socket.address.ip == first.address.ip)
    first.isDead = true
    let start = world.now
    world.gatherer.verifyRelays(of: 1, at: start)
    world.run(for: .seconds(10))
    let relay = try #require(world.relays(of: 1).last)
    #expect(relay.socket.address.ip == IPAddress("203.0.113.2"))
    #expect(relay.at == start + .milliseconds(3000 + 1000 + 80))
  }

  @Test("When the last socket of an address goes, relays reached from there are verified")
  func addressGoes() throws {
    var world = try GathererWorld(seed: 12)
    let server = try world.addServer()
    world.portShift = 0
    for id in 1...2 as ClosedRange<UInt32> {
      let address = TransportAddress(ip: world.natIP, port: UInt16(5000 + id))
      world.gatherer.addSocket(LocalSocket(id: id, address: address), at: world.now)
    }
    world.update([try GathererWorld.server(["turn:203.0.113.1"])])
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(20))
    server.isDead = true
    world.gatherer.removeSocket(id: 1, at: world.now)
    world.run(for: .seconds(5))
    #expect(world.count { if case .relayLost = $0 { true } else { false } } == 0)
    world.gatherer.removeSocket(id: 2, at: world.now)
    world.run(for: .seconds(5))
    #expect(world.count { if case .relayLost(_, 1, .timedOut) = $0 { true } else { false } } == 1)
  }

  @Test("A relay whose connection is lost is replaced at once, one that keeps being lost less and less often")
  func losesConnections() throws {
    var world = try GathererWorld(seed: 13)
    _ = try world.addServer()
    world.update([try GathererWorld.server(["turn:203.0.113.1?transport=tcp"], seconds: 10_000)])
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(100))
    var losses: [Instant] = []
    for _ in 0..<30 {
      guard let id = world.connections.keys.first else { break }
      losses.append(world.now)
      world.lose(id)
      let count = world.relays(of: 1).count
      world.run(for: .seconds(600)) { $0.relays(of: 1).count > count }
    }
    let lost = world.count { if case .relayLost(_, 1, .connectionLost) = $0 { true } else { false } }
    #expect(lost == losses.count)
    #expect(losses.count == 11, "the first one, and as many as there are rounds")
    #expect(world.relays(of: 1)[1].at == losses[0] + .milliseconds(120))
    let waits = zip(losses.dropFirst(), losses).map { $0 - $1 }
    #expect(waits.last.map { $0 > .seconds(25) } == true)
    #expect(world.relays(of: 1).count == losses.count)
    // Other credentials make another try worth while.
    world.update([try GathererWorld.server(["turn:203.0.113.1?transport=tcp"], seconds: 100_000)])
    world.run(for: .seconds(1))
    #expect(world.relays(of: 1).count == losses.count + 1)
  }

  @Test("While no server can be reached an owner is not kept waiting, and the tries are few")
  func nothingWorks() throws {
    var world = try GathererWorld(seed: 14) { $0.relaySpareCount = 1 }
    _ = try world.addServer()
    world.blocked = Set(TURNTransport.allCases)
    world.update([try GathererWorld.server(GathererWorld.allTransports, seconds: 10_000)])
    for owner in 0..<20 { world.gatherer.requestRelay(for: owner, at: world.now) }
    world.run(for: .seconds(1800))
    for owner in 0..<20 { #expect(world.completed(owner) == Instant.zero + .seconds(10)) }
    #expect(Set(world.failures).count == 4)
    #expect(world.failures.count == 4)
    #expect(world.opened.count <= 21 * 10 * 4)
    #expect(world.openConnectionCount <= 4)
    world.blocked = []
    world.gatherer.addSocket(LocalSocket(id: 1, address: try address("192.168.1.5", 5000)), at: world.now)
    world.run(for: .seconds(5))
    for owner in 0..<20 { #expect(world.relays(of: owner).count == 1) }
  }

  @Test(
    "With a quarter of all datagrams lost an owner has its relay within seconds and keeps it",
    arguments: Array(1...12).map(UInt64.init))
  func loss(seed: UInt64) throws {
    var world = try GathererWorld(seed: seed) { $0.relaySpareCount = 1 }
    _ = try world.addServer { $0.nonceLifetime = .seconds(100) }
    world.lossPercent = 25
    world.update([try GathererWorld.server(GathererWorld.allTransports)])
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(1800))
    let first = try #require(world.relays(of: 1).first, "seed \(seed)")
    #expect(first.at <= Instant.zero + .milliseconds(620), "seed \(seed)")
    #expect(world.relays(of: 1).count == 1, "seed \(seed): \(world.events)")
    #expect(world.spareCount == 1, "seed \(seed)")
  }

  @Test(
    "Two families give two relays; a server that has one family is asked for the other once, without a word")
  func families() throws {
    for families in [[IPAddress.Family.ipv4, .ipv6], [.ipv4]] {
      var world = try GathererWorld(seed: 15) { $0.relayFamilies = [.ipv4, .ipv6] }
      _ = try world.addServer { $0.families = Set(families) }
      world.update([try GathererWorld.server(["turn:203.0.113.1"])])
      world.gatherer.requestRelay(for: 1, at: world.now)
      world.run(for: .seconds(600))
      let found = world.relays(of: 1).map(\.socket.address.ip.family)
      #expect(Set(found) == Set(families))
      #expect(found.count == families.count)
      #expect(world.failures.isEmpty)
      #expect(world.opened.count == 2)
      let completed = world.completed(1)
      #expect(completed.map { $0 <= Instant.zero + .milliseconds(200) } == true)
    }
  }

  @Test("At the end every relay is given back and every connection closed")
  func shutdown() throws {
    var world = try GathererWorld(seed: 16) { $0.relaySpareCount = 4 }
    let server = try world.addServer()
    world.update([try GathererWorld.server(GathererWorld.allTransports)])
    for owner in 0..<5 { world.gatherer.requestRelay(for: owner, at: world.now) }
    world.run(for: .seconds(5))
    #expect(server.allocationCount == 9)
    // One more is in the making.
    world.gatherer.requestRelay(for: 5, at: world.now)
    world.run(for: .milliseconds(50))
    world.gatherer.shutdown(at: world.now)
    let start = world.now
    world.run(for: .seconds(10)) { $0.gatherer.isShutDown }
    #expect(world.now - start <= .milliseconds(100))
    world.run(for: .seconds(10))
    #expect(server.allocationCount == 0)
    #expect(world.openConnectionCount == 0)
    let deadline = world.gatherer.nextDeadline
    #expect(deadline == nil)
    // A server that does not answer is not waited for long.
    var other = try GathererWorld(seed: 16)
    let silent = try other.addServer()
    other.update([try GathererWorld.server(["turn:203.0.113.1"])])
    other.gatherer.requestRelay(for: 1, at: other.now)
    other.run(for: .seconds(1))
    silent.isDead = true
    other.gatherer.shutdown(at: other.now)
    other.run(for: .seconds(10)) { $0.gatherer.isShutDown }
    #expect(other.now == Instant.zero + .seconds(3))
  }
}
