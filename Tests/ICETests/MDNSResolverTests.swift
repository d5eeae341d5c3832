// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import ICE

/// A resolver in virtual time, and what it asked and answered.
private struct ResolverWorld: ~Copyable {
  var resolver = MDNSResolver()
  var now = Instant.zero
  /// Questions sent, with the time since the start.
  var sent: [(milliseconds: Double, question: DNSQuestion)] = []
  var answers: [MDNSResolver.Answer] = []
  let responder = TransportAddress(ip: IPAddress(ipv4: 0xc000_0263), port: 5353)

  mutating func resolve(_ name: String, for owner: Int = 0) {
    resolver.resolve(name, for: owner, at: now)
    drain()
  }

  mutating func drain() {
    while true {
      var hasQuery = false
      let bytes = [UInt8](writing: 512) { hasQuery = resolver.pollQuery(into: &$0) }
      guard hasQuery else { break }
      guard let message = try? DNSMessageTests.parse(bytes), message.questions.count == 1 else {
        Issue.record("a query has one question: \(bytes)")
        continue
      }
      sent.append(((now - .zero).inMilliseconds, message.questions[0]))
    }
    while let answer = resolver.pollAnswer() { answers.append(answer) }
  }

  /// Lets time pass, up to and with this moment.
  mutating func run(to milliseconds: Int64) {
    let end = Instant.zero + .milliseconds(milliseconds)
    while let deadline = resolver.nextDeadline, deadline <= end {
      now = max(now, deadline)
      resolver.handleTimeout(at: now)
      drain()
    }
    now = end
  }

  mutating func respond(
    _ records: [(name: String, address: String)], timeToLive: UInt32 = 120, flushes: Bool = true,
    from remote: TransportAddress? = nil
  ) {
    let message = DNSMessage(
      isResponse: true,
      records: records.compactMap { record in
        guard let name = DNSName(record.name), let address = IPAddress(record.address) else { return nil }
        return DNSAddressRecord(
          name: name, address: address, timeToLiveSeconds: timeToLive, flushesCache: flushes)
      })
    receive([UInt8](writing: message.byteCount) { message.write(into: &$0) }, from: remote)
  }

  mutating func receive(_ bytes: [UInt8], from remote: TransportAddress? = nil) {
    resolver.receive(bytes.rawSpan, from: remote ?? responder, at: now)
    drain()
  }

  var addresses: [[String]] { answers.map { $0.addresses.map(\.description) } }
}

@Suite("Resolving .local names, RFC 6762; draft-ietf-mmusic-mdns-ice-candidates")
struct MDNSResolverTests {
  @Test("both families are asked for, one question a message, four times within 2 s; after 3 s it is over")
  func schedule() {
    var world = ResolverWorld()
    world.resolve("a.local")
    world.run(to: 10_000)
    let (sent, answers, isIdle) = (world.sent, world.answers, world.resolver.isIdle)
    #expect(sent.map(\.milliseconds) == [0, 0, 250, 250, 1000, 1000, 2000, 2000])
    #expect(sent.map(\.question.family) == (0..<4).flatMap { _ in [IPAddress.Family.ipv4, .ipv6] })
    // Chromium ignores questions that ask for unicast.
    #expect(sent.allSatisfy { !$0.question.wantsUnicast && $0.question.name == DNSName("a.local") })
    #expect(answers == [.init(name: "a.local", owner: 0, addresses: [])])
    #expect(isIdle)
  }

  @Test("a driver that wakes late asks once, not once for each time it missed")
  func lateWakeUp() {
    var world = ResolverWorld()
    world.resolve("a.local")
    world.now = .zero + .milliseconds(1500)
    world.resolver.handleTimeout(at: world.now)
    world.drain()
    let (count, deadline) = (world.sent.count, world.resolver.nextDeadline)
    #expect(count == 4)
    #expect(deadline == .zero + .seconds(2))
  }

  @Test("the first answer is handed out at once, in whatever case, and nothing is asked any more")
  func answered() {
    var world = ResolverWorld()
    world.resolve("Abc-1.local")
    world.run(to: 7)
    let isIdleBefore = world.resolver.isIdle
    world.respond([("aBC-1.LOCAL", "192.0.2.7"), ("aBC-1.LOCAL", "2001:db8::7")])
    world.run(to: 5000)
    let (sent, answers, isIdle) = (world.sent.count, world.answers, world.resolver.isIdle)
    #expect(!isIdleBefore)
    #expect(sent == 2)
    #expect(answers.map(\.name) == ["Abc-1.local"])
    #expect(answers.map { $0.addresses.map(\.description) } == [["192.0.2.7", "2001:db8::7"]])
    #expect(isIdle)
  }

