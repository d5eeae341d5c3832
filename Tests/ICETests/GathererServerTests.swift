// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

@Suite("A gatherer's servers: names, addresses, and configurations that cannot be used")
struct GathererServerTests {
  @Test("A name is looked up once for all its URLs; its connections carry it for the certificate's sake")
  func names() throws {
    var world = try GathererWorld(seed: 1)
    _ = try world.addServer()
    world.names = ["turn.example.com": [try address("203.0.113.1", 1).ip]]
    world.update([
      try GathererWorld.server([
        "turn:turn.example.com", "turns:Turn.Example.com:3478", "stun:turn.example.com:443",
      ])
    ])
    for owner in 1...3 { world.gatherer.requestRelay(for: owner, at: world.now) }
    world.run(for: .seconds(5))
    #expect(world.resolves == ["turn.example.com"])
    #expect(world.opened.allSatisfy { $0.wanted.hostName == "turn.example.com" })
    #expect(world.relays(of: 1).map(\.at) == [Instant.zero + .milliseconds(40 + 80)])
    #expect(world.relays(of: 3).count == 1)
  }

  @Test("Addresses of a name are tried 250 ms apart, families in turn; one that is refused makes way at once")
  func happyEyeballs() throws {
    let (v4, v6) = (try address("203.0.113.1", 3478), try address("2001:db8::99", 3478))
    let other = try address("203.0.113.99", 3478)
    var world = try GathererWorld(seed: 2)
    _ = try world.addServer()
    world.names = ["turn.example.com": [v6.ip, other.ip, v4.ip, v6.ip]]
    world.update([try GathererWorld.server(["turn:turn.example.com?transport=udp"])])
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(5))
    #expect(world.opened.map(\.wanted.server) == [v6, other, v4])
    let start = Instant.zero + .milliseconds(40)
    #expect(world.opened.map { $0.openedAt - start } == [.zero, .milliseconds(250), .milliseconds(500)])
    #expect(world.relays(of: 1).map(\.at) == [start + .milliseconds(580)])
    #expect(world.openConnectionCount == 1)

