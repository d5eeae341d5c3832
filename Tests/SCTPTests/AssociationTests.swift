// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import SCTP

/// Goal: whatever the link does, reliable messages arrive once, whole and in order, and the others keep the
/// limits they promise. Method: two associations in virtual time over a link with a seed.
@Suite("Two associations over a bad link")
struct AssociationTests {
  /// Sends `count` messages of mixed lengths over some streams, both ways; gives what went out on each.
  private static func sendMany(
    _ pair: inout SimulatedPair, count: Int, random: inout RandomSource
  ) throws -> [StreamID: [Int]] {
    var sent: [StreamID: [Int]] = [:]
    for index in 0..<count {
      let stream = StreamID(rawValue: UInt16(random.next() % 3))
      let length = random.next() % 4 == 0 ? Int(random.next() % 9000) : Int(random.next() % 60)
      let bytes = TestMessage.bytes(index, length: length)
      try pair.left.association.send(bytes, on: stream, payloadProtocol: binary, at: pair.now)
      try pair.right.association.send(bytes, on: stream, payloadProtocol: binary, at: pair.now)
      sent[stream, default: []].append(index)
    }
    return sent
  }

  private static func expectAll(
    _ messages: [SCTPAssociation.Message], _ sent: [StreamID: [Int]], seed: UInt64
  ) {
    let areWhole = messages.allSatisfy { TestMessage.isWhole($0.bytes) && $0.payloadProtocol == binary }
    #expect(areWhole, "seed \(seed)")
    for (stream, indexes) in sent {
      let arrived = messages.filter { $0.stream == stream }.map { TestMessage.index(of: $0.bytes) }
      #expect(arrived == indexes, "seed \(seed), stream \(stream)")
    }
  }

  @Test("Reliable ordered messages arrive once, whole and in order", arguments: UInt64(1)...100)
  func reliable(seed: UInt64) throws { try Self.exchangeReliably(seed: seed) }

  @Test(
    "The same for many seeds",
    .enabled(if: Seeds.count > 100, "set SCTP_SEEDS to a number above 100"))
  func reliableForManySeeds() throws {
    for seed in 101...max(101, Seeds.count) { try Self.exchangeReliably(seed: seed) }
  }

  private static func exchangeReliably(seed: UInt64) throws {
    var random = RandomSource(seed: seed)
    var link = Link(seed: seed)
    link.lossPerMille = Int(random.next() % 200)
    link.duplicationPerMille = Int(random.next() % 100)
    link.jitter = .milliseconds(Int64(random.next() % 30))
    var configuration = SCTPAssociation.Configuration()
    configuration.offersInterleaving = seed % 2 == 0
    configuration.offersZeroChecksum = seed % 3 == 0
    configuration.packetByteCountMax = seed % 5 == 0 ? 600 : 1160
    var pair = SimulatedPair(link, left: configuration, right: configuration)
    let sent = try sendMany(&pair, count: 60, random: &random)
    if seed % 4 != 0 { pair.right.association.connect(at: pair.now) }
    pair.left.association.connect(at: pair.now)
    let isDone = pair.run(seconds: 600) { $0.left.messages.count >= 60 && $0.right.messages.count >= 60 }
    #expect(isDone, "seed \(seed)")
    pair.run(seconds: 100) {
      $0.left.association.currentStatistics.bytesInFlight
        + $0.right.association.currentStatistics.bytesInFlight == 0
    }
    expectAll(pair.left.messages, sent, seed: seed)
    expectAll(pair.right.messages, sent, seed: seed)
    let closures = (pair.left.closure, pair.right.closure)
    #expect(closures.0 == nil && closures.1 == nil, "seed \(seed)")
    let left = pair.left.association.currentStatistics
    #expect(left.bytesInFlight == 0, "seed \(seed)")
    let buffered = pair.left.association.receiveBufferedByteCount
    #expect(buffered == 0, "seed \(seed)")
  }

