// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import SCTP

/// Goal: what arrives is put together with a bounded amount of memory and work, whatever its order. Method:
/// the parts of the receiving side by themselves against plain models, then whole associations.
@Suite("Reassembly, order and window")
struct ReceivingTests {
  private static func chunk(
    _ number: Int, of count: Int, messageID: UInt32 = 0, stream: StreamID = 1, isInterleaved: Bool = false
  ) -> DataChunk {
    var flags: DataChunk.Flags = []
    if number == 0 { flags.insert(.beginning) }
    if number == count - 1 { flags.insert(.end) }
    return DataChunk(
      flags: flags, tsn: UInt32(number), stream: stream, messageID: messageID, fragment: UInt32(number),
      payloadProtocol: binary, isInterleaved: isInterleaved)
  }

  /// Puts a message of so many fragments together in some order; gives how many bytes were moved for it.
  private static func assemble(_ order: [Int], spare: Int = .max) -> (moved: Int, length: Int?) {
    var queue = ReassemblyQueue(messageByteCountMax: 64 << 20)
    let piece = [UInt8](repeating: 7, count: 1000)
    var length: Int?
    for number in order {
      let chunk = chunk(number, of: order.count)
      let room = spare - queue.byteCount
      if case .complete(let message) = queue.insert(
        chunk, tsn: Int64(number), payload: piece.rawSpan,
        spare: ReassemblyQueue.Spare(needed: room, convenient: room))
      {
        length = message.bytes.count
      }
    }
    return (queue.movedByteCount, length)
  }

  @Test(
    "A message is moved a few times at most, however long it is and in whatever order its fragments come",
    arguments: ["ascending", "descending", "evens first", "shuffled"], [500, 1000, 2000])
  func linearWork(order: String, count: Int) {
    var random = RandomSource(seed: 3)
    var numbers = Array(0..<count)
    switch order {
    case "descending": numbers.reverse()
    case "evens first": numbers = numbers.filter { $0 % 2 == 0 } + numbers.filter { $0 % 2 == 1 }
    case "shuffled": numbers.shuffle(using: &random)
    default: break
    }
    let result = Self.assemble(numbers)
    #expect(result.length == count * 1000)
    #expect(result.moved <= 4 * count * 1000, "\(result.moved / count) bytes moved for each 1000")
  }

  @Test("A message of 64 MiB is moved a few times at most, with memory to spare and without")
  func longMessage() {
    for spare in [Int.max, 72 << 20] {
      let result = Self.assemble(Array(0..<65_000), spare: spare)
      #expect(result.length == 65_000_000)
      #expect(result.moved <= 9 * 65_000_000, "\(result.moved)")
    }
  }

  @Test("What a fragment makes the queue hold stays within what may be held", arguments: UInt64(1)...20)
  func spare(seed: UInt64) {
    var random = RandomSource(seed: seed)
    var queue = ReassemblyQueue(messageByteCountMax: 100_000)
    let piece = [UInt8](repeating: 7, count: 1000)
    let limit = 300_000
    for number in 0..<99 {
      _ = queue.insert(Self.chunk(number, of: 99), tsn: Int64(number), payload: piece.rawSpan)
    }
    // Messages that begin and hardly go on, after a long one that makes the next look long too.
    var next = (0..<50).map { _ in 0 }
    for _ in 0..<3000 {
      let message = Int(random.next() % 50)
      let spare = limit - queue.byteCount
      guard spare > 1000 + SCTPLimits.entryByteCount else { break }
      let chunk = Self.chunk(next[message], of: 100, messageID: UInt32(message) + 1, isInterleaved: true)
      let outcome = queue.insert(
        chunk, tsn: 0, payload: piece.rawSpan,
        spare: ReassemblyQueue.Spare(needed: spare, convenient: spare))
      if case .stored = outcome { next[message] += 1 }
      if case .violation = outcome { Issue.record("seed \(seed): a legal fragment was a violation") }
      #expect(queue.byteCount <= limit, "seed \(seed)")
    }
  }

  @Test("Giving up lets go of the messages up to a number on the circle of 2^32", arguments: UInt64(1)...50)
  func givingUp(seed: UInt64) {
    var random = RandomSource(seed: seed)
    var queue = ReassemblyQueue(messageByteCountMax: 1000)
    let base = UInt32(truncatingIfNeeded: random.next())
    var held: [(stream: StreamID, messageID: UInt32)] = []
    for index in 0..<60 {
      let stream = StreamID(rawValue: UInt16(random.next() % 3))
      let messageID = base &+ UInt32(index)
      let chunk = Self.chunk(0, of: 2, messageID: messageID, stream: stream, isInterleaved: true)
      _ = queue.insert(chunk, tsn: Int64(index), payload: [UInt8](repeating: 1, count: 10).rawSpan)
      held.append((stream, messageID))
    }
    for _ in 0..<10 {
      let (stream, last) = (StreamID(rawValue: UInt16(random.next() % 3)), base &+ UInt32(random.next() % 80))
      queue.giveUp(ForwardTSN.Skipped(stream: stream, isUnordered: false, messageID: last))
      queue.giveUp(ForwardTSN.Skipped(stream: stream, isUnordered: true, messageID: last))
      held.removeAll { $0.stream == stream && Int32(truncatingIfNeeded: last &- $0.messageID) >= 0 }
      #expect(queue.runCount == held.count, "seed \(seed)")
    }
    queue.discard([0, 2])
    let left = held.filter { $0.stream == 1 }.count
    #expect(queue.runCount == left, "seed \(seed)")
    queue.discard([])
    #expect(queue.runCount == 0 && queue.byteCount == 0, "seed \(seed)")
  }

