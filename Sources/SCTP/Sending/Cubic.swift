// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// The congestion window as a cubic function of the time since the last loss (RFC 9438).
///
/// It comes back quickly to where the loss was, stays near it for a while, then looks for more: so the time that it
/// takes does not grow with the round-trip time as NewReno's does. Where NewReno would be faster, it is NewReno.
struct Cubic {
  /// How much is left after a loss (β, §4.6).
  private static let decrease = 0.7
  /// How steep the curve is, packets per cubic second (C, §5.1).
  private static let steepness = 0.4
  /// NewReno's step with our smaller decrease (α, §4.3).
  private static let renoStep = 3 * (1 - decrease) / (1 + decrease)

  private let packetByteCount: Int
  /// The window in packets, and the one above which it no longer doubles.
  private var packets = 10.0
  private var threshold = Double.infinity
  private var delays = SlowStartDelays()
  private var roundTrip = TimeDelta.zero
  /// Packets in the window when the last loss came, less where it came sooner than the one before (§4.7).
  private var plateau = 0.0
  /// When the curve begins, and how long until it is at its plateau, seconds (K); `nil` until the first SACK.
  private var epoch: (start: Instant, rise: Double)?
  /// The window that NewReno would have, packets.
  private var renoWindow = 0.0

  init(packetByteCount: Int) { self.packetByteCount = packetByteCount }

  var window: Int { Int(packets * Double(packetByteCount)) }

  private var isInSlowStart: Bool { packets < threshold }

  mutating func acknowledged(_ acknowledgement: Acknowledgement) {
    if let sample = acknowledgement.roundTripTime { roundTrip = sample }
    guard !acknowledgement.isRecovering, acknowledgement.isCumulative else { return }
    let growth = isInSlowStart ? delays.growth(for: acknowledgement, window: window) : 0
    guard acknowledgement.previousInFlightByteCount + packetByteCount >= window else {
      // A window that was not used proves nothing, and the time that passes so is not the curve's (§5.8).
      epoch = nil
      return
    }
    let acknowledged = Double(acknowledgement.byteCount) / Double(packetByteCount)
    if isInSlowStart {
      packets += Double(growth) / Double(packetByteCount)
      if delays.isQueueFound { (threshold, delays) = (packets, SlowStartDelays()) }
    } else {
      follow(acknowledged, at: acknowledgement.time)
    }
    packets = min(packets, Double(SCTPLimits.congestionWindowMax / packetByteCount))
  }

  /// §4.2 to §4.5.
  private mutating func follow(_ acknowledged: Double, at now: Instant) {
    let curve = epoch ?? begin(at: now)
    renoWindow += (renoWindow < plateau ? Self.renoStep : 1) * acknowledged / packets
    let ahead = (now + roundTrip - curve.start).inSeconds - curve.rise
    let wanted = plateau + Self.steepness * ahead * ahead * ahead
    let target = min(max(wanted, packets), 1.5 * packets)
    packets = max(packets + acknowledged * (target - packets) / packets, renoWindow)
  }

  private mutating func begin(at now: Instant) -> (start: Instant, rise: Double) {
    plateau = max(plateau, packets)
    renoWindow = packets
    let begun = (start: now, rise: Self.cubeRoot((plateau - packets) / Self.steepness))
    epoch = begun
    return begun
  }

  /// Newton's method; from above it converges from one side, in some 20 steps for what a window can be.
  private static func cubeRoot(_ value: Double) -> Double {
    guard value > 0 else { return 0 }
    var root = max(value, 1)
    for _ in 0..<40 { root -= (root - value / (root * root)) / 3 }
    return root
  }

  /// §4.6, §4.7.
  mutating func lossDetected() {
    plateau = packets < plateau ? packets * (1 + Self.decrease) / 2 : packets
    packets = max(packets * Self.decrease, 4)
    threshold = packets
    epoch = nil
  }

  /// §4.8: from one packet on again. A path that was away for a while is not slower for it, so only the first
  /// of several timeouts lowers the threshold.
  mutating func timedOut(isRepeated: Bool) {
    if !isRepeated { lossDetected() }
    packets = 1
  }
}