  @Test("Damaged packets are dropped by their checksum", arguments: UInt64(1)...10)
  func corruption(seed: UInt64) throws {
    var random = RandomSource(seed: seed)
    var configuration = SCTPAssociation.Configuration()
    configuration.offersZeroChecksum = false
    var link = Link(seed: seed)
    link.corruptionPerMille = 200
    var pair = SimulatedPair(link, left: configuration, right: configuration)
    let sent = try Self.sendMany(&pair, count: 40, random: &random)
    pair.connectBoth()
    let isDone = pair.run(seconds: 600) { $0.left.messages.count >= 40 && $0.right.messages.count >= 40 }
    #expect(isDone, "seed \(seed)")
    Self.expectAll(pair.left.messages, sent, seed: seed)
    Self.expectAll(pair.right.messages, sent, seed: seed)
    let drops = pair.left.association.drops[.checksum] + pair.right.association.drops[.checksum]
    #expect(drops > 0, "seed \(seed)")
  }

  @Test("Unordered messages arrive once and whole", arguments: UInt64(1)...20)
  func unordered(seed: UInt64) throws {
    var random = RandomSource(seed: seed)
    var configuration = SCTPAssociation.Configuration()
    configuration.offersInterleaving = seed % 2 == 0
    var pair = SimulatedPair.connected(
      Link(seed: seed, lossPerMille: 100, duplicationPerMille: 50, jitter: .milliseconds(10)),
      left: configuration, right: configuration)
    for index in 0..<80 {
      let length = Int(random.next() % 5000)
      try pair.left.association.send(
        TestMessage.bytes(index, length: length), on: 3, payloadProtocol: binary,
        options: DeliveryOptions(isUnordered: true), at: pair.now)
    }
    pair.run(seconds: 600) { $0.right.messages.count >= 80 }
    pair.run(seconds: 5)
    let arrived = pair.right.messages.map { TestMessage.index(of: $0.bytes) }
    #expect(arrived.sorted() == Array(0..<80), "seed \(seed)")
    let areWhole = pair.right.messages.allSatisfy { TestMessage.isWhole($0.bytes) && $0.isUnordered }
    #expect(areWhole, "seed \(seed)")
  }

