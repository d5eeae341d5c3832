// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

@Suite("A gatherer's server-reflexive addresses, RFC 8445 §5.1.1.2")
struct GathererReflexiveTests {
  private let stun = "stun:203.0.113.1"

  private func world(seed: UInt64, sockets: Int = 1) throws -> GathererWorld {
    var world = try GathererWorld(seed: seed)
    _ = try world.addServer()
    for index in 0..<sockets { world.gatherer.addSocket(try socket(index), at: world.now) }
    return world
  }

  private func socket(_ index: Int) throws -> LocalSocket {
    LocalSocket(id: UInt32(index), address: try address("192.168.1.\(5 + index)", 5000 + UInt16(index)))
  }

  private func mapped(_ world: borrowing GathererWorld) -> [(
    base: LocalSocket, mapped: TransportAddress, at: Instant
  )] {
    world.events.compactMap { at, event in
      guard case .serverReflexive(let base, let mapped) = event else { return nil }
      return (base, mapped, at)
    }
  }

  @Test(
    "Each shared socket learns its address in one round trip, from STUN servers and TURN servers over UDP")
  func learns() throws {
    for url in ["stun:203.0.113.1", "turn:203.0.113.1?transport=udp"] {
      var world = try world(seed: 1, sockets: 2)
      world.update([try GathererWorld.server([url])])
      world.gatherer.requestRelay(for: 1, at: world.now)
      world.run(for: .seconds(1))
      let found = mapped(world)
      #expect(found.map(\.base) == [try socket(0), try socket(1)])
      #expect(found.map(\.mapped) == [try address("203.0.113.10", 6000), try address("203.0.113.10", 6001)])
      #expect(found.map { $0.at - Instant.zero } == [.milliseconds(40), .milliseconds(45)])
      #expect(world.completed(1) == (url == stun ? found[1].at : Instant.zero + .milliseconds(80)))
    }
  }

