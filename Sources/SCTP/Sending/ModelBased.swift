// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// A congestion controller that models the path instead of waiting for losses (after draft-ietf-ccwg-bbr).
///
/// It keeps two numbers: the highest rate at which the path delivered lately, and the shortest round trip. Their
/// product is what fits into the path with no queue; that much, twice for safety, may be in flight, and packets leave
/// at the measured rate. To notice change it takes turns:
///
/// ```
///   startup --full--> drain ----> down ---> cruise ---> refill ---> up --+
///   doubles           empties      ^ 0.9      1.0         1.0      1.25  |
///   each round        the queue    +-------------------------------------+
///                                        every 10 s: shortestRoundTrip, to see the path empty
/// ```
///
/// A loss here and there (below 2 % of a round) is taken for the path's nature and not for an overflow, which is
/// where it is faster than NewReno by orders of magnitude. More than that means a full queue somewhere: then what may
/// be in flight is held below that amount, and the next search for more waits as long as a NewReno flow of the same
/// rate would need to grow back, so that the two can share a bottleneck.
struct ModelBased {
  enum Phase: Hashable {
    case startup, drain, down, cruise, refill, up, shortestRoundTrip
  }

  /// Doubles what is delivered each round trip (4 ln 2).
  private static let startupGain = 2.77
  /// Share of a round's bytes whose loss means a full queue.
  private static let lossShareMax = 0.02
  /// What is left of the ceiling after such a loss.
  private static let decrease = 0.7
  /// What is left free below the ceiling for others, but while looking for more.
  private static let headroom = 0.85
  /// How old the shortest round trip may be before the path is emptied to see it again, and for how long.
  private static let shortestAgeMax = TimeDelta.seconds(10)
  private static let emptyingTime = TimeDelta.milliseconds(200)
  /// Rounds without a quarter more that tell that the path is full.
  private static let fullRoundsMax = 3
  /// Rounds of NewReno until it has grown by what it lost, for the longest path that we wait for (§5.3.3.5.2).
  private static let cruiseRoundsMax = 63

  private let packetByteCount: Int
  private(set) var window: Int
  private(set) var phase = Phase.startup
  private var delivery = DeliveryRate()

  // The model.
  /// The highest rates, bytes per second, of this search for more and of the one before it.
  private var rates = (previous: 0.0, current: 0.0)
  private var shortest: TimeDelta?
  private var shortestSeenAt = Instant.zero
  /// More than this in flight overflowed a queue.
  private var ceiling = Int.max
  /// More than this was not delivered in a round with losses, since the last search for more.
  private var shortTermCeiling = Int.max

  // The round trip at hand.
  private var roundEnd: Int64 = 0
  private var roundCount = 0
  private var roundDelivered = 0
  private var roundLost = 0

  // The phase at hand.
  private var phaseStart = Instant.zero
  private var phaseRound = 0
  private var fullRate = 0.0
  private var fullRounds = 0
  /// The step by which the ceiling rises, packets each round, doubled with every round.
  private var ceilingStep = 1
  private var searchCount: Int64 = 0
  private var windowBeforeEmptying = 0
  private var shortestOfEmptying: TimeDelta?

  init(packetByteCount: Int) {
    self.packetByteCount = packetByteCount
    window = 10 * packetByteCount
  }

  /// The rate that the path can carry, as far as we know.
  var rate: Double { max(rates.previous, rates.current) }

  /// Bytes per second; nothing is known before the first sample.
  var pacingRate: Double? {
    guard rate > 0 else { return nil }
    // A hundredth less than what fits, so that a queue that is there gets shorter (§5.2.1).
    return max(rate * pacingGain * 0.99, Double(2 * packetByteCount))
  }

  private var pacingGain: Double {
    switch phase {
    case .startup: Self.startupGain
    case .drain: 1 / Self.startupGain
    case .down: 0.9
    case .cruise, .refill, .shortestRoundTrip: 1
    case .up: 1.25
    }
  }