  @Test("Messages without retransmissions are lost or whole, and hold up nothing", arguments: UInt64(1)...40)
  func partialByCount(seed: UInt64) throws {
    var random = RandomSource(seed: seed)
    var configuration = SCTPAssociation.Configuration()
    configuration.offersInterleaving = seed % 2 == 0
    var pair = SimulatedPair.connected(
      Link(seed: seed, lossPerMille: 150, jitter: .milliseconds(5)), left: configuration,
      right: configuration)
    let options = DeliveryOptions(isUnordered: seed % 3 == 0, retransmissionsMax: 0)
    for index in 0..<100 {
      try pair.left.association.send(
        TestMessage.bytes(index, length: Int(random.next() % 3000)), on: 1, payloadProtocol: binary,
        options: options, at: pair.now)
    }
    try pair.left.association.send(
      TestMessage.bytes(1000, length: 10), on: 1, payloadProtocol: binary, at: pair.now)
    let isDone = pair.run(seconds: 600) { pair in
      pair.right.messages.contains { TestMessage.index(of: $0.bytes) == 1000 }
    }
    #expect(isDone, "seed \(seed)")
    pair.run(seconds: 20)
    let arrived = pair.right.messages.map { TestMessage.index(of: $0.bytes) }
    #expect(Set(arrived).count == arrived.count, "seed \(seed)")
    if seed % 3 != 0 { #expect(arrived == arrived.sorted(), "seed \(seed)") }
    #expect(arrived.count > 20 && arrived.count < 101, "seed \(seed): \(arrived.count)")
    let areWhole = pair.right.messages.allSatisfy { TestMessage.isWhole($0.bytes) }
    #expect(areWhole, "seed \(seed)")
    let state = (pair.left.association.currentStatistics, pair.right.association.receiveBufferedByteCount)
    #expect(state.0.bytesInFlight == 0 && state.1 == 0, "seed \(seed)")
  }

  @Test("A message's lifetime ends its retransmissions", arguments: UInt64(1)...20)
  func partialByLifetime(seed: UInt64) throws {
    var pair = SimulatedPair.connected(Link(seed: seed))
    pair.link.lossPerMille = 1000
    let options = DeliveryOptions(lifetime: .milliseconds(100))
    for index in 0..<10 {
      try pair.left.association.send(
        TestMessage.bytes(index, length: 2000), on: 1, payloadProtocol: binary, options: options,
        at: pair.now)
    }
    pair.run(seconds: 3)
    pair.link.lossPerMille = 0
    try pair.left.association.send(
      TestMessage.bytes(99, length: 2000), on: 1, payloadProtocol: binary, at: pair.now)
    let isDone = pair.run(seconds: 60) { !$0.right.messages.isEmpty }
    #expect(isDone, "seed \(seed)")
    let arrived = pair.right.messages.map { TestMessage.index(of: $0.bytes) }
    #expect(arrived == [99], "seed \(seed)")
  }

  @Test("With interleaving a short important message overtakes a long one")
  func interleaving() throws {
    var pair = SimulatedPair.connected()
    pair.left.association.setPriority(1024, of: 2)
    try pair.left.association.send(
      TestMessage.bytes(0, length: 200_000), on: 1, payloadProtocol: binary, at: pair.now)
    try pair.left.association.send(
      TestMessage.bytes(1, length: 100), on: 2, payloadProtocol: binary, at: pair.now)
    pair.run(seconds: 60) { $0.right.messages.count == 2 }
    let arrived = pair.right.messages.map { TestMessage.index(of: $0.bytes) }
    #expect(arrived == [1, 0])
  }

  @Test("Without interleaving a long message is not interrupted")
  func noInterleaving() throws {
    var configuration = SCTPAssociation.Configuration()
    configuration.offersInterleaving = false
    var pair = SimulatedPair.connected(left: configuration)
    try pair.left.association.send(
      TestMessage.bytes(0, length: 200_000), on: 1, payloadProtocol: binary, at: pair.now)
    pair.drain()
    try pair.left.association.send(
      TestMessage.bytes(1, length: 100), on: 2, payloadProtocol: binary, at: pair.now)
    pair.run(seconds: 60) { $0.right.messages.count == 2 }
    let arrived = pair.right.messages.map { TestMessage.index(of: $0.bytes) }
    #expect(arrived == [0, 1])
  }

  @Test("TSNs wrap from 2^32 - 1 to 0 in the middle of a lossy transfer", arguments: UInt64(1)...10)
  func wrappingTSNs(seed: UInt64) throws {
    var pair = SimulatedPair.connected(Link(seed: seed, lossPerMille: 100, jitter: .milliseconds(10)))
    let first = UInt32.max - UInt32(seed * 5)
    pair.left.association.retransmissions = RetransmissionQueue(initialTSN: first, isInterleaved: true)
    pair.right.association.received = ReceivedTSNs(initial: first)
    for index in 0..<60 {
      let options = DeliveryOptions(retransmissionsMax: index % 5 == 4 ? 0 : nil)
      try pair.left.association.send(
        TestMessage.bytes(index, length: 3000), on: 1, payloadProtocol: binary, options: options, at: pair.now
      )
    }
    pair.left.association.resetStreams([1])
    let isDone = pair.run(seconds: 60) { !$0.left.outgoingResets.isEmpty }
    #expect(isDone, "seed \(seed)")
    let arrived = pair.right.messages.map { TestMessage.index(of: $0.bytes) }
    #expect(arrived == arrived.sorted() && Set(arrived).count == arrived.count, "seed \(seed)")
    let reliable = arrived.filter { $0 % 5 != 4 }.count
    #expect(reliable == 48, "seed \(seed)")
  }

  @Test("SSNs of DATA wrap after 65,536 messages")
  func wrappingSSNs() throws {
    var pair = SimulatedPair.connected(
      Link(seed: 1, lossPerMille: 10, jitter: .milliseconds(3)), left: AttackTests.plain)
    var expected = 0
    for round in 0..<10 {
      for index in 0..<7000 {
        try pair.left.association.send(
          TestMessage.bytes(round * 7000 + index, length: 4), on: 1, payloadProtocol: binary, at: pair.now)
      }
      let isDone = pair.run(seconds: 120) { $0.right.messages.count == 7000 }
      #expect(isDone)
      let arrived = pair.right.messages.map { TestMessage.index(of: $0.bytes) }
      #expect(arrived == Array(expected..<expected + 7000))
      expected += 7000
      pair.right.messages = []
    }
  }

  @Test("Dropping what waits behind a message that is cut in part lets no other message into its middle")
  func discardBehindPart() throws {
    var pair = SimulatedPair.connected(left: AttackTests.plain, right: AttackTests.plain)
    for index in 0..<3 {
      try pair.left.association.send(
        TestMessage.bytes(index, length: 50_000), on: 1, payloadProtocol: binary, at: pair.now)
    }
    pair.drain()
    try pair.left.association.send(
      TestMessage.bytes(3, length: 5000), on: 2, payloadProtocol: binary, at: pair.now)
    pair.left.association.discardUnsent(on: 1)
    pair.run(seconds: 10)
    let arrived = pair.right.messages.map { TestMessage.index(of: $0.bytes) }
    #expect(arrived == [0, 3])
    let held = pair.right.association.receiveBufferedByteCount
    #expect(held == 0)
  }

  @Test("A reader that stops shuts the window; one that goes on opens it, and nothing is lost")
  func zeroWindow() throws {
    var small = SCTPAssociation.Configuration()
    small.receiveWindowByteCountMax = 65_536
    small.messageByteCountMax = 32_768
    var pair = SimulatedPair.connected(right: small)
    pair.right.isReadingPaused = true
    for index in 0..<100 {
      try pair.left.association.send(
        TestMessage.bytes(index, length: 4000), on: 1, payloadProtocol: binary, at: pair.now)
    }
    pair.run(seconds: 300)
    let held = pair.right.association.receiveBufferedByteCount
    #expect(held > 40_000 && held <= 65_536 * 11 / 10, "\(held)")
    let closure = pair.left.closure
    #expect(closure == nil, "probes that are answered do not count as timeouts")
    pair.right.isReadingPaused = false
    let isDone = pair.run(seconds: 60) { $0.right.messages.count == 100 }
    #expect(isDone)
    let arrived = pair.right.messages.map { TestMessage.index(of: $0.bytes) }
    #expect(arrived == Array(0..<100))
  }

  @Test("A burst lost before messages that weigh more than they carry is mended")
  func longHole() {
    var victim = AttackTests.Victim(AttackTests.small)
    let fragments = (0..<30).map { number -> [UInt8] in
      let flags: DataChunk.Flags = number == 0 ? .beginning : number == 29 ? .end : []
      return victim.data(1000, flags: flags)
    }
    let short = (1...500).map { victim.data(10, flags: [.beginning, .end], messageID: UInt32($0)) }
    // 5,000 bytes weigh 53,000 of 65,536; 30,000 were lost before them, and come now.
    for chunk in short { victim.forge(chunk) }
    for chunk in fragments { victim.forge(chunk) }
    _ = victim.drain()
    let (closure, lengths) = (victim.pair.right.closure, victim.pair.right.messages.map(\.bytes.count))
    #expect(closure == nil && lengths == [30_000] + [Int](repeating: 10, count: 500))
    let held = victim.buffered
    #expect(held == 0)
  }

  @Test(
    "Many messages begun at once after a long one fit the window: no memory is set aside that others need")
  func manyBegun() throws {
    var pair = SimulatedPair.connected()
    try pair.left.association.send(
      TestMessage.bytes(0, length: 262_144), on: 0, payloadProtocol: binary, at: pair.now)
    pair.run(seconds: 5)
    for index in 1...150 {
      try pair.left.association.send(
        TestMessage.bytes(index, length: 3000), on: StreamID(rawValue: UInt16(index)),
        payloadProtocol: binary, at: pair.now)
    }
    let most = Box(0)
    pair.run(seconds: 5) {
      most.value = max(most.value, $0.right.association.receiveBufferedByteCount)
      return $0.right.messages.count == 151
    }
    let (closure, count) = (pair.right.closure, pair.right.messages.count)
    #expect(closure == nil && count == 151)
    #expect(most.value < 900_000, "\(most.value): 450,000 bytes are no reason to fill a window of 1 MiB")
  }

  @Test("A shutdown delivers everything first", arguments: UInt64(1)...20)
  func shutdown(seed: UInt64) throws {
    var pair = SimulatedPair.connected(Link(seed: seed, lossPerMille: 100))
    for index in 0..<30 {
      try pair.left.association.send(
        TestMessage.bytes(index, length: 3000), on: 1, payloadProtocol: binary, at: pair.now)
    }
    pair.left.association.shutdown(at: pair.now)
    if seed % 2 == 0 { pair.right.association.shutdown(at: pair.now) }
    let isDone = pair.run(seconds: 120) { $0.left.closure != nil && $0.right.closure != nil }
    #expect(isDone, "seed \(seed)")
    let closures = (pair.left.closure, pair.right.closure)
    #expect(closures.0 == .shutdown && closures.1 == .shutdown, "seed \(seed)")
    let arrived = pair.right.messages.map { TestMessage.index(of: $0.bytes) }
    #expect(arrived == Array(0..<30), "seed \(seed)")
  }

  @Test("An abort ends both sides with its cause")
  func abort() {
    var pair = SimulatedPair.connected()
    pair.left.association.abort(.userInitiated)
    pair.run(seconds: 1)
    let closures = (pair.left.closure, pair.right.closure)
    #expect(closures.0 == .aborted(.userInitiated))
    #expect(closures.1 == .abortedByPeer(.userInitiated))
    let deadline = pair.nextInstant
    #expect(deadline == nil, "nothing is left to do")
  }

  @Test("A peer that falls silent is given up, by data and by heartbeats alone", arguments: [true, false])
  func silence(hasData: Bool) throws {
    var pair = SimulatedPair.connected()
    pair.link.lossPerMille = 1000
    if hasData {
      try pair.left.association.send(
        TestMessage.bytes(0, length: 10), on: 1, payloadProtocol: binary, at: pair.now)
    }
    pair.run(seconds: 1000)
    let closure = pair.left.closure
    #expect(closure == .unreachable)
  }

  @Test("A stream that was reset counts from 0 again, and both sides hear of it", arguments: UInt64(1)...20)
  func streamReset(seed: UInt64) throws {
    var pair = SimulatedPair.connected(Link(seed: seed, lossPerMille: 100, jitter: .milliseconds(5)))
    for index in 0..<20 {
      try pair.left.association.send(
        TestMessage.bytes(index, length: 3000), on: 7, payloadProtocol: binary, at: pair.now)
    }
    pair.left.association.resetStreams([7])
    #expect(throws: SCTPAssociation.SendError.isResetting) {
      try pair.left.association.send([1], on: 7, payloadProtocol: binary, at: .zero)
    }
    let isDone = pair.run(seconds: 120) {
      !$0.left.outgoingResets.isEmpty && !$0.right.incomingResets.isEmpty
    }
    #expect(isDone, "seed \(seed)")
    let before = pair.right.messages.map { TestMessage.index(of: $0.bytes) }
    #expect(before == Array(0..<20), "seed \(seed)")
    let outcome = pair.left.outgoingResets.first?.isPerformed
    #expect(outcome == true, "seed \(seed)")
    try pair.left.association.send(
      TestMessage.bytes(20, length: 100), on: 7, payloadProtocol: binary, at: pair.now)
    pair.run(seconds: 60) { $0.right.messages.count == 21 }
    let count = pair.right.messages.count
    #expect(count == 21, "seed \(seed)")
    let resets = pair.right.incomingResets
    #expect(resets == [[7]], "seed \(seed)")
  }