    // What worked is what is tried the next time.
    world.gatherer.requestRelay(for: 2, at: world.now)
    world.run(for: .milliseconds(200))
    #expect(world.opened.map(\.wanted.server).dropFirst(3) == [v4])
  }

  @Test("Addresses of a family that no socket has are not tried")
  func unreachableFamily() throws {
    var world = try GathererWorld(seed: 3)
    _ = try world.addServer()
    world.gatherer.addSocket(LocalSocket(id: 1, address: try address("192.168.1.5", 5000)), at: world.now)
    world.names = ["turn.example.com": [try address("2001:db8::99", 1).ip, try address("203.0.113.1", 1).ip]]
    world.update([try GathererWorld.server(["turn:turn.example.com"])])
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(5))
    #expect(world.opened.map(\.wanted.server) == [try address("203.0.113.1", 3478)])
  }

  @Test("A name that a proxy alone can resolve is left to the proxy, over streams only")
  func nameForProxy() throws {
    var world = try GathererWorld(seed: 4)
    world.names = ["turn.example.com": [try address("0.0.0.0", 1).ip]]
    world.update([
      try GathererWorld.server([
        "turn:turn.example.com", "turns:turn.example.com?transport=udp", "turns:turn.example.com:443",
      ])
    ])
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(1))
    #expect(world.opened.map(\.wanted.transport) == [.tls])
    #expect(world.opened.map(\.wanted.server) == [try address("0.0.0.0", 443)])
  }

  @Test(
    "A name that does not resolve is told once, asked for again less and less often, and used once it does")
  func nameFails() throws {
    var world = try GathererWorld(seed: 5)
    _ = try world.addServer()
    world.gatherer.addSocket(LocalSocket(id: 1, address: try address("192.168.1.5", 5000)), at: world.now)
    let urls = ["turn:turn.example.com", "stun:stun.example.com"]
    world.update([try GathererWorld.server(urls, seconds: 10_000)])
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(600))
    #expect(world.failures == ["turn:turn.example.com:3478?transport=udp", "stun:stun.example.com:3478"])
    #expect((20...60).contains(world.resolves.count))
    #expect(world.completed(1) == Instant.zero + .milliseconds(40))
    world.names = [
      "turn.example.com": [try address("203.0.113.1", 1).ip],
      "stun.example.com": [try address("203.0.113.1", 1).ip],
    ]
    world.run(for: .seconds(100))
    #expect(world.relays(of: 1).count == 1)
    #expect(world.count { if case .serverReflexive = $0 { true } else { false } } == 1)
  }

  @Test("A resolver that never answers is as one that could not")
  func resolverHangs() throws {
    var gatherer = CandidateGatherer(random: RandomSource(seed: 6))
    gatherer.update(servers: [try GathererWorld.server(["turn:turn.example.com"])], at: .zero)
    gatherer.requestRelay(for: 1, at: .zero)
    let action = gatherer.pollAction()
    #expect(action == .resolve(host: "turn.example.com"))
    var events: [CandidateGatherer.Event] = []
    gatherer.handleTimeout(at: .zero + .seconds(10))
    while let event = gatherer.pollEvent() { events.append(event) }
    #expect(events.contains(.gatheringComplete(owner: 1)))
    #expect(events.count == 2)
    // Its late answer is not waited for.
    gatherer.resolved(host: "turn.example.com", to: [], at: .zero + .seconds(11))
    gatherer.resolved(host: "other.example.com", to: [], at: .zero + .seconds(11))
    let late = gatherer.pollEvent()
    #expect(late == nil)
  }

  @Test(
    "What cannot be used is named once: no credentials, STUN over TLS, more than five servers or eight URLs")
  func unusable() throws {
    var world = try GathererWorld(seed: 7) { $0.relaySpareCount = 1 }
    let urls = try (0..<9).map { try ICEServerURL(parsing: "turn:203.0.113.1:\(5000 + $0)") }
    let credentials = try GathererWorld.server([])
    var servers = [ICEServer(urls: urls, username: credentials.username, credential: credentials.credential)]
    servers.append(ICEServer(urls: [try ICEServerURL(parsing: "turn:203.0.113.2")]))
    servers.append(ICEServer(urls: [try ICEServerURL(parsing: "stuns:203.0.113.3")]))
    servers.append(
      ICEServer(
        urls: [try ICEServerURL(parsing: "turn:203.0.113.4")], username: String(repeating: "u", count: 509),
        credential: Secret("x")))
    servers.append(ICEServer(urls: urls))
    servers.append(try GathererWorld.server(["turn:203.0.113.5"]))
    for _ in 0..<2 {
      world.update(servers)
      world.run(for: .milliseconds(10))
    }
    #expect(
      world.failures == [
        "turn:203.0.113.1:5008?transport=udp", "turn:203.0.113.2:3478?transport=udp",
        "stuns:203.0.113.3:5349", "turn:203.0.113.4:3478?transport=udp",
        "turn:203.0.113.5:3478?transport=udp",
      ])
    #expect(world.opened.count == 8)
  }

  @Test("Servers that come while a round runs take part in it")
  func serversInMidRound() throws {
    var world = try GathererWorld(seed: 10)
    _ = try world.addServer()
    world.update([try GathererWorld.server(["turn:203.0.113.77"])])
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(1))
    world.update([try GathererWorld.server(["turn:203.0.113.1"])])
    world.run(for: .seconds(1))
    #expect(world.relays(of: 1).map(\.at) == [Instant.zero + .milliseconds(1080)])
    #expect(world.openConnectionCount == 1)
  }

  @Test("Nobody's secrets are in what a gatherer or its parts print")
  func secrets() throws {
    let server = try GathererWorld.server(["turn:203.0.113.1"])
    let password = try #require(server.credential).unredacted
    #expect(!"\(server)".contains(password))
    var dumped = ""
    dump(server, to: &dumped)
    #expect(!dumped.contains(password))
  }

  @Test(
    "Another server that a server names is asked once, and not where its address means something else to us")
  func tryAlternate() throws {
    let (second, third) = (try address("203.0.113.2", 3478), try address("203.0.113.3", 3478))
    for alternate in [second, try address("127.0.0.1", 3478), try address("203.0.113.2", 0)] {
      var world = try GathererWorld(seed: 8)
      _ = try world.addServer()
      _ = try world.addServer("203.0.113.2")
      world.update([try GathererWorld.server(["turn:203.0.113.1"])])
      world.gatherer.requestRelay(for: 1, at: world.now)
      world.run(for: .milliseconds(30))
      let id = try #require(world.opened.first).wanted.id
      world.deliver(try redirect(try #require(world.sentToServers.first).bytes, to: alternate), on: id)
      let isFollowed = alternate == second
      world.run(for: .milliseconds(5))
      #expect(world.opened.map(\.wanted.server).dropFirst() == (isFollowed ? [second] : []))
      guard isFollowed else { continue }
      let other = try #require(world.opened.last).wanted.id
      let request = try #require(world.sentToServers.last { $0.connection == other }).bytes
      world.deliver(try redirect(request, to: third), on: other)
      world.run(for: .milliseconds(100))
      #expect(!world.opened.contains { $0.wanted.server == third })

      // Followed and served, it is the way for later allocations.
      var served = try GathererWorld(seed: 8)
      _ = try served.addServer()
      _ = try served.addServer("203.0.113.2")
      served.update([try GathererWorld.server(["turn:203.0.113.1"])])
      served.gatherer.requestRelay(for: 1, at: served.now)
      served.run(for: .milliseconds(30))
      served.deliver(try redirect(try #require(served.sentToServers.first).bytes, to: second), on: id)
      served.run(for: .seconds(1))
      #expect(served.relays(of: 1).map(\.socket.address.ip) == [second.ip])
    }
  }

  private func redirect(_ request: [UInt8], to alternate: TransportAddress) throws -> [UInt8] {
    let id = try STUNMessage(parsing: request.rawSpan).transactionID
    var answer = STUNMessageBuilder(.errorResponse, .allocate, transactionID: id)
    answer.append(STUNErrorCode.tryAlternate)
    answer.append(
      .alternateServer,
      [UInt8](writing: 8) { writer in
        writer.write(0 as UInt8)
        writer.write(1 as UInt8)
        writer.write(alternate.port)
        writer.write(alternate.ip.ipv4Bits)
      })
    return answer.bytes
  }
}
