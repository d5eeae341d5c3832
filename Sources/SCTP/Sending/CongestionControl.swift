// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// What a congestion controller hears of one SACK.
struct Acknowledgement {
  /// Bytes that this SACK acknowledged for the first time.
  var byteCount: Int
  /// Bytes that turned out to be lost.
  var lostByteCount = 0
  /// Bytes that were in flight before it.
  var previousInFlightByteCount: Int
  /// Bytes that are in flight after it.
  var inFlightByteCount = 0
  /// The round-trip time it measured, if it did.
  var roundTripTime: TimeDelta?
  /// Whether the cumulative TSN advanced.
  var isCumulative: Bool
  /// The packet sent last among those acknowledged, if it was sent after all that were acknowledged before.
  var newestPacket: Int64?
  /// Whether a loss that was answered by a smaller window is still to be mended.
  var isRecovering = false
  /// When it came.
  var time = Instant.zero
}

/// Decides how many bytes may be in flight, and at which rate they leave; one of several ways, chosen by the
/// configuration.
///
/// An enumeration and not an existential: it stands on the path of every packet. It cannot be copied, so that a
/// case's state is changed in place.
enum CongestionController: ~Copyable {
  case newReno(NewReno)
  case cubic(Cubic)
  case modelBased(ModelBased)

  init(_ algorithm: SCTPAssociation.Configuration.CongestionAlgorithm, packetByteCount: Int) {
    switch algorithm {
    case .newReno: self = .newReno(NewReno(packetByteCount: packetByteCount))
    case .cubic: self = .cubic(Cubic(packetByteCount: packetByteCount))
    case .modelBased: self = .modelBased(ModelBased(packetByteCount: packetByteCount))
    }
  }

  /// Bytes that may be in flight.
  var window: Int {
    switch self {
    case .newReno(let state): state.window
    case .cubic(let state): state.window
    case .modelBased(let state): state.window
    }
  }

  /// Bytes per second at which packets leave; `nil` for as fast as the window lets them.
  var pacingRate: Double? {
    switch self {
    case .newReno: nil
    case .cubic: nil
    case .modelBased(let state): state.pacingRate
    }
  }

  /// A packet with data goes out; `inFlightByteCount` was in flight before it.
  mutating func sent(_ packet: Int64, inFlightByteCount: Int, at now: Instant) {
    switch consume self {
    case .modelBased(var state):
      state.sent(packet, inFlightByteCount: inFlightByteCount, at: now)
      self = .modelBased(state)
    case let other: self = other
    }
  }

  /// There is less to send than would be allowed: what arrives now says nothing of what the path could carry.
  mutating func ranDry(inFlightByteCount: Int) {
    switch consume self {
    case .modelBased(var state):
      state.ranDry(inFlightByteCount: inFlightByteCount)
      self = .modelBased(state)
    case let other: self = other
    }
  }

  /// A SACK brought news.
  mutating func acknowledged(_ acknowledgement: Acknowledgement) {
    switch consume self {
    case .newReno(var state):
      state.acknowledged(acknowledgement)
      self = .newReno(state)
    case .cubic(var state):
      state.acknowledged(acknowledgement)
      self = .cubic(state)
    case .modelBased(var state):
      state.acknowledged(acknowledgement)
      self = .modelBased(state)
    }
  }

  /// Loss was seen through later acknowledgements; called once per window of data.
  mutating func lossDetected() {
    switch consume self {
    case .newReno(var state):
      state.lossDetected()
      self = .newReno(state)
    case .cubic(var state):
      state.lossDetected()
      self = .cubic(state)
    case .modelBased(let state): self = .modelBased(state)  // counts each loss with the SACK that told it
    }
  }

  /// Nothing was acknowledged for a whole timeout; `isRepeated`: nor in the one before.
  mutating func timedOut(isRepeated: Bool) {
    switch consume self {
    case .newReno(var state):
      state.timedOut(isRepeated: isRepeated)
      self = .newReno(state)
    case .cubic(var state):
      state.timedOut(isRepeated: isRepeated)
      self = .cubic(state)
    case .modelBased(var state):
      state.timedOut()
      self = .modelBased(state)
    }
  }
}

