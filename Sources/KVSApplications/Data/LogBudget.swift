// SPDX-License-Identifier: Apache-2.0

import SansIO

/// How many lines of one kind may be logged: some at once, then one in a while. What others send must not fill a disk
/// (threat T43).
struct LogBudget {
  /// Lines that may follow each other without a pause.
  static let burst = 20
  /// Then one in so long.
  static let pause = TimeDelta.milliseconds(500)

  /// The instant at which the budget is full again.
  private var restored = Instant(nanoseconds: .min / 2)
  private var suppressed: UInt64 = 0

  /// How many lines were left out before the one that may be written now; `nil` when this one is left out too.
  mutating func admit(at now: Instant) -> UInt64? {
    let base = max(restored, now)
    guard base - now <= Self.pause * Int64(Self.burst - 1) else {
      suppressed &+= 1
      return nil
    }
    restored = base + Self.pause
    defer { suppressed = 0 }
    return suppressed
  }
}