  /// Bytes that fill the path without a queue, times `gain`.
  private func pathByteCount(times gain: Double = 1) -> Int {
    let shortest = (shortest ?? .milliseconds(100)).inSeconds
    return Int(min(rate * shortest * gain, Double(SCTPLimits.congestionWindowMax)))
  }

  private func headroomBelowCeiling() -> Int {
    ceiling == .max ? .max : max(Int(Double(ceiling) * Self.headroom), 4 * packetByteCount)
  }

  // MARK: What happens

  mutating func sent(_ packet: Int64, inFlightByteCount: Int, at now: Instant) {
    delivery.sent(packet, inFlightByteCount: inFlightByteCount, at: now)
  }

  mutating func ranDry(inFlightByteCount: Int) { delivery.ranDry(inFlightByteCount: inFlightByteCount) }

  mutating func acknowledged(_ news: Acknowledgement) {
    let sample = delivery.acknowledged(
      news.byteCount, newest: news.newestPacket, shortest: shortest, at: news.time)
    roundDelivered += news.byteCount
    roundLost += news.lostByteCount
    observe(news.roundTripTime, at: news.time)
    let isRoundOver = sample.map { $0.deliveredBefore >= roundEnd } ?? false
    if let sample, let measured = sample.bytesPerSecond, !sample.isFromDrySpell || measured >= rate {
      rates.current = max(rates.current, measured)
    }
    if isTooLossy(inFlight: news.previousInFlightByteCount) { overflowed(at: news) }
    if isRoundOver {
      endRound(isFromDrySpell: sample?.isFromDrySpell ?? false, inFlight: news.previousInFlightByteCount)
    }
    advance(inFlight: news.inFlightByteCount, at: news.time)
    setWindow(acknowledged: news.byteCount)
  }

  /// From a few packets on again; the model holds, so that the window is back as soon as packets arrive.
  mutating func timedOut() { window = 4 * packetByteCount }

  /// §5.3.1.3, §5.3.3.6: several packets, and a share of the round that is more than chance.
  private func isTooLossy(inFlight: Int) -> Bool {
    let all = max(roundLost + roundDelivered, inFlight)
    return roundLost >= 6 * packetByteCount && Double(roundLost) > Self.lossShareMax * Double(all)
  }

  private mutating func observe(_ roundTrip: TimeDelta?, at now: Instant) {
    guard let roundTrip else { return }
    if phase == .shortestRoundTrip { shortestOfEmptying = min(shortestOfEmptying ?? roundTrip, roundTrip) }
    if roundTrip <= shortest ?? roundTrip {
      shortest = max(roundTrip, .microseconds(1))
      shortestSeenAt = now
    }
  }

  private mutating func endRound(isFromDrySpell: Bool, inFlight: Int) {
    roundEnd = delivery.delivered
    roundCount += 1
    if phase == .startup, !isFromDrySpell { lookWhetherFull() }
    if phase == .up { raiseCeiling(inFlight: inFlight) }
    (roundDelivered, roundLost) = (0, 0)
  }

  /// §5.3.1.2.
  private mutating func lookWhetherFull() {
    guard rate < fullRate * 1.25 else {
      (fullRate, fullRounds) = (rate, 0)
      return
    }
    fullRounds += 1
  }

  /// Too much was lost in this round trip: a queue is full.
  private mutating func overflowed(at news: Acknowledgement) {
    switch phase {
    case .startup:
      ceiling = max(pathByteCount(), roundDelivered)
      fullRounds = Self.fullRoundsMax
    case .refill, .up:
      let target = Int(Double(min(pathByteCount(times: 2), window)) * Self.decrease)
      ceiling = max(min(news.previousInFlightByteCount, ceiling), target)
      enter(.down, at: news.time)
    case .drain, .down, .cruise, .shortestRoundTrip:
      let limit = min(shortTermCeiling, window)
      shortTermCeiling = max(Int(Double(limit) * Self.decrease), min(pathByteCount(), limit))
    }
    (roundDelivered, roundLost) = (0, 0)
  }

