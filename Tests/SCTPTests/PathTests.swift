// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import SCTP

/// Goal: whatever becomes of the path for a while, what is reliable arrives, and soon after the path is back.
/// Method: two associations in virtual time; a filter plays the path.
@Suite("Paths that shrink, vanish and return")
struct PathTests {
  /// Sends numbered messages now and then in both directions; gives how many.
  private static func exchange(
    _ pair: inout SimulatedPair, from first: Int, seconds: Int64, random: inout RandomSource
  ) throws -> Int {
    let end = pair.now + .seconds(seconds)
    var number = first
    while pair.now < end {
      let length = random.next() % 3 == 0 ? 20_000 : Int(random.next() % 300)
      try pair.left.association.send(
        TestMessage.bytes(number, length: length), on: 1, payloadProtocol: binary, at: pair.now)
      try pair.right.association.send(
        TestMessage.bytes(number, length: length), on: 1, payloadProtocol: binary, at: pair.now)
      number += 1
      let until = min(end, pair.now + .milliseconds(Int64(random.next() % 400) + 1))
      pair.drain()
      while pair.step(before: until) {}
      pair.now = until
    }
    return number
  }

  private static func expectAll(_ pair: borrowing SimulatedPair, _ count: Int, seed: UInt64) {
    let (left, right) = (
      pair.left.messages.map { TestMessage.index(of: $0.bytes) },
      pair.right.messages.map { TestMessage.index(of: $0.bytes) }
    )
    #expect(left == Array(0..<count) && right == Array(0..<count), "seed \(seed)")
    let areWhole =
      pair.left.messages.allSatisfy { TestMessage.isWhole($0.bytes) }
      && pair.right.messages.allSatisfy { TestMessage.isWhole($0.bytes) }
    #expect(areWhole, "seed \(seed)")
  }

  @Test(
    "A path that carries no long packets for a while: they vanish, and all arrives when it carries them again",
    arguments: UInt64(1)...20)
  func pathMTU(seed: UInt64) throws {
    var random = RandomSource(seed: seed)
    let largest = Box(Int.max)
    var pair = SimulatedPair.connected(Link(seed: seed, lossPerMille: 10, jitter: .milliseconds(5)))
    pair.filter = { _, packet in packet.count <= largest.value }
    var count = try Self.exchange(&pair, from: 0, seconds: 3, random: &random)
    for _ in 0..<3 {
      largest.value = 100 + Int(random.next() % 1000)
      count = try Self.exchange(
        &pair, from: count, seconds: 1 + Int64(random.next() % 20), random: &random)
      largest.value = .max
      count = try Self.exchange(&pair, from: count, seconds: 3, random: &random)
    }
    let isDone = pair.run(seconds: 20) { $0.left.messages.count == count && $0.right.messages.count == count }
    #expect(isDone, "seed \(seed)")
    Self.expectAll(pair, count, seed: seed)
    let closures = (pair.left.closure, pair.right.closure)
    #expect(closures.0 == nil && closures.1 == nil, "seed \(seed)")
  }

  @Test(
    "No packet is longer than a path of 1,280 bytes carries with IPv6, UDP and DTLS around it",
    arguments: [576, 1160])
  func packetSize(limit: Int) throws {
    var configuration = SCTPAssociation.Configuration()
    configuration.packetByteCountMax = limit
    let longest = Box(0)
    var pair = SimulatedPair(
      Link(seed: 4, lossPerMille: 200, jitter: .milliseconds(30)), left: configuration, right: configuration)
    pair.filter = { _, packet in
      longest.value = max(longest.value, packet.count)
      return true
    }
    var random = RandomSource(seed: 4)
    pair.connectBoth()
    _ = try Self.exchange(&pair, from: 0, seconds: 10, random: &random)
    for stream: UInt16 in 0..<300 { pair.left.association.resetStreams([StreamID(rawValue: stream)]) }
    pair.run(seconds: 10)
    pair.left.association.shutdown(at: pair.now)
    pair.run(seconds: 60)
    #expect(longest.value == limit)
    // 40 IPv6, 8 UDP, 13 + 8 + 16 a record of DTLS 1.2 with AES-GCM.
    #expect(limit > 1000 ? limit + 40 + 8 + 37 <= 1280 : true)
  }

  @Test(
    "After an outage the first message is there soon: timers end at 3 s, and any packet cuts them short",
    arguments: [1, 10, 60, 200], [true, false])
  func outage(seconds: Int64, hasTraffic: Bool) throws {
    for seed in UInt64(1)...5 {
      var random = RandomSource(seed: seed)
      let isDown = Box(false)
      var pair = SimulatedPair.connected(Link(seed: seed))
      pair.filter = { _, _ in !isDown.value }
      var count = try Self.exchange(&pair, from: 0, seconds: 2, random: &random)
      isDown.value = true
      if hasTraffic {
        count = try Self.exchange(&pair, from: count, seconds: seconds, random: &random)
      } else {
        try pair.left.association.send(
          TestMessage.bytes(count, length: 9), on: 1, payloadProtocol: binary, at: pair.now)
        try pair.right.association.send(
          TestMessage.bytes(count, length: 9), on: 1, payloadProtocol: binary, at: pair.now)
        count += 1
        pair.run(seconds: seconds)
      }
      isDown.value = false
      let back = pair.now
      let isDone = pair.run(seconds: 60) { pair in
        pair.left.messages.count == count && pair.right.messages.count == count
      }
      #expect(isDone, "seed \(seed)")
      #expect(pair.now - back < (hasTraffic ? .seconds(8) : .seconds(4)), "seed \(seed)")
      Self.expectAll(pair, count, seed: seed)
    }
  }

