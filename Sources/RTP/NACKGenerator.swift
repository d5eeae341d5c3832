// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Decides which missing packets a receiver asks for, and when (RFC 4585 §6.2.1).
///
/// A gap is asked for after a moment's patience with reordering, then once per round-trip time, a few times;
/// then it is given up. The table is bounded; a gap that is larger asks for a key frame instead.
public struct NACKGenerator: Sendable {
  /// The bounds of a generator.
  public struct Configuration: Hashable, Sendable {
    /// Packets that overtake each other by less than this cost no NACK.
    public var reorderingPatience = TimeDelta.milliseconds(5)
    /// How often one packet is asked for at most.
    public var attemptCountMax = 8
    /// Missing packets that are kept track of. More are not repaired in time.
    public var missingCountMax = 256
    /// The time between two requests for a packet at least, and while the round-trip time is unknown twice it.
    public var retryIntervalMin = TimeDelta.milliseconds(25)
    /// How long a packet is asked for at most.
    public var missingTimeMax = TimeDelta.milliseconds(500)

    /// The default bounds.
    public init() {}
  }

  private struct Missing: Sendable {
    var sequence: Int64
    var since: Instant
    var nextAttempt: Instant
    var attemptCount = 0
  }

  /// The bounds.
  public let configuration: Configuration
  /// The round-trip time to pace requests by; `nil` while unknown.
  public var roundTripTime: TimeDelta?
  /// Sequence numbers asked for so far, repetitions included.
  public private(set) var requestedCount: UInt64 = 0
  /// Packets that were given up.
  public private(set) var abandonedCount: UInt64 = 0
  /// Packets that came after they were asked for.
  public private(set) var recoveredCount: UInt64 = 0
  /// Whether so much is missing that only a key frame helps. The owner resets it.
  public var needsKeyFrame = false

  /// In the order of sequence numbers.
  private var missing: [Missing] = []
  private var highest: Int64?

  /// Makes a generator that misses nothing.
  public init(configuration: Configuration = Configuration()) {
    self.configuration = configuration
    missing.reserveCapacity(configuration.missingCountMax)
  }

  /// How many packets are missing now.
  public var missingCount: Int { missing.count }

  /// When to ask next; `nil` where nothing is missing.
  public var nextDeadline: Instant? { missing.lazy.map(\.nextAttempt).min() }

  /// Takes note of a packet that arrived, be it in its own stream or restored from a retransmission.
  ///
  /// - Parameter sequence: the extended sequence number.
  public mutating func receive(sequence: Int64, at now: Instant) {
    guard let highest else {
      self.highest = sequence
      return
    }
    guard sequence > highest else {
      if let index = index(of: sequence) {
        if missing[index].attemptCount > 0 { recoveredCount += 1 }
        missing.remove(at: index)
      }
      return
    }
    self.highest = sequence
    let gap = sequence - highest - 1
    guard gap <= Int64(configuration.missingCountMax) else {
      abandonedCount += UInt64(gap) + UInt64(missing.count)
      missing.removeAll(keepingCapacity: true)
      needsKeyFrame = true
      return
    }
    guard gap > 0 else { return }
    let surplus = missing.count + Int(gap) - configuration.missingCountMax
    if surplus > 0 { abandon(first: surplus) }
    for number in (highest + 1)..<sequence {
      missing.append(
        Missing(sequence: number, since: now, nextAttempt: now + configuration.reorderingPatience))
    }
  }

  /// Appends the sequence numbers to ask for now, oldest first; nothing where none is due.
  public mutating func collectRequests(into requests: inout [SequenceNumber], at now: Instant) {
    let interval = max(roundTripTime ?? configuration.retryIntervalMin * 2, configuration.retryIntervalMin)
    var keptCount = 0
    for index in missing.indices {
      var entry = missing[index]
      if entry.nextAttempt <= now {
        guard entry.attemptCount < configuration.attemptCountMax,
          now - entry.since <= configuration.missingTimeMax
        else {
          abandonedCount += 1
          continue
        }
        entry.attemptCount += 1
        entry.nextAttempt = now + interval
        requestedCount += 1
        requests.append(SequenceNumber(rawValue: UInt16(truncatingIfNeeded: entry.sequence)))
      }
      missing[keptCount] = entry
      keptCount += 1
    }
    missing.removeLast(missing.count - keptCount)
  }

  /// Forgets packets before this one: they were given up, or a key frame made them useless.
  public mutating func abandon(before sequence: Int64) {
    abandon(first: missing.firstIndex { $0.sequence >= sequence } ?? missing.count)
  }

  private mutating func abandon(first count: Int) {
    let count = min(count, missing.count)
    abandonedCount += UInt64(count)
    missing.removeFirst(count)
  }

  private func index(of sequence: Int64) -> Int? {
    var (low, high) = (0, missing.count)
    while low < high {
      let middle = (low + high) / 2
      if missing[middle].sequence < sequence { low = middle + 1 } else { high = middle }
    }
    return low < missing.count && missing[low].sequence == sequence ? low : nil
  }
}