  @Test("One SACK answers a batch of packets")
  func oneAcknowledgementPerBatch() throws {
    var pair = SimulatedPair.connected(Link(seed: 1, delay: .milliseconds(5)))
    pair.run(seconds: 1)
    let before = pair.right.association.currentStatistics
    try pair.left.association.send(
      TestMessage.bytes(0, length: 11_000), on: 1, payloadProtocol: binary, at: pair.now)
    pair.run(seconds: 1)
    let after = pair.right.association.currentStatistics
    #expect(after.packetsReceived - before.packetsReceived == 10)
    #expect(after.packetsSent - before.packetsSent == 1)
  }

  @Test("Packets of a batch are equally long, but the last")
  func equalPackets() throws {
    var pair = SimulatedPair.connected()
    for index in 0..<2 {
      try pair.left.association.send(
        TestMessage.bytes(index, length: 5001), on: 1, payloadProtocol: binary, at: pair.now)
    }
    var batch: PacketBatch?
    let now = pair.now
    let bytes = [UInt8](writing: 65_536) { batch = pair.left.association.pollTransmit(into: &$0, at: now) }
    #expect(batch?.packetByteCount == 1160)
    #expect(batch?.packetCount == 9)
    #expect(bytes.count > 8 * 1160 && bytes.count < 9 * 1160)
  }

