// SPDX-License-Identifier: Apache-2.0

import RTP
import SansIO
import Testing

private func number(_ value: Int) -> SequenceNumber {
  SequenceNumber(rawValue: UInt16(truncatingIfNeeded: value))
}

/// A history behind a reference, for the testing macros.
private final class HistoryHarness {
  var history: RetransmissionHistory

  init(capacity: Int = 1024, resendCountMax: Int = 256) {
    history = RetransmissionHistory(capacity: capacity, resendCountMax: resendCountMax)
  }

  func record(
    _ sequence: Int64, frame: PacketizedFrame, packetIndex: Int = 0, timestamp: UInt32 = 0,
    marker: Bool = true
  ) {
    history.record(
      sequence: sequence, frame: frame, packetIndex: packetIndex, timestamp: timestamp, marker: marker,
      at: .zero)
  }

  func resend(
    _ value: Int, roundTripTime: TimeDelta = .zero, at now: Instant = .zero
  ) -> RetransmissionHistory.Packet? {
    history.packetToResend(number(value), roundTripTime: roundTripTime, at: now)
  }

  var refusals: DropCounters<RetransmissionHistory.RefusalCause> { history.refusals }
  var count: Int { history.count }
}

/// A generator behind a reference, for the testing macros.
private final class GeneratorHarness {
  var generator = NACKGenerator()

  func receive(_ sequence: Int64, at milliseconds: Int64 = 0) {
    generator.receive(sequence: sequence, at: Instant.zero + .milliseconds(milliseconds))
  }

  func requests(at milliseconds: Int64) -> [Int] {
    var numbers: [SequenceNumber] = []
    generator.collectRequests(into: &numbers, at: Instant.zero + .milliseconds(milliseconds))
    return numbers.map { Int($0.rawValue) }
  }

  var nextDeadline: Instant? { generator.nextDeadline }
  var missingCount: Int { generator.missingCount }
  var needsKeyFrame: Bool { generator.needsKeyFrame }
}

@Suite("Retransmission history, RFC 4585 and RFC 4588")
struct RetransmissionHistoryTests {
  private static func frame(packetCount: Int) -> PacketizedFrame {
    PacketizedFrame(
      bytes: [UInt8](repeating: 1, count: packetCount), packets: (0..<packetCount).map { $0..<($0 + 1) },
      timestamp: 0, isKeyFrame: true, captureTime: .zero)
  }

  /// A history that holds `count` packets from this extended sequence number on.
  private static func history(
    from first: Int64, count: Int, capacity: Int = 1024, resendCountMax: Int = 256
  ) -> HistoryHarness {
    let history = HistoryHarness(capacity: capacity, resendCountMax: resendCountMax)
    let frame = frame(packetCount: count)
    for index in 0..<count {
      history.record(
        first + Int64(index), frame: frame, packetIndex: index, timestamp: 7, marker: index == count - 1)
    }
    return history
  }

  @Test("A packet is found by its sequence number, over the wrap too")
  func lookUp() throws {
    let history = Self.history(from: 131_070, count: 4)
    let packet = try #require(history.resend(0))
    #expect(packet.packetIndex == 2)
    #expect(packet.sequence == 131_072)
    #expect(packet.sequenceNumber == number(0))
    #expect(packet.timestamp == 7)
    #expect(!packet.marker)
    #expect(history.resend(1)?.marker == true)
    #expect(history.resend(2) == nil)
    #expect(history.resend(65_533) == nil)
    #expect(history.refusals[.unknown] == 2)
  }

  @Test("T20 A packet is sent again at most once within a round-trip time")
  func oncePerRoundTrip() {
    let history = Self.history(from: 100, count: 4)
    func resend(_ milliseconds: Int64) -> Bool {
      history.resend(101, roundTripTime: .milliseconds(50), at: Instant.zero + .milliseconds(milliseconds))
        != nil
    }
    #expect(resend(0))
    #expect(!resend(0))
    #expect(!resend(49))
    #expect(resend(50))
    #expect(!resend(99))
    #expect(history.refusals[.resentRecently] == 3)
  }

  @Test("T20 NACKs for 65,536 packets make at most one budget of packets per round-trip time")
  func budget() {
    let history = Self.history(from: 65_536, count: 1024, resendCountMax: 100)
    func resendAll(at milliseconds: Int64) -> Int {
      (0...65_535).filter {
        history.resend($0, roundTripTime: .milliseconds(40), at: Instant.zero + .milliseconds(milliseconds))
          != nil
      }.count
    }
    #expect(resendAll(at: 0) == 100)
    #expect(resendAll(at: 10) == 0)
    #expect(resendAll(at: 40) == 100)
    #expect(history.refusals[.overBudget] > 0)
  }

