// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// What a sender keeps to answer NACKs: which frame and packet went out under which sequence number.
///
/// A ring of references to the shared frames, allocated once; bounded by packets and by time. A peer that asks
/// for much, or for the same packet again and again, gets each packet at most once and a limited number of
/// packets in all within one round-trip time: NACKs cannot turn the sender into an amplifier.
public struct RetransmissionHistory: Sendable {
  /// A packet as it was sent.
  public struct Packet: Sendable {
    /// The frame that the packet is a part of.
    public let frame: PacketizedFrame
    /// Which of the frame's packets it is.
    public let packetIndex: Int
    /// The extended sequence number that it went out under.
    public let sequence: Int64
    /// The timestamp that it went out under.
    public let timestamp: UInt32
    /// The marker bit that it went out under.
    public let marker: Bool

    /// The sequence number on the wire.
    public var sequenceNumber: SequenceNumber {
      SequenceNumber(rawValue: UInt16(truncatingIfNeeded: sequence))
    }
  }

  /// Why a packet that a NACK names is not sent again.
  public enum RefusalCause: Int, CaseIterable, Sendable {
    /// Never sent, or forgotten.
    case unknown
    /// Sent again less than a round-trip time ago: the answer is still under way.
    case resentRecently
    /// The budget of this round-trip time is used up.
    case overBudget
  }

  /// Kept small, as each viewer has a thousand: 40 bytes.
  private struct Entry: Sendable {
    let frame: PacketizedFrame
    let sequence: Int64
    let sentAt: Instant
    /// ``never`` until it was sent again.
    var resentAt: Instant
    let timestamp: UInt32
    /// The index in the high 31 bits, the marker in the lowest.
    let indexAndMarker: UInt32

    var packet: Packet {
      Packet(
        frame: frame, packetIndex: Int(indexAndMarker >> 1), sequence: sequence, timestamp: timestamp,
        marker: indexAndMarker & 1 != 0)
    }
  }

  /// How long packets are kept. Later ones come too late to be shown anyway.
  public let maximumAge: TimeDelta
  /// Packets that may be sent again within one round-trip time: a large key frame's worth.
  public let resendCountMax: Int
  /// What was refused, by cause.
  public private(set) var refusals = DropCounters<RefusalCause>()

  /// The shortest time that counts as a round trip, so that a peer next door is limited too.
  public static let shortestRoundTripTime = TimeDelta.milliseconds(10)

  private static let never = Instant(nanoseconds: .min)

  private var entries: [Entry?]
  /// Half-open range of the extended sequence numbers that may be present.
  private var oldest: Int64 = 0
  private var end: Int64 = 0
  private var windowStart: Instant?
  private var windowCount = 0

  /// Makes an empty history.
  ///
  /// - Parameters:
  ///   - capacity: packets kept, rounded up to a power of two; 1 to 32,768.
  ///   - maximumAge: how long packets are kept.
  ///   - resendCountMax: packets that may be sent again within one round-trip time.
  public init(capacity: Int = 1024, maximumAge: TimeDelta = .seconds(3), resendCountMax: Int = 256) {
    precondition((1...32_768).contains(capacity), "half of the sequence numbers at most")
    var size = 1
    while size < capacity { size *= 2 }
    entries = Array(repeating: nil, count: size)
    self.maximumAge = maximumAge
    self.resendCountMax = resendCountMax
  }

  /// Remembers a packet that was just sent.
  ///
  /// - Parameter sequence: the extended sequence number; it must grow with each call.
  public mutating func record(
    sequence: Int64, frame: PacketizedFrame, packetIndex: Int, timestamp: UInt32, marker: Bool,
    at now: Instant
  ) {
    precondition(sequence >= end || end == oldest, "sequence numbers grow")
    if end == oldest || sequence - end >= Int64(entries.count) { removeAll(startingAt: sequence) }
    end = sequence + 1
    entries[slot(of: sequence)] = Entry(
      frame: frame, sequence: sequence, sentAt: now, resentAt: Self.never, timestamp: timestamp,
      indexAndMarker: UInt32(packetIndex) << 1 | (marker ? 1 : 0))
    expire(at: now)
  }

  /// The packet that a NACK names, if it is to be sent again now; the refusal is counted otherwise.
  ///
  /// - Parameter roundTripTime: of the connection; short ones count as 10 ms.
  public mutating func packetToResend(
    _ number: SequenceNumber, roundTripTime: TimeDelta, at now: Instant
  ) -> Packet? {
    expire(at: now)
    let window = max(roundTripTime, Self.shortestRoundTripTime)
    guard let sequence = extended(number), var entry = entries[slot(of: sequence)],
      entry.sequence == sequence
    else {
      refusals[.unknown] += 1
      return nil
    }
    guard entry.resentAt == Self.never || now - entry.resentAt >= window else {
      refusals[.resentRecently] += 1
      return nil
    }
    if windowStart.map({ now - $0 >= window }) ?? true {
      windowStart = now
      windowCount = 0
    }
    guard windowCount < resendCountMax else {
      refusals[.overBudget] += 1
      return nil
    }
    windowCount += 1
    entry.resentAt = now
    entries[slot(of: sequence)] = entry
    return entry.packet
  }

  /// How many sequence numbers the history spans.
  public var count: Int { Int(end - oldest) }

  /// Lets go of packets that are too old, so that a stream that pauses does not hold frames.
  public mutating func expire(at now: Instant) {
    while oldest < end {
      if let entry = entries[slot(of: oldest)], entry.sequence == oldest {
        guard end - oldest > Int64(entries.count) || now - entry.sentAt > maximumAge else { return }
        entries[slot(of: oldest)] = nil
      }
      oldest += 1
    }
  }

  private func slot(of sequence: Int64) -> Int { Int(truncatingIfNeeded: sequence) & (entries.count - 1) }

  private func extended(_ number: SequenceNumber) -> Int64? {
    guard end > oldest else { return nil }
    let newest = SequenceNumber(rawValue: UInt16(truncatingIfNeeded: end - 1))
    let sequence = end - 1 + Int64(number.distance(after: newest))
    return (oldest..<end).contains(sequence) ? sequence : nil
  }

  private mutating func removeAll(startingAt sequence: Int64) {
    for index in entries.indices { entries[index] = nil }
    oldest = sequence
    end = sequence
  }
}