  /// Sends as much as the window takes for some time; gives the payload bytes that arrived, and the longest
  /// time without any.
  private static func flood(_ pair: inout SimulatedPair, seconds: Int64) throws -> (
    bytes: Int, gap: TimeDelta
  ) {
    let end = pair.now + .seconds(seconds)
    let message = [UInt8](repeating: 1, count: 65_536)
    var (bytes, gap, latest) = (0, TimeDelta.zero, pair.now)
    while pair.now < end {
      while pair.left.association.bufferedAmount < 1 << 20 {
        try pair.left.association.send(message, on: 1, payloadProtocol: binary, at: pair.now)
      }
      pair.drain()
      guard pair.step(before: end) else { break }
      if !pair.right.messages.isEmpty {
        bytes += pair.right.messages.reduce(0) { $0 + $1.bytes.count }
        pair.right.messages = []
        gap = max(gap, pair.now - latest)
        latest = pair.now
      }
    }
    return (bytes, gap)
  }

  @Test("A bottleneck of 100 Mbit/s with 40 ms round trip is filled, and never stalls for 200 ms")
  func bottleneck() throws {
    var pair = SimulatedPair.connected(
      Link(seed: 1, delay: .milliseconds(20), bytesPerSecond: 12_500_000, queue: .milliseconds(40)))
    let result = try Self.flood(&pair, seconds: 2)
    #expect(result.bytes > 2 * 12_500_000 * 85 / 100, "\(result)")
    #expect(result.gap < .milliseconds(200), "\(result.gap)")
    let timeouts = pair.left.association.currentStatistics.timeouts
    #expect(timeouts == 0)
  }

