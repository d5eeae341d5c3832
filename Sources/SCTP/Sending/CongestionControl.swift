// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// What a congestion controller hears of one SACK.
struct Acknowledgement {
  /// Bytes that this SACK acknowledged for the first time.
  var byteCount: Int
  /// Bytes that were in flight before it.
  var previousInFlightByteCount: Int
  /// The round-trip time it measured, if it did.
  var roundTripTime: TimeDelta?
  /// Whether the cumulative TSN advanced.
  var isCumulative: Bool
}

/// Decides how many bytes may be in flight; one of several ways, chosen by the configuration.
///
/// An enumeration and not an existential: it stands on the path of every packet.
enum CongestionController {
  case newReno(NewReno)

  init(_ algorithm: SCTPAssociation.Configuration.CongestionAlgorithm, packetByteCount: Int) {
    switch algorithm {
    case .newReno: self = .newReno(NewReno(packetByteCount: packetByteCount))
    }
  }

  /// Bytes that may be in flight.
  var window: Int {
    switch self {
    case .newReno(let state): state.window
    }
  }

  /// Whether the window still doubles each round trip.
  var isInSlowStart: Bool {
    switch self {
    case .newReno(let state): state.isInSlowStart
    }
  }

  mutating func acknowledged(_ acknowledgement: Acknowledgement, isRecovering: Bool) {
    switch self {
    case .newReno(var state):
      state.acknowledged(acknowledgement, isRecovering: isRecovering)
      self = .newReno(state)
    }
  }

  /// Loss was seen through later acknowledgements; called once per window of data.
  mutating func lossDetected() {
    switch self {
    case .newReno(var state):
      state.lossDetected()
      self = .newReno(state)
    }
  }

  /// Nothing was acknowledged for a whole timeout; `isRepeated`: nor in the one before.
  mutating func timedOut(isRepeated: Bool) {
    switch self {
    case .newReno(var state):
      state.timedOut(isRepeated: isRepeated)
      self = .newReno(state)
    }
  }
}

/// The congestion window of RFC 9260 §7.2: slow start, then one packet more per round trip, half after a loss.
///
/// It deviates where one SACK answers a whole batch of packets: slow start grows by all bytes acknowledged
/// (RFC 3465 with no limit; the RFC's one packet per SACK would starve us), and it begins with ten packets
/// (RFC 6928). A rise of the round-trip time ends slow start before the queue overflows (as HyStart++, RFC 9406).
struct NewReno {
  private let packetByteCount: Int
  private(set) var window: Int
  private var threshold = SCTPLimits.congestionWindowMax
  private var partialByteCount = 0
  private var shortestRoundTrip: TimeDelta?
  private var roundShortest: TimeDelta?
  private var roundSampleCount = 0
  private var roundByteCount = 0

  init(packetByteCount: Int) {
    self.packetByteCount = packetByteCount
    window = 10 * packetByteCount
  }

  var isInSlowStart: Bool { window < threshold }

  mutating func acknowledged(_ acknowledgement: Acknowledgement, isRecovering: Bool) {
    guard !isRecovering, acknowledgement.isCumulative else { return }
    if isInSlowStart { observeDelay(acknowledgement) }
    // §7.2.1, §7.2.2: a window that was not used proves nothing.
    guard acknowledgement.previousInFlightByteCount + packetByteCount >= window else { return }
    if isInSlowStart {
      window += acknowledgement.byteCount
    } else {
      partialByteCount += acknowledgement.byteCount
      while partialByteCount >= window {
        partialByteCount -= window
        window += packetByteCount
      }
    }
    window = min(window, SCTPLimits.congestionWindowMax)
  }

  /// RFC 9406 §4.2: when the shortest round trip of a window of data is an eighth (4 to 16 ms) longer than
  /// the shortest ever, a queue builds up.
  private mutating func observeDelay(_ acknowledgement: Acknowledgement) {
    if let sample = acknowledgement.roundTripTime {
      roundShortest = min(roundShortest ?? sample, sample)
      roundSampleCount += 1
    }
    roundByteCount += acknowledgement.byteCount
    guard roundByteCount >= window, roundSampleCount >= 8, let current = roundShortest else { return }
    if let shortest = shortestRoundTrip {
      let margin = min(max(shortest / 8, .milliseconds(4)), .milliseconds(16))
      if current >= shortest + margin { threshold = window }
    }
    shortestRoundTrip = min(shortestRoundTrip ?? current, current)
    (roundShortest, roundSampleCount, roundByteCount) = (nil, 0, 0)
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
