// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// What a link does to the datagrams that pass it, in one direction.
public struct LinkConditions: Hashable, Sendable {
  /// The time that every datagram takes at least.
  public var delay: TimeDelta
  /// An extra delay, drawn evenly between 0 and this for each datagram; order is lost when it is larger than the
  /// gap between two datagrams.
  public var jitter: TimeDelta
  /// The share of datagrams that never arrive, 0 to 1.
  public var lossProbability: Double
  /// Losses that come in bursts, beside those of ``lossProbability``; `nil` for none.
  public var burstLoss: BurstLoss?
  /// The share of datagrams that arrive twice, 0 to 1.
  public var duplicationProbability: Double
  /// The share of datagrams that are held back for ``reorderingDelay``, 0 to 1.
  public var reorderingProbability: Double
  /// How long a datagram is held back.
  public var reorderingDelay: TimeDelta
  /// Bits per second that pass; `nil` for no limit.
  public var rateBitsPerSecond: Int64?
  /// How long a datagram may wait for its turn where a rate is set; beyond it it is dropped.
  public var queueDelayMax: TimeDelta
  /// The largest packet that passes, in bytes with its IP and UDP headers; larger ones are dropped without a word,
  /// as behind a router that filters ICMP. `nil` for no limit.
  public var packetByteCountMax: Int?

  /// A link that only delays, unless told otherwise.
  public init(
    delay: TimeDelta = .milliseconds(10), jitter: TimeDelta = .zero, lossProbability: Double = 0,
    burstLoss: BurstLoss? = nil, duplicationProbability: Double = 0, reorderingProbability: Double = 0,
    reorderingDelay: TimeDelta = .milliseconds(20), rateBitsPerSecond: Int64? = nil,
    queueDelayMax: TimeDelta = .milliseconds(200), packetByteCountMax: Int? = nil
  ) {
    self.delay = delay
    self.jitter = jitter
    self.lossProbability = lossProbability
    self.burstLoss = burstLoss
    self.duplicationProbability = duplicationProbability
    self.reorderingProbability = reorderingProbability
    self.reorderingDelay = reorderingDelay
    self.rateBitsPerSecond = rateBitsPerSecond
    self.queueDelayMax = queueDelayMax
    self.packetByteCountMax = packetByteCountMax
  }

  /// A link that does nothing at all: everything arrives, at once.
  public static let ideal = LinkConditions(delay: .zero)
  /// A link that is cut: nothing arrives.
  public static let cut = LinkConditions(lossProbability: 1)
}

/// Losses in bursts after Gilbert and Elliott: the link is good or bad, and each datagram may change that.
public struct BurstLoss: Hashable, Sendable {
  /// The probability that a good link turns bad before a datagram.
  public var startProbability: Double
  /// The probability that a bad link turns good before a datagram: one over the mean length of a burst.
  public var endProbability: Double
  /// The share of datagrams that a bad link loses, 0 to 1.
  public var lossProbability: Double

  /// Names the three numbers.
  public init(startProbability: Double, endProbability: Double, lossProbability: Double = 1) {
    self.startProbability = startProbability
    self.endProbability = endProbability
    self.lossProbability = lossProbability
  }
}

/// What a link remembers: when it is free again, and whether it is in a burst of losses.
struct LinkState {
  private var freeAt: Instant?
  private var isBad = false

  /// When a packet of so many bytes has left, or `nil` where the queue in front of the link is too long for it.
  ///
  /// - Parameter isPatient: whether it waits however long the queue is, as TCP does in the end.
  mutating func departure(
    of byteCount: Int, over conditions: LinkConditions, isPatient: Bool = false, at now: Instant
  ) -> Instant? {
    guard let rate = conditions.rateBitsPerSecond else { return now }
    let start = max(freeAt ?? now, now)
    guard isPatient || start - now <= conditions.queueDelayMax else { return nil }
    let end = start + TimeDelta(nanoseconds: Int64(byteCount) * 8 * 1_000_000_000 / rate)
    freeAt = end
    return end
  }

  /// Whether the link loses the next packet.
  mutating func losesPacket(_ conditions: LinkConditions, random: inout RandomSource) -> Bool {
    if random.roll(conditions.lossProbability) { return true }
    guard let burst = conditions.burstLoss else { return false }
    if random.roll(isBad ? burst.endProbability : burst.startProbability) { isBad.toggle() }
    return isBad && random.roll(burst.lossProbability)
  }
}

extension LinkConditions {
  /// How long a packet that has departed is on its way.
  func travelTime(random: inout RandomSource) -> TimeDelta {
    var time = delay
    if jitter > .zero {
      time = time + TimeDelta(nanoseconds: Int64.random(in: 0...jitter.nanoseconds, using: &random))
    }
    return random.roll(reorderingProbability) ? time + reorderingDelay : time
  }
}

extension RandomSource {
  /// Whether something of this probability happens. Nothing is drawn where it is 0.
  mutating func roll(_ probability: Double) -> Bool {
    probability > 0 && Double.random(in: 0..<1, using: &self) < probability
  }
}