  @Test("The window grows to what a long fast way needs, and a great loss is mended without a timeout")
  func longFastWay() throws {
    var pair = SimulatedPair.connected(
      Link(seed: 1, delay: .milliseconds(80), bytesPerSecond: 12_500_000, queue: .milliseconds(80)))
    let result = try Self.flood(&pair, seconds: 3)
    let statistics = pair.left.association.currentStatistics
    #expect(statistics.chunksRetransmitted > 300, "\(statistics)")
    #expect(statistics.timeouts == 0, "\(statistics)")
    #expect(result.bytes > 12_500_000, "\(result)")
    let window = pair.right.association.currentStatistics.receiveWindow
    #expect(window >= 4 << 20, "\(window)")
  }

  @Test("A FORWARD-TSN is said once, also where the round trip takes no time, and sending comes to an end")
  func forwardTSNWithoutDelay() throws {
    var pair = SimulatedPair.connected(Link(delay: .zero))
    pair.filter = { isToRight, _ in !isToRight }
    let options = DeliveryOptions(lifetime: .milliseconds(10))
    try pair.left.association.send(
      TestMessage.bytes(1, length: 50_000), on: 1, payloadProtocol: binary, options: options, at: pair.now)
    pair.drain()
    let later = pair.now + .milliseconds(20)
    var (batch, count): (PacketBatch?, Int) = (nil, 0)
    repeat {
      _ = [UInt8](writing: 65_536) { batch = pair.left.association.pollTransmit(into: &$0, at: later) }
      count += 1
    } while batch != nil && count < 100
    #expect(count > 1, "the peer has to hear of what was given up")
    #expect(count < 10)
  }

  @Test("The end of a burst that gets lost is sent again before the timer runs out")
  func tailLoss() throws {
    var pair = SimulatedPair.connected(Link(seed: 1, delay: .milliseconds(20)))
    try pair.left.association.send([1], on: 1, payloadProtocol: binary, at: pair.now)
    pair.run(seconds: 1)
    let count = Box(0)
    pair.filter = { isToRight, packet in
      guard isToRight, packet[12] == ChunkType.interleavedData.rawValue else { return true }
      count.value += 1
      return !(9...10).contains(count.value)
    }
    let start = pair.now
    try pair.left.association.send(
      TestMessage.bytes(1, length: 11_000), on: 1, payloadProtocol: binary, at: pair.now)
    pair.run(seconds: 10) { $0.right.messages.count == 2 }
    let (elapsed, timeouts) = (pair.now - start, pair.left.association.currentStatistics.timeouts)
    #expect(count.value > 10)
    #expect(elapsed < .milliseconds(350), "\(elapsed)")
    #expect(timeouts == 0)
  }
}
