// SPDX-License-Identifier: Apache-2.0

import Logging
import SansIO

/// At most one line of each kind in ten seconds: what a stranger on the network can cause must not fill a
/// disk (threat T43). Confined to the event loop.
struct RateLimitedLog<Kind: CaseIterable & RawRepresentable> where Kind.RawValue == Int {
  /// The pause between two lines of one kind.
  static var pause: TimeDelta { .seconds(10) }

  private var nextLine: [Instant]
  private var suppressed: [UInt64]

  init() {
    nextLine = Array(repeating: Instant(nanoseconds: .min), count: Kind.allCases.count)
    suppressed = Array(repeating: 0, count: Kind.allCases.count)
  }

  /// How many occurrences the line to be written now stands for, or `nil` when none is to be written.
  mutating func admit(_ kind: Kind, at now: Instant) -> UInt64? {
    let index = kind.rawValue
    guard nextLine[index] <= now else {
      suppressed[index] &+= 1
      return nil
    }
    defer { suppressed[index] = 0 }
    nextLine[index] = now + Self.pause
    return suppressed[index] + 1
  }
}