  @Test("connections that ask for the same name share its questions, and each gets an answer")
  func shared() {
    var world = ResolverWorld()
    for owner in [3, 1, 2, 1] { world.resolve("a.local", for: owner) }
    world.respond([("a.local", "192.0.2.7")])
    world.resolve("a.local", for: 9)
    let (sent, answers) = (world.sent.count, world.answers)
    #expect(sent == 2)
    #expect(answers.map(\.owner) == [3, 1, 2, 9])
    #expect(answers.allSatisfy { $0.addresses.map(\.description) == ["192.0.2.7"] })
  }

  @Test("an address is remembered for its lifetime, 120 s at most, and then asked for again")
  func cache() {
    var world = ResolverWorld()
    world.resolve("short.local")
    world.resolve("long.local")
    world.respond([("short.local", "192.0.2.7")], timeToLive: 10)
    world.respond([("long.local", "192.0.2.8")], timeToLive: 1_000_000)
    world.run(to: 9_999)
    world.resolve("short.local")
    world.run(to: 10_000)
    world.resolve("short.local")
    world.run(to: 119_999)
    world.resolve("long.local")
    world.run(to: 120_000)
    world.resolve("long.local")
    let (addresses, times) = (world.addresses, world.sent.map(\.milliseconds))
    #expect(addresses == [["192.0.2.7"], ["192.0.2.8"], ["192.0.2.7"], [], ["192.0.2.8"]])
    #expect(times.prefix(5) == [0, 0, 0, 0, 10_000])
    #expect(times.last == 120_000)
  }

  @Test("later answers add to what is known, replace it, or take it back")
  func update() {
    var world = ResolverWorld()
    func known() -> [String] {
      world.resolve("a.local")
      return world.addresses.last ?? []
    }
    world.resolve("a.local")
    world.respond([("a.local", "192.0.2.7")], flushes: false)
    world.respond([("a.local", "192.0.2.8")], flushes: false)
    #expect(known() == ["192.0.2.7", "192.0.2.8"])
    world.respond([("a.local", "2001:db8::7")])
    #expect(known() == ["192.0.2.7", "192.0.2.8", "2001:db8::7"])
    world.respond([("a.local", "192.0.2.9")])
    #expect(known() == ["2001:db8::7", "192.0.2.9"])
    world.respond([("a.local", "192.0.2.9")], timeToLive: 0, flushes: false)
    #expect(known() == ["2001:db8::7"])
    world.respond([("a.local", "2001:db8::7")], timeToLive: 0)
    let sent = world.sent.count
    world.resolve("a.local")
    #expect(world.sent.count == sent + 2)
  }

  @Test("answers from another port, for other names, queries and rubbish have no effect")
  func notAccepted() {
    var world = ResolverWorld()
    world.resolve("a.local")
    world.respond(
      [("a.local", "192.0.2.66")], from: TransportAddress(ip: world.responder.ip, port: 5354))
    world.respond([("b.local", "192.0.2.66"), ("a.local.local", "192.0.2.66")])
    world.receive([1, 2, 3])
    var query = DNSMessageTests.response
    query[2] = 0
    world.receive(query)
    let (drops, answers) = (world.resolver.drops, world.answers)
    #expect(answers.isEmpty)
    #expect(drops[.otherPort] == 1)
    #expect(drops[.notAsked] == 1)
    #expect(drops[.malformed] == 1)
    #expect(drops.total == 3)
    world.respond([("a.local", "192.0.2.7")])
    let addresses = world.addresses
    #expect(addresses == [["192.0.2.7"]])
    world.respond([("b.local", "192.0.2.66")])
    world.resolve("b.local")
    #expect(world.answers.count == 1)
  }