  @Test("A socket that looks the same from outside has nothing to tell")
  func noNAT() throws {
    var world = try world(seed: 2)
    world.portShift = 0
    world.update([try GathererWorld.server([stun])])
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(100))
    #expect(world.events.map(\.event) == [.gatheringComplete(owner: 1)])
    // The mapping of a firewall is kept open all the same.
    #expect(world.sentOnSockets.count == 7)
  }

  @Test("Of several servers one keeps the mapping alive; when it falls silent another takes over")
  func keepAlive() throws {
    var world = try world(seed: 3)
    let second = try world.addServer("203.0.113.2")
    let first = world.servers[0]
    world.update([try GathererWorld.server([stun, "stun:203.0.113.2"])])
    world.run(for: .seconds(150))
    #expect(mapped(world).count == 1)
    func asked(_ server: GathererWorld.Server, since: Instant) -> [Instant] {
      world.sentOnSockets.filter { $0.route.remote == server.address && $0.at > since }.map(\.at)
    }
    #expect(asked(first, since: Instant.zero - .seconds(1)).count == 10)
    #expect(asked(second, since: Instant.zero - .seconds(1)).count == 1)
    first.isDead = true
    let start = world.now
    world.run(for: .seconds(600))
    let times = asked(second, since: start)
    #expect(times.first.map { $0 - start <= .seconds(55) } == true)
    #expect(zip(times.dropFirst(), times).allSatisfy { $0 - $1 <= .seconds(16) })
    #expect(world.failures == ["stun:203.0.113.1:3478"])
  }

  @Test(
    "When the NAT gives another address it is told within a keep-alive, and so is the old one if it comes back"
  )
  func mappingChanges() throws {
    var world = try world(seed: 4)
    _ = try world.addServer("203.0.113.2")
    world.update([try GathererWorld.server([stun, "stun:203.0.113.2"])])
    world.run(for: .seconds(20))
    for (shift, count) in [(2000 as UInt16, 2), (1000, 3)] {
      world.portShift = shift
      let start = world.now
      world.run(for: .seconds(20))
      let found = mapped(world)
      #expect(found.count == count)
      #expect(found.last?.mapped == (try address("203.0.113.10", 5000 + shift)))
      #expect(found.last.map { $0.at - start <= .milliseconds(15_040) } == true)
    }
  }

  @Test("Bindings begin 5 ms apart, after the tenth 50 ms; lost ones are repeated as RFC 8489 says")
  func pacing() throws {
    var world = try world(seed: 5, sockets: 7)
    world.blocked = [.udp]
    _ = try world.addServer("203.0.113.2")
    world.update([try GathererWorld.server([stun, "stun:203.0.113.2"])])
    world.run(for: .milliseconds(400))
    let starts = world.sentOnSockets.map { $0.at - Instant.zero }
    #expect(starts.count == 14)
    let expected =
      (0...10).map { TimeDelta.milliseconds(5 * $0) } + [100, 150, 200].map { .milliseconds($0) }
    #expect(starts == expected)
    world.run(for: .milliseconds(39_400))
    let first = try socket(0)
    let repeats: [Int64] = [0, 500, 1500, 3500, 7500, 15_500, 31_500]
    let sent = world.sentOnSockets.filter {
      $0.route.socket == first && $0.route.remote.ip == world.servers[0].address.ip
    }
    #expect(
      sent.map { $0.at - Instant.zero } == repeats.map { TimeDelta.milliseconds($0) })
    #expect(Set(sent.map(\.bytes)).count == 1)
  }

  @Test("A server that is gone is told once, asked ever less often, and used again when it is back")
  func outage() throws {
    var world = try world(seed: 6, sockets: 3)
    world.servers[0].isDead = true
    world.update([try GathererWorld.server([stun])])
    world.gatherer.requestRelay(for: 1, at: world.now)
    world.run(for: .seconds(3600))
    #expect(world.failures == ["stun:203.0.113.1:3478"])
    #expect(world.completed(1) == Instant.zero + .seconds(10))
    #expect((150...500).contains(world.sentOnSockets.count))
    world.servers[0].isDead = false
    world.run(for: .seconds(500))
    #expect(mapped(world).count == 3)
    world.servers[0].isDead = true
    world.run(for: .seconds(120))
    #expect(world.failures.count == 2)
  }

  @Test(
    "Only the answer of the asked server to the very request is believed, and only if a socket can look like it"
  )
  func forgedAnswers() throws {
    var world = try world(seed: 7)
    world.blocked = [.udp]
    world.update([try GathererWorld.server([stun])])
    world.run(for: .milliseconds(1))
    let request = try #require(world.sentOnSockets.first)
    let id = try STUNMessage(parsing: request.bytes.rawSpan).transactionID
    let route = Route(receivedOn: request.route.socket, from: request.route.remote)
    let elsewhere = Route(receivedOn: route.socket, from: try address("203.0.113.1", 3479))
    let otherSocket = Route(receivedOn: try socket(9), from: route.remote)
    let good = try address("198.51.100.1", 9)
    func answer(
      _ mapped: TransportAddress?, _ id: STUNTransactionID, _ method: STUNMethod = .binding,
      _ messageClass: STUNMessageClass = .successResponse
    ) -> [UInt8] {
      var builder = STUNMessageBuilder(messageClass, method, transactionID: id)
      if let mapped { builder.append(.xorMappedAddress, mapped) }
      builder.appendFingerprint()
      return builder.bytes
    }
    let otherID = STUNTransactionID(prefix: id.prefix, suffix: id.suffix &+ 1)
    let forged: [([UInt8], Route)] = [
      (answer(good, id), elsewhere), (answer(good, id), otherSocket), (answer(good, otherID), route),
      (answer(good, id, .allocate), route), (answer(good, id, .binding, .indication), route),
      (answer(good, id, .binding, .request), route), (answer(nil, id), route),
    ]
    let implausible = try ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "2001:db8::1"].map {
      (answer(try address($0, 9), id), route)
    }
    let portless = [(answer(try address("198.51.100.1", 0), id), route)]
    for (bytes, route) in forged + implausible + portless {
      world.gatherer.receive(bytes.rawSpan, on: route, at: world.now)
    }
    let whole = answer(good, id)
    // A damaged FINGERPRINT counts as none, which is no fault: the last eight bytes stay.
    for count in 0..<(whole.count - 8) {
      world.gatherer.receive(Array(whole[..<count]).rawSpan, on: route, at: world.now)
      var damaged = whole
      damaged[count] ^= 0x55
      world.gatherer.receive(damaged.rawSpan, on: route, at: world.now)
    }
    world.run(for: .milliseconds(1))
    #expect(mapped(world).isEmpty)
    let dropped = world.gatherer.drops.total
    #expect(dropped == UInt64(forged.count + implausible.count + 1 + 2 * (whole.count - 8)))
    for _ in 0..<2 { world.gatherer.receive(whole.rawSpan, on: route, at: world.now) }
    world.run(for: .milliseconds(1))
    #expect(mapped(world).map(\.mapped) == [good])
  }

  @Test("Every request's id begins with the gatherer's prefix")
  func prefix() throws {
    var world = try world(seed: 8, sockets: 2)
    world.update([try GathererWorld.server([stun])])
    world.run(for: .seconds(60))
    let prefix = world.gatherer.transactionPrefix
    #expect(world.sentOnSockets.count == 8)
    #expect(
      world.sentOnSockets.allSatisfy { STUNPeek.kind(of: $0.bytes.rawSpan)?.transactionPrefix == prefix })
  }

  @Test("A socket that is gone is not spoken from; of sockets beyond the limit none is asked for")
  func socketsComeAndGo() throws {
    var world = try world(seed: 9, sockets: 40)
    world.update([try GathererWorld.server([stun])])
    world.run(for: .seconds(5))
    #expect(mapped(world).count == 32)
    for index in 0..<40 { world.gatherer.removeSocket(id: UInt32(index), at: world.now) }
    let count = world.sentOnSockets.count
    world.run(for: .seconds(100))
    #expect(world.sentOnSockets.count == count)
    let deadline = world.gatherer.nextDeadline
    #expect(deadline == nil)
  }
}
