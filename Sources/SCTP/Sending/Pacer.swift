// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// Spreads packets over time: credit flows in at the controller's rate, each packet takes its bytes out.
struct Pacer {
  /// Whoever waited for credit sends what gathers in this time at once, as one burst for segmentation offload.
  private static let burstTime = TimeDelta.milliseconds(1)
  /// Credit of this time at most is kept, for a timer that came late.
  private static let creditTimeMax = TimeDelta.milliseconds(4)

  private let packetByteCount: Int
  private var credit: Double
  private var filledAt = Instant.zero

  init(packetByteCount: Int) {
    self.packetByteCount = packetByteCount
    credit = Double(packetByteCount)
  }

  /// Whether a packet may leave now at `rate` bytes per second.
  mutating func mayTransmit(at now: Instant, rate: Double) -> Bool {
    let most = max(rate * Self.creditTimeMax.inSeconds, Double(2 * packetByteCount))
    credit = min(credit + rate * max(now - filledAt, .zero).inSeconds, most)
    filledAt = now
    return credit > 0
  }

  mutating func transmitted(_ byteCount: Int) { credit -= Double(byteCount) }

  /// When the next burst has gathered.
  func nextBurst(after now: Instant, rate: Double) -> Instant {
    let most = Double(SCTPLimits.batchPacketsMax * packetByteCount)
    let burst = min(max(rate * Self.burstTime.inSeconds, Double(packetByteCount)), most)
    return now + TimeDelta(seconds: min(max((burst - credit) / rate, 0), 1))
  }
}
