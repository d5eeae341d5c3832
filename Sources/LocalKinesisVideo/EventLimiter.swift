// SPDX-License-Identifier: Apache-2.0

import SansIO

/// Decides which of many equal events are worth a line in the log: the first of its kind, then at most one in ten
/// seconds, which tells how many were left out.
struct EventLimiter: Sendable {
  private struct Entry: Sendable {
    var lastLogged: Instant
    var suppressed: UInt64
  }

  /// Between two lines of one kind.
  static let interval = TimeDelta.seconds(10)
  /// Kinds are named by our own code; the bound guards against a mistake there.
  static let kindsMax = 64

  private var entries: [String: Entry] = [:]

  /// How often the kind was seen since its last line, this time included; `nil` when it is to be kept quiet.
  mutating func note(_ kind: String, at now: Instant) -> UInt64? {
    guard var entry = entries[kind] else {
      guard entries.count < Self.kindsMax else { return nil }
      entries[kind] = Entry(lastLogged: now, suppressed: 0)
      return 1
    }
    guard now - entry.lastLogged >= Self.interval else {
      entry.suppressed &+= 1
      entries[kind] = entry
      return nil
    }
    entries[kind] = Entry(lastLogged: now, suppressed: 0)
    return entry.suppressed &+ 1
  }
}