  @Test("Giving up DATA lets go of the runs that begin up to a TSN")
  func givingUpData() {
    var queue = ReassemblyQueue(messageByteCountMax: 1000)
    for tsn in stride(from: Int64(10), to: 30, by: 2) {
      _ = queue.insert(Self.chunk(0, of: 9), tsn: tsn, payload: [UInt8](repeating: 1, count: 10).rawSpan)
    }
    queue.giveUp(through: 9)
    let all = queue.runCount
    queue.giveUp(through: 14)
    let some = queue.runCount
    #expect(all == 10 && some == 7)
  }

  private static func message(_ number: UInt32) -> AssembledMessage {
    AssembledMessage(
      stream: 1, isUnordered: false, messageID: number, payloadProtocol: binary,
      bytes: [UInt8(truncatingIfNeeded: number)])
  }

  @Test(
    "Messages are delivered once and in order, whatever is repeated or skipped", arguments: UInt64(1)...50)
  func order(seed: UInt64) {
    var random = RandomSource(seed: seed)
    let isInterleaved = seed % 2 == 0
    var streams = InboundStreams(isInterleaved: isInterleaved)
    // Brings the stream to the end of its numbers.
    let start: UInt32 = isInterleaved ? UInt32.max - 20 : 65_515
    var position: UInt32 = 0
    while position != start {
      let leap = min(start - position, isInterleaved ? 1 << 30 : 30_000)
      position += leap
      let skipped = ForwardTSN.Skipped(stream: 1, isUnordered: false, messageID: position - 1)
      let ready = streams.skip(skipped)
      #expect(ready.isEmpty)
    }
    var arrivals = (0..<60).flatMap { [UInt32]([$0, $0]) }
    arrivals.shuffle(using: &random)
    let skipAt = Int(random.next() % 60)
    var delivered: [UInt32] = []
    func wire(_ number: UInt32) -> UInt32 {
      isInterleaved ? start &+ number : (start + number) & 0xffff
    }
    var repeated = 0
    for (step, number) in arrivals.enumerated() {
      switch streams.take(Self.message(wire(number))) {
      case .ready:
        delivered.append(wire(number))
        while let next = streams.popReady(1) { delivered.append(next.messageID) }
      case .waits: break
      case .repeated: repeated += 1
      }
      guard step == skipAt else { continue }
      let ready = streams.skip(ForwardTSN.Skipped(stream: 1, isUnordered: false, messageID: wire(10)))
      delivered += ready.map(\.messageID)
      while let next = streams.popReady(1) { delivered.append(next.messageID) }
    }
    let expected = (UInt32(0)..<60).map(wire).filter { delivered.contains($0) }
    #expect(delivered == expected, "seed \(seed)")
    #expect(delivered.suffix(49) == (UInt32(11)..<60).map(wire).suffix(49), "seed \(seed)")
    let (waiting, byteCount) = (streams.waitingCount, streams.byteCount)
    #expect(waiting == 0 && byteCount == 0, "seed \(seed)")
  }

  @Test("Sixty-four long messages at once, one on each stream, all arrive through the window of one MiB")
  func manyLongMessages() throws {
    var pair = SimulatedPair.connected(Link(seed: 1, delay: .milliseconds(5)))
    for stream in 0..<64 {
      try pair.left.association.send(
        TestMessage.bytes(stream, length: 250_000), on: StreamID(rawValue: UInt16(stream)),
        payloadProtocol: binary, at: pair.now)
    }
    var most = 0
    let limit = pair.now + .seconds(60)
    pair.drain()
    while pair.right.messages.count < 64, pair.step(before: limit) {
      most = max(most, pair.right.association.receiveBufferedByteCount)
    }
    let (count, timeouts) = (
      pair.right.messages.count, pair.left.association.currentStatistics.timeouts
    )
    #expect(count == 64 && timeouts == 0)
    #expect(most <= (2 << 20) * 11 / 10, "\(most)")
    let areWhole = pair.right.messages.allSatisfy { TestMessage.isWhole($0.bytes) }
    #expect(areWhole)
  }

  @Test("A peer that alternates between more messages than the window holds is given a larger one")
  func windowOfPieces() throws {
    var pair = SimulatedPair.connected(Link(seed: 1, delay: .milliseconds(50), bytesPerSecond: 1_000_000))
    pair.left.association.sendQueue.begunByteCountMax = .max
    for stream in 0..<20 {
      try pair.left.association.send(
        TestMessage.bytes(stream, length: 250_000), on: StreamID(rawValue: UInt16(stream)),
        payloadProtocol: binary, at: pair.now)
    }
    let isDone = pair.run(seconds: 60) { $0.right.messages.count == 20 }
    let closure = pair.right.closure
    #expect(isDone && closure == nil)
  }

  @Test("A message longer than the largest window arrives, for the window grows with the longest message")
  func messageBeyondWindow() throws {
    var configuration = AttackTests.small
    configuration.messageByteCountMax = 3_000_000
    var pair = SimulatedPair.connected(right: configuration)
    try pair.left.association.send(
      TestMessage.bytes(1, length: 3_000_000), on: 1, payloadProtocol: binary, at: pair.now)
    let isDone = pair.run(seconds: 60) { $0.right.messages.count == 1 }
    #expect(isDone)
  }
}