  @Test("The ring forgets the oldest packets, by number and by time, and lets go of their frames")
  func bounds() {
    let history = Self.history(from: 1000, count: 100, capacity: 64)
    #expect(history.count == 64)
    #expect(history.resend(1035) == nil)
    #expect(history.resend(1036) != nil)
    let late = Instant.zero + .milliseconds(3001)
    #expect(history.resend(1099, at: late) == nil)
    #expect(history.count == 0)

    weak var released: PacketizedFrame?
    var holder = RetransmissionHistory(capacity: 4)
    do {
      let frame = Self.frame(packetCount: 1)
      released = frame
      holder.record(sequence: 1, frame: frame, packetIndex: 0, timestamp: 0, marker: true, at: .zero)
    }
    #expect(released != nil)
    holder.expire(at: late)
    #expect(released == nil)
  }

  @Test("Numbers that were left out, and a leap, are survived")
  func gaps() {
    let history = HistoryHarness(capacity: 8)
    let frame = Self.frame(packetCount: 1)
    for sequence in [10, 12, 15, 40, 1_000_000] as [Int64] {
      history.record(sequence, frame: frame)
      #expect(history.resend(Int(sequence))?.sequence == sequence)
      #expect(history.count <= 8)
    }
    #expect(history.resend(11) == nil)
  }

  @Test("RTX restores the lost packet; probes of padding are none")
  func rtx() throws {
    let payload = [UInt8](writing: 8) {
      RTXPacket.writePrefix(originalSequenceNumber: number(0x1234), into: &$0)
      $0.write([9, 8, 7])
    }
    var prefix: [UInt8] = [1, 2, 3]
    RTXPacket.replacePrefix(&prefix, originalSequenceNumber: number(0x1234))
    #expect(prefix == Array(payload[..<2]))
    let header = RTPHeader(
      marker: true, payloadType: 97, sequenceNumber: number(5), timestamp: 77, ssrc: SSRC(rawValue: 2))
    let packet = [UInt8](writing: 64) {
      header.write(into: &$0)
      $0.write(payload)
    }
    func restore(_ packet: [UInt8]) throws(ParseError) -> (header: RTPHeader, payload: Range<Int>)? {
      let (header, payload) = try RTPHeader.parse(packet.rawSpan)
      return try RTXPacket.restore(
        header: header, payload: payload, in: packet.rawSpan, originalPayloadType: 96,
        originalSSRC: SSRC(rawValue: 1))
    }
    let restored = try #require(try restore(packet))
    #expect(restored.header.sequenceNumber == number(0x1234))
    #expect(restored.header.payloadType == 96)
    #expect(restored.header.ssrc == SSRC(rawValue: 1))
    #expect(restored.header.timestamp == 77)
    #expect(restored.header.marker)
    #expect(Array(packet[restored.payload]) == [9, 8, 7])
    #expect(try restore(Array(packet[..<12])) == nil)
    #expect(throws: ParseError.truncated) { try restore(Array(packet[..<13])) }
    #expect(try restore(Array(packet[..<14]))?.payload.isEmpty == true)
  }
}

@Suite("NACK generator, RFC 4585 §6.2.1")
struct NACKGeneratorTests {
  @Test("A gap is asked for after the patience with reordering, then once per round trip")
  func pacing() {
    let generator = GeneratorHarness()
    generator.generator.roundTripTime = .milliseconds(60)
    generator.receive(131_070)
    #expect(generator.nextDeadline == nil)
    generator.receive(131_074)
    #expect(generator.nextDeadline == Instant.zero + .milliseconds(5))
    #expect(generator.requests(at: 4).isEmpty)
    generator.receive(131_072, at: 4)
    #expect(generator.requests(at: 5) == [65_535, 1])
    #expect(generator.requests(at: 64).isEmpty)
    #expect(generator.nextDeadline == Instant.zero + .milliseconds(65))
    generator.receive(131_071, at: 64)
    #expect(generator.requests(at: 65) == [1])
    #expect(generator.generator.recoveredCount == 1)
    #expect(generator.generator.requestedCount == 3)
  }

  @Test("A packet is given up after some attempts or some time")
  func givingUp() {
    let generator = GeneratorHarness()
    generator.receive(1)
    generator.receive(3)
    let asked = (0...2000).filter { !generator.requests(at: Int64($0)).isEmpty }
    #expect(asked == [5, 55, 105, 155, 205, 255, 305, 355])
    #expect(generator.missingCount == 0)
    #expect(generator.generator.abandonedCount == 1)
    #expect(generator.nextDeadline == nil)
  }

  @Test("The table is bounded: the oldest are given up, a larger gap asks for a key frame")
  func bounds() {
    let generator = GeneratorHarness()
    generator.receive(0)
    generator.receive(201)
    generator.receive(302)
    #expect(generator.missingCount == 256)
    #expect(generator.requests(at: 5).first == 45)
    #expect(!generator.needsKeyFrame)
    generator.receive(1000)
    #expect(generator.missingCount == 0)
    #expect(generator.needsKeyFrame)
    generator.receive(.max / 2)
    #expect(generator.missingCount == 0)
  }

