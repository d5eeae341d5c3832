// SPDX-License-Identifier: Apache-2.0

import SansIO

/// Exponential back-off with full jitter: the wait is anything between nothing and 100 ms times two to the number of
/// failures, at most 10 seconds. Full jitter spreads a fleet that lost the service at the same moment.
struct Backoff: Hashable, Sendable {
  static let base: TimeDelta = .milliseconds(100)
  static let ceiling: TimeDelta = .seconds(10)
  /// 100 ms times two to the seventh is past the ceiling.
  private static let exponentMax = 7

  /// Failures in a row.
  private(set) var attempts = 0

  /// The longest wait that comes next.
  var bound: TimeDelta { min(Self.base * (1 << Int64(min(attempts, Self.exponentMax))), Self.ceiling) }

  /// Counts a failure and draws the wait after it.
  mutating func next(using random: inout RandomSource) -> TimeDelta {
    defer { attempts = min(attempts + 1, 1_000_000) }
    return TimeDelta(nanoseconds: Int64.random(in: 0...bound.nanoseconds, using: &random))
  }

  /// Starts again.
  mutating func reset() { attempts = 0 }
}
