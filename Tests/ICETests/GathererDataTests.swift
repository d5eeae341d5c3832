// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

@Suite("Data over a gatherer's relays, RFC 8656 §9, §11, §12")
struct GathererDataTests {
  /// The beginning of a DTLS record.
  private let record: [UInt8] = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 9]

  /// A connectivity check, as far as the relay is concerned.
  private func check(_ number: UInt64) -> [UInt8] {
    STUNMessageBuilder(.request, transactionID: STUNTransactionID(prefix: 9, suffix: number)).bytes
  }

  private func world(seed: UInt64, url: String = "turn:203.0.113.1", owners: Int = 1) throws -> GathererWorld
  {
    var world = try GathererWorld(seed: seed)
    _ = try world.addServer()
    world.update([try GathererWorld.server([url])])
    for owner in 0..<owners { world.gatherer.requestRelay(for: owner, at: world.now) }
    world.run(for: .seconds(2))
    return world
  }

  @Test("A peer costs one round trip to the server once; a channel costs none, and comes when DTLS begins")
  func roundTrips() throws {
    var world = try world(seed: 1)
    let relay = try #require(world.relays(of: 0).first).socket
    let peer = try address("198.51.100.7", 5000)
    let start = world.now
    let first = world.send(check(1), to: peer, via: relay)
    #expect(first == nil)
    world.run(for: .milliseconds(100))
    #expect(world.peersReceived.map(\.payload) == [check(1)])
    #expect(world.peersReceived.map(\.peer) == [peer])
    #expect(world.peersReceived.map(\.at) == [start + .milliseconds(60)], "a round trip and the way itself")
    let second = world.send(check(2), to: peer, via: relay)
    #expect(second?.count == 20 + 12 + 4 + 20)
    // Other ports of the address need nothing more.
    let otherPort = world.send(check(3), to: try address("198.51.100.7", 6000), via: relay)
    #expect(otherPort != nil)

    let hello = world.send(record, to: peer, via: relay)
    #expect(hello?.count == 20 + 12 + 4 + 16)
    world.run(for: .milliseconds(39))
    let early = world.send(record, to: peer, via: relay)
    #expect(early?.count == 52)
    world.run(for: .milliseconds(1))
    let framed = world.send(record, to: peer, via: relay)
    #expect(framed == [0x40, 0, 0, 14] + record)
    world.run(for: .milliseconds(100))
    #expect(world.peersReceived.map(\.payload).suffix(3) == [record, record, record])
    let methods = world.sentToServers.compactMap { try? STUNMessage(parsing: $0.bytes.rawSpan).method }
    #expect(methods.filter { $0 == .createPermission }.count == 1)
    #expect(methods.filter { $0 == .channelBind }.count == 1)

    world.sendFromPeer([1, 2, 3], peer, to: relay.address)
    world.sendFromPeer([4], try address("198.51.100.7", 6000), to: relay.address)
    world.run(for: .milliseconds(100))
    #expect(world.received.map(\.payload) == [[1, 2, 3], [4]])
    #expect(world.received.map(\.owner) == [0, 0])
    #expect(world.received.map(\.relay) == [relay.id, relay.id])
    #expect(world.received.map(\.peer.port) == [5000, 6000])
  }

  @Test("Over a stream ChannelData is padded with zeros")
  func streamPadding() throws {
    var world = try world(seed: 2, url: "turns:203.0.113.1:3478")
    let relay = try #require(world.relays(of: 0).first).socket
    let peer = try address("198.51.100.7", 5000)
    world.send(record, to: peer, via: relay)
    world.run(for: .seconds(1))
    let frame = world.send([200, 1, 1, 1, 1], to: peer, via: relay)
    #expect(frame == [0x40, 0, 0, 5, 200, 1, 1, 1, 1, 0, 0, 0])
    world.run(for: .seconds(1))
    #expect(world.peersReceived.map(\.payload) == [record, [200, 1, 1, 1, 1]])
  }

  @Test("Four datagrams and 6 KB wait for a peer's permission, the rest is dropped and counted")
  func holds() throws {
    var world = try world(seed: 3)
    let relay = try #require(world.relays(of: 0).first).socket
    let peer = try address("198.51.100.7", 5000)
    for number in 0..<6 { world.send(check(UInt64(number)), to: peer, via: relay) }
    let large = [UInt8](repeating: 23, count: 1500)
    let other = try address("198.51.100.8", 5000)
    for _ in 0..<5 { world.send(large, to: other, via: relay) }
    world.send([UInt8](repeating: 23, count: 1501), to: other, via: relay)
    world.run(for: .seconds(1))
    #expect(world.peersReceived.filter { $0.peer == peer }.map(\.payload) == (0..<4).map { check($0) })
    #expect(
      world.peersReceived.filter { $0.peer == other }.map(\.payload) == Array(repeating: large, count: 4))
    let (overflow, oversized) = (world.gatherer.drops[.heldOverflow], world.gatherer.drops[.oversized])
    #expect(overflow == 3)
    #expect(oversized == 1)
    // All peers together have a bound as well.
    for index in 0..<90 {
      for _ in 0..<4 { world.send(large, to: try address("192.0.2.\(index)", 5000), via: relay) }
    }
    world.run(for: .seconds(1))
    #expect(world.peersReceived.count == 8 + 65_536 / 1500)
  }

  @Test("A peer that the server refuses is not asked for again, and costs nobody else anything")
  func refusedPeer() throws {
    var world = try world(seed: 4)
    let relay = try #require(world.relays(of: 0).first).socket
    let inner = try address("10.0.0.1", 5000)
    for _ in 0..<2 { world.send(check(1), to: inner, via: relay) }
    world.run(for: .seconds(1))
    let requests = world.sentToServers.count
    for _ in 0..<50 { world.send(check(1), to: inner, via: relay) }
    world.run(for: .seconds(1))
    #expect(world.sentToServers.count == requests)
    let dropped = world.gatherer.drops[.refusedPeer]
    #expect(dropped == 52)
    world.send(check(2), to: try address("198.51.100.7", 5000), via: relay)
    world.run(for: .seconds(1))
    #expect(world.peersReceived.map(\.payload) == [check(2)])
    // A policy may change in the time that a permission lives.
    world.run(for: .seconds(300))
    let before = world.sentToServers.count
    world.send(check(1), to: inner, via: relay)
    world.run(for: .seconds(1))
    #expect(world.sentToServers.count == before + 1)
  }

  @Test("What no relay can send to is dropped, and more peers than a relay may have are")
  func unsendable() throws {
    var world = try world(seed: 5)
    let relay = try #require(world.relays(of: 0).first).socket
    let requests = world.sentToServers.count
    for (ip, port) in [
      ("2001:db8::1", 5), ("198.51.100.7", 0), ("0.0.0.0", 5), ("224.0.0.1", 5), ("255.255.255.255", 5),
      ("::ffff:198.51.100.7", 5),
    ] as [(String, UInt16)] {
      world.send(check(1), to: try address(ip, port), via: relay)
    }
    world.run(for: .seconds(1))
    #expect(world.sentToServers.count == requests)
    let unsendable = world.gatherer.drops[.unsendablePeer]
    #expect(unsendable == 6)
    for index in 0..<300 {
      let peer = TransportAddress(ip: IPAddress(ipv4: 0xc633_6400 + UInt32(index)), port: 5)
      world.send(record, to: peer, via: relay)
    }
    let tooMany = world.gatherer.drops[.tooManyPeers]
    #expect(tooMany == 200)
    world.send(check(1), to: try address("198.51.100.7", 5), via: LocalSocket(id: 5, address: relay.address))
    let unknown = world.gatherer.drops[.unknownRelay]
    #expect(unknown == 1)
    world.run(for: .seconds(100))
  }

  @Test("Two of our own relays reach each other through their server, where nothing else is reached")
  func hairpin() throws {
    var world = try world(seed: 6, owners: 2)
    let relays = (0..<2).flatMap { world.relays(of: $0).map(\.socket) }
    let (one, two) = (relays[0], relays[1])
    world.send(check(1), to: two.address, via: one)
    world.send(check(2), to: one.address, via: two)
    world.run(for: .seconds(1))
    #expect(world.peersReceived.map(\.peer) == [two.address, one.address])
    for forwarded in world.peersReceived {
      world.sendFromPeer(forwarded.payload, forwarded.from, to: forwarded.peer)
    }
    world.run(for: .seconds(1))
    #expect(world.received.map(\.owner) == [1, 0])
    #expect(world.received.map(\.payload) == [check(1), check(2)])
  }

  @Test("A channel lives for hours with its peer, through nonces that go stale and a server that forgets")
  func longCall() throws {
    var world = try world(seed: 7)
    let relay = try #require(world.relays(of: 0).first).socket
    let peer = try address("198.51.100.7", 5000)
    world.send(record, to: peer, via: relay)
    world.run(for: .seconds(7200))
    let frame = world.send(record, to: peer, via: relay)
    #expect(frame?.count == 18)
    let isAllocated = world.count { if case .relayLost = $0 { true } else { false } } == 0
    #expect(isAllocated)
  }

  @Test("A relay that was released or lost takes nothing more, and gives nothing")
  func afterRelease() throws {
    var world = try world(seed: 8, owners: 2)
    let relays = (0..<2).flatMap { world.relays(of: $0).map(\.socket) }
    let (one, two) = (relays[0], relays[1])
    let peer = try address("198.51.100.7", 5000)
    for relay in relays { world.send(record, to: peer, via: relay) }
    world.run(for: .seconds(1))
    world.gatherer.releaseRelays(of: 0, at: world.now)
    let frame = world.send(record, to: peer, via: one)
    #expect(frame == nil)
    let id = try #require(world.opened.first { $0.wanted.id.rawValue == 1 }).wanted.id
    world.deliver([0x40, 0, 0, 1, 9], on: id)
    world.run(for: .seconds(1))
    world.lose(try #require(world.connections.keys.first))
    let other = world.send(record, to: peer, via: two)
    #expect(other == nil)
    world.run(for: .seconds(1))
    #expect(world.received.isEmpty)
  }

  @Test("What is forged, damaged or late on a server's connection has no effect")
  func forgedFrames() throws {
    var world = try world(seed: 9)
    let relay = try #require(world.relays(of: 0).first).socket
    let peer = try address("198.51.100.7", 5000)
    world.send(record, to: peer, via: relay)
    world.run(for: .seconds(1))
    let id = try #require(world.connections.keys.first)
    var forged: [[UInt8]] = [
      [], [0x40], [0x40, 0, 0, 9, 1], [0x4f, 0xff, 0, 1, 1], [0x50, 0, 0, 0], [255],
    ]
    for method in [STUNMethod.allocate, .refresh, .createPermission, .channelBind, .binding] {
      for messageClass in [STUNMessageClass.successResponse, .errorResponse, .request, .indication] {
        var builder = STUNMessageBuilder(
          messageClass, method, transactionID: STUNTransactionID(prefix: 1, suffix: 2))
        builder.append(.xorRelayedAddress, peer)
        if messageClass == .errorResponse { builder.append(STUNErrorCode.allocationMismatch) }
        builder.appendFingerprint()
        forged.append(builder.bytes)
        for count in stride(from: 0, to: builder.bytes.count, by: 3) {
          forged.append(Array(builder.bytes[..<count]))
        }
      }
    }
    var stranger = STUNMessageBuilder(
      .indication, .data, transactionID: STUNTransactionID(prefix: 1, suffix: 2))
    stranger.append(.xorPeerAddress, try address("192.0.2.9", 9))
    stranger.append(.data, [1, 2, 3])
    forged.append(stranger.bytes)
    let events = world.events.count
    for bytes in forged { world.deliver(bytes, on: id) }
    let unknown =
      world.gatherer.receive(record.rawSpan, on: ServerConnectionID(rawValue: 99), at: world.now) == nil
    #expect(unknown)
    world.run(for: .seconds(1))
    #expect(world.events.count == events)
    #expect(world.received.isEmpty)
    let frame = world.send(record, to: peer, via: relay)
    #expect(frame?.count == 18)
  }

  @Test(
    "Random frames, answers and calls in any order leave the gatherer's tables bounded and its end clean",
    arguments: Array(1...20).map(UInt64.init))
  func chaos(seed: UInt64) throws {
    var world = try GathererWorld(seed: seed) { $0.relaySpareCount = 2 }
    _ = try world.addServer()
    _ = try world.addServer("203.0.113.2")
    var random = RandomSource(seed: seed)
    world.names = ["turn.example.com": [world.servers[1].address.ip]]
    world.lossPercent = 10
    for step in 0..<300 {
      let owner = Int.random(in: 0..<4, using: &random)
      switch Int.random(in: 0..<10, using: &random) {
      case 0:
        let urls = [GathererWorld.allTransports, ["turn:turn.example.com", "stun:203.0.113.1"], []]
        world.update([try GathererWorld.server(urls[step % 3], seconds: Int64(step) + 600)])
      case 1: world.gatherer.requestRelay(for: owner, at: world.now)
      case 2: world.gatherer.releaseRelays(of: owner, at: world.now)
      case 3: if let id = world.opened.randomElement(using: &random)?.wanted.id { world.lose(id) }
      case 4: world.servers[step % 2].restart()
      case 5: world.gatherer.verifyRelays(of: owner, at: world.now)
      case 6:
        let socket = LocalSocket(id: UInt32(owner), address: try address("192.168.1.\(owner)", 5000))
        world.gatherer.addSocket(socket, at: world.now)
      case 7: world.gatherer.removeSocket(id: UInt32(owner), at: world.now)
      case 8:
        if let id = world.connections.keys.min(by: { $0.rawValue < $1.rawValue }) {
          world.deliver(random.bytes(Int.random(in: 0..<60, using: &random)), on: id)
        }
      default:
        if let relay = world.relays(of: owner).last?.socket {
          let peer = TransportAddress(ip: IPAddress(ipv4: 0xc633_6407), port: 5)
          world.send(record, to: peer, via: relay)
        }
      }
      world.run(for: .milliseconds(Int64.random(in: 0..<2000, using: &random)))
      #expect(world.openConnectionCount <= 40, "seed \(seed)")
    }
    world.lossPercent = 0
    world.gatherer.shutdown(at: world.now)
    world.run(for: .seconds(10))
    let isShutDown = world.gatherer.isShutDown
    #expect(isShutDown, "seed \(seed)")
    #expect(world.openConnectionCount == 0, "seed \(seed)")
  }
}