  @Test("What lies before a key frame is forgotten")
  func abandoning() {
    let generator = GeneratorHarness()
    generator.receive(10)
    generator.receive(20)
    generator.generator.abandon(before: 15)
    #expect(generator.requests(at: 5) == [15, 16, 17, 18, 19])
    generator.generator.abandon(before: 100)
    #expect(generator.missingCount == 0)
  }
}

@Suite("Reception statistics, RFC 3550 appendices A.1, A.3 and A.8")
struct ReceptionStatisticsTests {
  /// The next report's block.
  private func report(_ statistics: inout ReceptionStatistics, at now: Instant = .zero) throws -> ReportBlock
  {
    let block = statistics.makeReportBlock(ssrc: SSRC(rawValue: 9), at: now)
    return try #require(block)
  }

  /// Receives packets each 20 ms with the timestamps that belong to them.
  private func receive(_ numbers: [Int], into statistics: inout ReceptionStatistics, start: Int = 0) {
    for value in numbers {
      let now = Instant.zero + .milliseconds(Int64(20 * (value + start)))
      statistics.receive(sequenceNumber: number(value), timestamp: UInt32(960 * value), at: now)
    }
  }

  @Test("A source is valid after two packets in a row")
  func probation() {
    var statistics = ReceptionStatistics(clockRateHertz: 48_000)
    receive([10, 12], into: &statistics)
    #expect(!statistics.isValid)
    let early = statistics.makeReportBlock(ssrc: SSRC(rawValue: 1), at: .zero)
    #expect(early == nil)
    receive([13], into: &statistics)
    #expect(statistics.isValid)
    #expect(statistics.expectedPacketCount == 1)
  }

  @Test("The fraction covers the interval, the total covers all")
  func loss() throws {
    var statistics = ReceptionStatistics(clockRateHertz: 48_000)
    receive([0, 1, 2, 3, 4], into: &statistics)
    var block = try report(&statistics)
    #expect(block.fractionLost == 0)
    #expect(block.extendedHighestSequenceNumber == 4)
    receive([5, 6, 8], into: &statistics)
    block = try report(&statistics)
    #expect(block.fractionLost == 64)
    #expect(block.cumulativeLost == 1)
    receive([9, 9, 10], into: &statistics)
    block = try report(&statistics)
    #expect(block.fractionLost == 0)
    #expect(block.cumulativeLost == 0)
    block = try report(&statistics)
    #expect(block.fractionLost == 0)
  }

  @Test("Wraps are counted, reordering is not a wrap")
  func wraps() {
    var statistics = ReceptionStatistics(clockRateHertz: 48_000)
    receive([65_533, 65_534, 65_535, 65_537, 65_536, 65_538], into: &statistics)
    #expect(statistics.extendedHighestSequenceNumber == 65_538)
    #expect(statistics.lostPacketCount == 0)
  }

  @Test("One stray number changes nothing, two in a row are a source that started again")
  func restart() {
    var statistics = ReceptionStatistics(clockRateHertz: 48_000)
    receive([0, 1, 2], into: &statistics)
    let stray = statistics.receive(sequenceNumber: number(40_000), timestamp: 0, at: .zero)
    #expect(stray == .outOfRange)
    #expect(statistics.extendedHighestSequenceNumber == 2)
    let again = statistics.receive(sequenceNumber: number(40_001), timestamp: 0, at: .zero)
    #expect(again == .counted)
    #expect(statistics.extendedHighestSequenceNumber == 40_001)
    #expect(statistics.lostPacketCount == 0)
  }

  @Test("Even arrival has no jitter; a constant deviation approaches itself")
  func jitter() {
    var even = ReceptionStatistics(clockRateHertz: 48_000)
    receive(Array(0..<100), into: &even)
    #expect(even.jitter == 0)
    var uneven = ReceptionStatistics(clockRateHertz: 48_000)
    for value in 0..<400 {
      let now = Instant.zero + .milliseconds(Int64(20 * value + value % 2 * 5))
      uneven.receive(sequenceNumber: number(value), timestamp: UInt32(960 * value), at: now)
    }
    // Each transit differs from the one before by 5 ms = 240 units.
    #expect((236...240).contains(uneven.jitter))
  }

  @Test("A report names the last sender report and the time since")
  func senderReport() throws {
    var statistics = ReceptionStatistics(clockRateHertz: 48_000)
    receive([0, 1, 2], into: &statistics)
    statistics.receiveSenderReport(
      NTPTimestamp(rawValue: 0x1234_5678_9abc_def0), at: Instant.zero + .seconds(1))
    let block = try report(&statistics, at: Instant.zero + .milliseconds(6250))
    #expect(block.lastSenderReport == 0x5678_9abc)
    #expect(block.delaySinceLastSenderReport == 0x0005_4000)
    #expect(block.ssrc == SSRC(rawValue: 9))
  }
}
