// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// What a receiver counts of one stream for its reports (RFC 3550 §6.4.1, appendices A.1, A.3 and A.8).
///
/// Retransmissions in a stream of their own are not shown to it: the report is about the way, not about repair.
public struct ReceptionStatistics: Sendable {
  /// What became of a packet in the counts.
  public enum Outcome: Hashable, Sendable {
    /// It counts.
    case counted
    /// The source must send two packets in a row first (A.1).
    case onProbation
    /// It is far from all others; a second one right after it would mean that the source started again (A.1).
    case outOfRange
  }

  /// Packets in a row that make a source valid (A.1, MIN_SEQUENTIAL).
  static let minimumSequential = 2
  /// A jump ahead of this many is a restart rather than loss (A.1, MAX_DROPOUT).
  static let dropoutMax: UInt16 = 3000
  /// A packet that is this far behind is a restart rather than reordering (A.1, MAX_MISORDER).
  static let misorderMax: UInt16 = 100

  /// Units of the payload's clock per second.
  public let clockRateHertz: UInt32
  /// Packets that count, duplicates included.
  public private(set) var receivedPacketCount: UInt64 = 0

  private var probation: Int?
  private var baseSequence: UInt16 = 0
  private var highestSequence: UInt16 = 0
  private var cycleCount: UInt32 = 0
  private var suspectSequence: UInt16?
  private var receivedSinceBase: Int64 = 0
  private var expectedPrior: Int64 = 0
  private var receivedPrior: Int64 = 0
  private var previousTransit: UInt32?
  /// A.8: sixteen times the jitter.
  private var scaledJitter: UInt32 = 0
  private var lastSenderReport: (compact: UInt32, arrival: Instant)?

  /// Starts before the first packet.
  public init(clockRateHertz: UInt32) {
    precondition(clockRateHertz > 0, "a clock runs")
    self.clockRateHertz = clockRateHertz
  }

  /// Whether enough was received to report on.
  public var isValid: Bool { probation == 0 }
  /// The highest sequence number with the count of wraps in the high 16 bits.
  public var extendedHighestSequenceNumber: UInt32 { cycleCount << 16 | UInt32(highestSequence) }
  /// The jitter of arrival in units of the payload's clock.
  public var jitter: UInt32 { scaledJitter >> 4 }
  /// Packets that should have come since the stream (re)started.
  public var expectedPacketCount: Int64 {
    isValid ? Int64(extendedHighestSequenceNumber) - Int64(baseSequence) + 1 : 0
  }
  /// Expected less received; negative with duplicates.
  public var lostPacketCount: Int64 { expectedPacketCount - receivedSinceBase }

  /// Counts a packet.
  @discardableResult
  public mutating func receive(
    sequenceNumber: SequenceNumber, timestamp: UInt32, at now: Instant
  ) -> Outcome {
    let outcome = updateSequence(sequenceNumber.rawValue)
    if outcome == .counted {
      receivedPacketCount += 1
      receivedSinceBase += 1
      updateJitter(timestamp: timestamp, at: now)
    }
    return outcome
  }

  /// Remembers the peer's sender report for LSR and DLSR.
  public mutating func receiveSenderReport(_ time: NTPTimestamp, at now: Instant) {
    lastSenderReport = (time.compact, now)
  }

  /// The block for the next report, or `nil` before the source is valid. The fraction covers the time since the
  /// previous call (A.3).
  public mutating func makeReportBlock(ssrc: SSRC, at now: Instant) -> ReportBlock? {
    guard isValid else { return nil }
    let expected = expectedPacketCount
    let expectedInterval = expected - expectedPrior
    let lostInterval = expectedInterval - (receivedSinceBase - receivedPrior)
    expectedPrior = expected
    receivedPrior = receivedSinceBase
    let fraction = expectedInterval <= 0 || lostInterval <= 0 ? 0 : (lostInterval << 8) / expectedInterval
    return ReportBlock(
      ssrc: ssrc, fractionLost: UInt8(clamping: fraction),
      cumulativeLost: Int32(min(max(lostPacketCount, -0x80_0000), 0x7f_ffff)),
      extendedHighestSequenceNumber: extendedHighestSequenceNumber, jitter: jitter,
      lastSenderReport: lastSenderReport?.compact ?? 0,
      delaySinceLastSenderReport: lastSenderReport.map { RTCPRoundTrip.compactUnits(now - $0.arrival) } ?? 0)
  }

  /// A.1, update_seq.
  private mutating func updateSequence(_ sequence: UInt16) -> Outcome {
    guard let probation else {
      self.probation = Self.minimumSequential - 1
      highestSequence = sequence
      return .onProbation
    }
    if probation > 0 {
      let isNext = sequence == highestSequence &+ 1
      highestSequence = sequence
      self.probation = isNext ? probation - 1 : Self.minimumSequential - 1
      guard self.probation == 0 else { return .onProbation }
      restart(at: sequence)
      return .counted
    }
    let distance = sequence &- highestSequence
    if distance < Self.dropoutMax {
      if sequence < highestSequence { cycleCount &+= 1 }
      highestSequence = sequence
    } else if distance <= 0 &- Self.misorderMax {
      guard sequence == suspectSequence else {
        suspectSequence = sequence &+ 1
        return .outOfRange
      }
      restart(at: sequence)
    }
    return .counted
  }

  /// A.1, init_seq.
  private mutating func restart(at sequence: UInt16) {
    baseSequence = sequence
    highestSequence = sequence
    suspectSequence = nil
    cycleCount = 0
    receivedSinceBase = 0
    expectedPrior = 0
    receivedPrior = 0
    previousTransit = nil
  }

  /// A.8, in integers.
  private mutating func updateJitter(timestamp: UInt32, at now: Instant) {
    let arrival = RTPTimestamp.units(in: now - .zero, clockRateHertz: clockRateHertz)
    let transit = UInt32(truncatingIfNeeded: arrival) &- timestamp
    defer { previousTransit = transit }
    guard let previousTransit else { return }
    let difference = Int32(truncatingIfNeeded: transit &- previousTransit).magnitude
    scaledJitter = scaledJitter &+ difference &- ((scaledJitter &+ 8) >> 4)
  }
}