  @Test("T8 addresses that must not be sent to are not taken, and no more than four of a name")
  func addresses() {
    var world = ResolverWorld()
    world.resolve("a.local")
    let unusable = [
      "0.0.0.0", "224.0.0.251", "255.255.255.255", "::", "ff02::fb", "::ffff:192.0.2.1", "127.0.0.1", "::1",
    ]
    world.respond(unusable.map { ("a.local", $0) })
    let (answers, drops) = (world.answers, world.resolver.drops[.unusableAddress])
    #expect(answers.isEmpty)
    #expect(drops == UInt64(unusable.count))
    world.respond((1...9).map { ("a.local", "192.0.2.\($0)") })
    #expect(world.addresses == [["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]])
    world.resolve("own.local")
    world.respond(
      [("own.local", "127.0.0.1")], from: TransportAddress(ip: IPAddress(ipv4: 0x7f00_0001), port: 5353))
    #expect(world.addresses.last == ["127.0.0.1"])
  }

  @Test(
    "names that a browser would not make up are answered at once and never asked for",
    arguments: [
      "local", "a.b.local", "example.org", "a.localhost", "a.local.example", "", "a b.local", ".local",
      String(repeating: "a", count: 64) + ".local", String(repeating: "a", count: 300) + ".local",
    ])
  func foreignNames(name: String) {
    var world = ResolverWorld()
    world.resolve(name)
    let (sent, answers, isIdle) = (world.sent.count, world.answers, world.resolver.isIdle)
    #expect(sent == 0)
    #expect(answers == [.init(name: name, owner: 0, addresses: [])])
    #expect(isIdle)
  }

  @Test("T8 a peer with a thousand names makes us ask for eight, and others get theirs")
  func flood() {
    var world = ResolverWorld()
    for number in 0..<1000 { world.resolve("x\(number).local", for: 1) }
    world.resolve("a.local", for: 2)
    let (sent, refused) = (world.sent.count, world.answers.count)
    #expect(sent == 2 * (MDNSResolver.openNamesPerOwnerMax + 1))
    #expect(refused == 1000 - MDNSResolver.openNamesPerOwnerMax)
    world.respond([("a.local", "192.0.2.7")])
    #expect(world.answers.last == .init(name: "a.local", owner: 2, addresses: [IPAddress(ipv4: 0xc000_0207)]))
  }

  @Test("T8 the table is bounded over all peers; known names give way, names in question do not")
  func tableBound() {
    var world = ResolverWorld()
    for number in 0..<MDNSResolver.namesMax { world.resolve("x\(number).local", for: number) }
    world.resolve("one-more.local", for: 1000)
    #expect(world.answers == [.init(name: "one-more.local", owner: 1000, addresses: [])])
    world.respond([("x5.local", "192.0.2.7")])
    world.resolve("one-more.local", for: 1000)
    #expect(world.answers.count == 2)
    world.respond([("one-more.local", "192.0.2.8")])
    #expect(world.addresses.last == ["192.0.2.8"])
    var crowd = ResolverWorld()
    for owner in 0...MDNSResolver.ownersPerNameMax { crowd.resolve("a.local", for: owner) }
    let answers = crowd.answers
    #expect(answers == [.init(name: "a.local", owner: MDNSResolver.ownersPerNameMax, addresses: [])])
  }

  @Test("a connection that leaves is forgotten, and its name with it unless another one asks")
  func cancel() {
    var world = ResolverWorld()
    world.resolve("a.local", for: 1)
    world.resolve("a.local", for: 2)
    world.resolve("b.local", for: 1)
    world.resolver.cancel(owner: 1)
    world.respond([("a.local", "192.0.2.7"), ("b.local", "192.0.2.8")])
    #expect(world.answers.map(\.owner) == [2])
    world.resolve("c.local", for: 3)
    world.resolver.cancel(owner: 3)
    let (isIdle, deadline) = (world.resolver.isIdle, world.resolver.nextDeadline)
    #expect(isIdle)
    #expect(deadline == nil)
  }

  @Test("T8 damaged answers never trap, and only the address asked for comes out", arguments: 0..<10)
  func damaged(seed: UInt64) {
    var random = RandomSource(seed: seed)
    for _ in 0..<200 {
      var world = ResolverWorld()
      world.resolve(DNSMessageTests.name)
      var bytes = DNSMessageTests.response
      bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      world.receive(bytes)
      #expect(world.answers.allSatisfy { $0.addresses.count == 1 }, "seed \(seed), \(bytes)")
    }
  }
}
