// SPDX-License-Identifier: Apache-2.0

import SansIO

/// A rate limit: so many a second, and at most one second's worth at once.
struct TokenBucket: Sendable {
  private let nanosecondsPerToken: Int64
  private let capacity: Int64
  /// When the bucket was or will be empty; every full `nanosecondsPerToken` since then is a token.
  private var emptySince: Instant

  /// Makes a full bucket.
  init(perSecond: Int, at now: Instant) {
    precondition(perSecond > 0, "a rate is at least 1 a second")
    capacity = 1_000_000_000
    nanosecondsPerToken = capacity / Int64(perSecond)
    emptySince = now - TimeDelta(nanoseconds: capacity)
  }

  /// Takes a token; false when there is none.
  mutating func take(at now: Instant) -> Bool {
    let fullSince = now - TimeDelta(nanoseconds: capacity)
    let start = max(emptySince, fullSince)
    guard now - start >= TimeDelta(nanoseconds: nanosecondsPerToken) else { return false }
    emptySince = start + TimeDelta(nanoseconds: nanosecondsPerToken)
    return true
  }
}
