// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// How long to wait for an acknowledgement before sending again (RFC 9260 §6.3, RFC 6298).
///
/// Keeps a smoothed round-trip time and its variation; doubles with every timeout until a new sample comes.
struct RetransmissionTimeout {
  /// RFC 9260 wants 1 s. Peers acknowledge within 200 ms; 400 ms (as Chromium) leaves room beside that.
  static let shortest = TimeDelta.milliseconds(400)
  /// RFC 9260 says 60 s; no path that carries calls has such round trips.
  static let longest = TimeDelta.seconds(10)
  /// Where doubling ends: a peer that is back after a while should not wait longer for us (as Chromium).
  static let longestBackOff = TimeDelta.seconds(3)
  /// Timers cannot be finer than this (the "clock granularity" of RFC 6298 §2).
  private static let granularity = TimeDelta.milliseconds(10)

  /// The smoothed round-trip time; `nil` before the first sample.
  private(set) var smoothed: TimeDelta?
  private var variation = TimeDelta.zero
  private(set) var timeout: TimeDelta
  private let initial: TimeDelta

  init(initial: TimeDelta) {
    self.initial = initial
    timeout = initial
  }

  /// Takes a sample, which must not come from a packet that was sent twice (Karn's rule).
  mutating func measured(_ sample: TimeDelta) {
    guard sample >= .zero else { return }
    if let smoothed {
      let error = sample - smoothed
      let distance = error < .zero ? .zero - error : error
      variation = (variation * 3 + distance) / 4
      self.smoothed = (smoothed * 7 + sample) / 8
    } else {
      smoothed = sample
      variation = sample / 2
    }
    forgetBackOff()
  }

  /// The timeout by the samples alone, without what timers that ran out added to it.
  var measuredTimeout: TimeDelta {
    smoothed.map { Self.clamp($0 + max(Self.granularity, variation * 4)) } ?? initial
  }

  /// Goes by the samples alone, as if no timer had run out since the last one.
  mutating func forgetBackOff() { timeout = measuredTimeout }

  /// A timer ran out: wait twice as long (§6.3.3 E2).
  mutating func backOff() { timeout = max(timeout, min(timeout * 2, Self.longestBackOff)) }

  private static func clamp(_ value: TimeDelta) -> TimeDelta { min(max(value, shortest), longest) }
}