  @Test("The timers of an outage do not make the path look slow: it is soon as fast as before")
  func throughputAfterOutage() throws {
    let isDown = Box(false)
    var pair = SimulatedPair.connected(
      Link(seed: 1, delay: .milliseconds(20), bytesPerSecond: 5_000_000, queue: .milliseconds(40)))
    pair.filter = { _, _ in !isDown.value }
    func send(_ pair: inout SimulatedPair, seconds: Int64) throws -> Int {
      let end = pair.now + .seconds(seconds)
      let before = pair.right.association.currentStatistics.bytesReceived
      while pair.now < end {
        while pair.left.association.bufferedAmount < 1 << 20 {
          try pair.left.association.send(
            [UInt8](repeating: 1, count: 60_000), on: 1, payloadProtocol: binary, at: pair.now)
        }
        pair.drain()
        guard pair.step(before: end) else { break }
        pair.right.messages = []
      }
      pair.now = end
      return Int(pair.right.association.currentStatistics.bytesReceived - before)
    }
    _ = try send(&pair, seconds: 2)
    let usual = try send(&pair, seconds: 2)
    isDown.value = true
    _ = try send(&pair, seconds: 10)
    isDown.value = false
    _ = try send(&pair, seconds: 4)
    let after = try send(&pair, seconds: 2)
    #expect(after > usual * 8 / 10, "\(after) bytes after, \(usual) before")
  }

  @Test("A peer that is silent for five minutes counts as gone; one that is heard in between does not")
  func patience() throws {
    let isDown = Box(false)
    var pair = SimulatedPair.connected()
    pair.filter = { _, _ in !isDown.value }
    for _ in 0..<3 {
      isDown.value = true
      try pair.left.association.send([1], on: 1, payloadProtocol: binary, at: pair.now)
      pair.run(seconds: 290)
      isDown.value = false
      pair.run(seconds: 10)
    }
    let (early, messages) = (pair.left.closure, pair.right.messages.count)
    #expect(early == nil && messages == 3)
    isDown.value = true
    try pair.left.association.send([1], on: 1, payloadProtocol: binary, at: pair.now)
    pair.run(seconds: 310)
    let closure = pair.left.closure
    #expect(closure == .unreachable)
  }

  @Test("A chunk that found the window shut is there as soon as the window opens, though nothing follows it")
  func reopenedWindow() throws {
    var small = AttackTests.small
    small.messageByteCountMax = 16_384
    var pair = SimulatedPair.connected(Link(seed: 1), right: small)
    pair.right.isReadingPaused = true
    var count = 0
    while pair.left.association.currentStatistics.peerWindow >= 1160 || count < 10 {
      try pair.left.association.send(
        TestMessage.bytes(count, length: 8000), on: 1, payloadProtocol: binary, at: pair.now)
      count += 1
      pair.run(seconds: 1)
    }
    try pair.left.association.send(
      TestMessage.bytes(count, length: 100), on: 1, payloadProtocol: binary, at: pair.now)
    count += 1
    pair.run(seconds: 30)
    pair.right.isReadingPaused = false
    let start = pair.now
    let isDone = pair.run(seconds: 30) { $0.right.messages.count == count }
    #expect(isDone)
    #expect(pair.now - start < .milliseconds(500), "\(pair.now - start)")
  }

  // MARK: Who waits for whom

  /// Sends a long message on stream 1, a short one on stream 2 a while later; gives the streams of the chunks
  /// that left after the short one was handed in.
  private static func overtaking(isInterleaved: Bool) throws -> (before: Int, after: Int) {
    var configuration = SCTPAssociation.Configuration()
    configuration.offersInterleaving = isInterleaved
    let streams = Box<[UInt8]>([])
    var pair = SimulatedPair.connected(
      Link(seed: 1, bytesPerSecond: 1_000_000, queue: .seconds(1)), left: configuration)
    pair.filter = { isToRight, packet in
      var offset = 12
      while isToRight, offset + 16 <= packet.count {
        let length = Int(packet[offset + 2]) << 8 | Int(packet[offset + 3])
        if packet[offset] == 0 || packet[offset] == 64 { streams.value.append(packet[offset + 9]) }
        offset += max(4, (length + 3) & ~3)
      }
      return true
    }
    try pair.left.association.send(
      TestMessage.bytes(0, length: 262_144), on: 1, payloadProtocol: binary, at: pair.now)
    pair.run(seconds: 0)
    let start = pair.now
    while pair.now - start < .milliseconds(60), pair.step(before: pair.now + .seconds(1)) {}
    let sentBefore = streams.value.count
    try pair.left.association.send(
      TestMessage.bytes(1, length: 100), on: 2, payloadProtocol: binary, at: pair.now)
    pair.run(seconds: 30) { $0.right.messages.count == 2 }
    let place = streams.value.firstIndex(of: 2) ?? 0
    return (place - sentBefore, streams.value.count - place - 1)
  }

  @Test("With interleaving a short message leaves before the rest of a long one, at the same priority")
  func headOfLine() throws {
    let interleaved = try Self.overtaking(isInterleaved: true)
    #expect(interleaved.before <= 2, "\(interleaved.before) chunks went before it")
    #expect(interleaved.after > 100, "\(interleaved.after) chunks of the long message went after it")
  }

  @Test("Without interleaving it waits for the long message's end, as RFC 9260 §6.9 wants")
  func headOfLineBlocking() throws {
    let plain = try Self.overtaking(isInterleaved: false)
    #expect(plain.before > 100 && plain.after == 0, "\(plain)")
  }
}
