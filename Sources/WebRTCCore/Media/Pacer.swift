// SPDX-License-Identifier: Apache-2.0

import SansIO

/// Spaces a stream's bursts, so that a key frame does not hit a router's queue as one lump.
///
/// A burst is at most ``burstPacketsMax`` packets; after it the pacer waits for as long as the pacing rate needs
/// to pass what was sent. Credit is never saved up: a quiet stream starts with one burst, not with many.
struct Pacer {
  /// Packets in one burst at most: a whole frame at 2.5 Mbit/s and 30 frames a second.
  static let burstPacketsMax = 10

  /// Bits per second that leave at most.
  var rateBitsPerSecond: Int64
  private var nextBurst = Instant.zero

  init(rateBitsPerSecond: Int64) { self.rateBitsPerSecond = rateBitsPerSecond }

  /// When the next burst may leave.
  var deadline: Instant { nextBurst }

  func maySend(at now: Instant) -> Bool { nextBurst <= now }

  mutating func sent(byteCount: Int, at now: Instant) {
    let passing = TimeDelta(nanoseconds: Int64(byteCount) * 8 * 1_000_000_000 / rateBitsPerSecond)
    nextBurst = now + passing
  }
}