/// The congestion window of RFC 9260 §7.2: slow start, then one packet more per round trip, half after a loss.
///
/// It deviates where one SACK answers a whole batch of packets: slow start grows by all bytes acknowledged
/// (RFC 3465 with no limit; the RFC's one packet per SACK would starve us), and it begins with ten packets
/// (RFC 6928).
struct NewReno {
  private let packetByteCount: Int
  private(set) var window: Int
  private var threshold = SCTPLimits.congestionWindowMax
  private var partialByteCount = 0
  private var delays = SlowStartDelays()

  init(packetByteCount: Int) {
    self.packetByteCount = packetByteCount
    window = 10 * packetByteCount
  }

  private var isInSlowStart: Bool { window < threshold }

  mutating func acknowledged(_ acknowledgement: Acknowledgement) {
    guard !acknowledgement.isRecovering, acknowledgement.isCumulative else { return }
    let growth = isInSlowStart ? delays.growth(for: acknowledgement, window: window) : 0
    // §7.2.1, §7.2.2: a window that was not used proves nothing.
    guard acknowledgement.previousInFlightByteCount + packetByteCount >= window else { return }
    if isInSlowStart {
      window += growth
      if delays.isQueueFound { (threshold, delays) = (window, SlowStartDelays()) }
    } else {
      partialByteCount += acknowledgement.byteCount
      while partialByteCount >= window {
        partialByteCount -= window
        window += packetByteCount
      }
    }
    window = min(window, SCTPLimits.congestionWindowMax)
  }

  /// §7.2.3.
  mutating func lossDetected() {
    threshold = max(window / 2, 4 * packetByteCount)
    window = threshold
    partialByteCount = 0
  }

  /// §7.2.3: from one packet on again. A path that was away for a while is not slower for it, so only the
  /// first of several timeouts lowers the threshold (as RFC 5681 §3.1 has it).
  mutating func timedOut(isRepeated: Bool) {
    if !isRepeated { threshold = max(window / 2, 4 * packetByteCount) }
    window = packetByteCount
    partialByteCount = 0
  }
}

/// Watches the round-trip time in slow start (HyStart++, RFC 9406 §4.2).
///
/// When the shortest of a round's first samples is an eighth (4 to 16 ms) longer than the shortest of all rounds
/// before, a queue may be building up. Growth slows down to a quarter then; if the delay stays for five rounds it was
/// a queue, and slow start ends before it overflows; if it goes, it was but a hiccup, and growth goes on.
struct SlowStartDelays {
  private static let sampleCountMin = 8
  private static let slowRoundsMax = 5
  private static let slowDivisor = 4
  private var shortest: TimeDelta?
  private var roundShortest: TimeDelta?
  private var sampleCount = 0
  private var byteCount = 0
  /// Rounds since the delay rose, while it has not fallen again.
  private var slowRounds: Int?

  /// Whether the delay rose and stayed.
  var isQueueFound: Bool { slowRounds.map { $0 >= Self.slowRoundsMax } ?? false }

  /// How many bytes the window may grow by for what a SACK acknowledged.
  mutating func growth(for acknowledgement: Acknowledgement, window: Int) -> Int {
    if let sample = acknowledgement.roundTripTime {
      roundShortest = min(roundShortest ?? sample, sample)
      sampleCount += 1
    }
    byteCount += acknowledgement.byteCount
    if sampleCount >= Self.sampleCountMin, let current = roundShortest {
      let limit = shortest.map { $0 + min(max($0 / 8, .milliseconds(4)), .milliseconds(16)) }
      let hasRisen = limit.map { current >= $0 } ?? false
      slowRounds = hasRisen ? slowRounds ?? 0 : nil
      if byteCount >= window {
        shortest = min(shortest ?? current, current)
        slowRounds = slowRounds.map { $0 + 1 }
        (roundShortest, sampleCount, byteCount) = (nil, 0, 0)
      }
    }
    return slowRounds == nil ? acknowledgement.byteCount : acknowledgement.byteCount / Self.slowDivisor
  }
}
