// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// How much the peer may have on its way to us: begins small and doubles by need.
///
/// A connection that carries chat never lets the peer park megabytes here; one that carries files gets the
/// window that its round-trip time asks for: when half a window arrives within one round trip, the window is
/// what holds the sender back. It also doubles when it fills with pieces of messages that are not complete: a
/// peer that interleaves many long messages would otherwise be shut out before the first of them is whole.
struct ReceiveWindow {
  /// Bytes at the start: 10 Gbit/s on a local network, 50 Mbit/s at 160 ms.
  static let initialByteCount = 1 << 20

  private(set) var byteCount: Int
  private let maximum: Int
  private var roundStart = Instant.zero
  private var roundByteCount = 0

  init(maximum: Int) {
    self.maximum = maximum
    byteCount = min(Self.initialByteCount, maximum)
  }

  /// Whether it is as large as it may become.
  var isAtMaximum: Bool { byteCount == maximum }

  /// Doubles: what fills it are pieces of messages, which no reading makes room for.
  mutating func grow() { byteCount = min(byteCount * 2, maximum) }

  /// Bytes came in; `roundTripTime` is what our own sending measured, if it did.
  mutating func received(_ count: Int, roundTripTime: TimeDelta?, at now: Instant) {
    roundByteCount += count
    guard byteCount < maximum else { return }
    if now - roundStart > (roundTripTime ?? .milliseconds(100)) {
      roundStart = now
      roundByteCount = count
    } else if roundByteCount >= byteCount / 2 {
      grow()
      roundStart = now
      roundByteCount = 0
    }
  }
}