  /// The path took as much as the ceiling allowed: allow more, slowly at first (§5.3.3.6).
  private mutating func raiseCeiling(inFlight: Int) {
    guard ceiling != .max, inFlight + packetByteCount >= min(ceiling, window) else { return }
    ceiling = min(ceiling + ceilingStep * packetByteCount, SCTPLimits.congestionWindowMax)
    ceilingStep = min(ceilingStep * 2, 1 << 12)
  }

  // MARK: Phases

  private mutating func enter(_ next: Phase, at now: Instant) {
    phase = next
    phaseStart = now
    phaseRound = roundCount
    switch next {
    case .down:
      if rates.current > 0 { rates = (previous: rates.current, current: 0) }
      searchCount += 1
    case .refill: shortTermCeiling = .max
    case .up: ceilingStep = 1
    case .shortestRoundTrip: (windowBeforeEmptying, shortestOfEmptying) = (window, nil)
    case .startup, .drain, .cruise: break
    }
  }

  private mutating func advance(inFlight: Int, at now: Instant) {
    switch phase {
    case .startup: if fullRounds >= Self.fullRoundsMax { enter(.drain, at: now) }
    case .drain: if inFlight <= pathByteCount() { enter(.down, at: now) }
    case .down:
      if inFlight <= min(pathByteCount(), headroomBelowCeiling()) || roundCount - phaseRound > 4 {
        enter(.cruise, at: now)
      }
    case .cruise: if isTimeToSearch(at: now) { enter(.refill, at: now) }
    case .refill: if roundCount > phaseRound + 1 { enter(.up, at: now) }
    case .up:
      let isQueueing = inFlight >= pathByteCount(times: 1.25)
      if roundCount > phaseRound + 1, isQueueing || roundCount > phaseRound + 8 { enter(.down, at: now) }
    case .shortestRoundTrip:
      guard now - phaseStart >= Self.emptyingTime, roundCount > phaseRound else { return }
      window = max(window, windowBeforeEmptying)
      shortest = shortestOfEmptying ?? shortest
      shortestSeenAt = now
      enter(.cruise, at: now)
    }
    if phase != .shortestRoundTrip, phase != .startup, now - shortestSeenAt > Self.shortestAgeMax {
      enter(.shortestRoundTrip, at: now)
    }
  }

  /// Every 2 to 3 s, or sooner on a path where NewReno would have grown back by then (§5.3.3.5).
  private func isTimeToSearch(at now: Instant) -> Bool {
    let wait = TimeDelta.milliseconds(2000 + searchCount * 370 % 1000)
    let rounds = min(pathByteCount() / packetByteCount, Self.cruiseRoundsMax)
    return now - phaseStart > wait || roundCount - phaseRound >= max(rounds, 1)
  }

  // MARK: The window

  private mutating func setWindow(acknowledged byteCount: Int) {
    let least = 4 * packetByteCount
    // Twice what the path holds: acknowledgements come late and bundled. Bursts of ours need their room too.
    var target = pathByteCount(times: phase == .up ? 2.25 : 2) + 2 * packetByteCount
    switch phase {
    case .shortestRoundTrip: target = min(pathByteCount(times: 0.5), headroomBelowCeiling())
    case .cruise: target = min(target, headroomBelowCeiling(), shortTermCeiling)
    case .startup: break
    case .drain, .down, .refill, .up: target = min(target, ceiling, shortTermCeiling)
    }
    if phase == .startup {
      if window < target || rate == 0 { window += byteCount }
    } else {
      window = min(window + byteCount, target)
    }
    window = min(max(window, least), SCTPLimits.congestionWindowMax)
  }
}
