// SPDX-License-Identifier: Apache-2.0

/// The timers of one core: an enumeration of names, a deadline for each that is set.
///
/// A core lists what can wake it in an `enum Timer: Int, CaseIterable` with raw values from 0, and handles each
/// in one exhaustive `switch`; `nextDeadline` is all that its driver needs to know.
public struct TimerTable<Timer: CaseIterable & RawRepresentable & Sendable>: Sendable
where Timer.RawValue == Int {
  private var deadlines: [Instant?]

  /// Starts with no timer set.
  public init() { deadlines = Array(repeating: nil, count: Timer.allCases.count) }

  /// The deadline of a timer; set it to `nil` to stop the timer.
  public subscript(timer: Timer) -> Instant? {
    get { deadlines[timer.rawValue] }
    set { deadlines[timer.rawValue] = newValue }
  }

  /// The earliest deadline of all timers.
  public var nextDeadline: Instant? {
    var earliest: Instant?
    for deadline in deadlines { earliest = Instant.earliest(earliest, deadline) }
    return earliest
  }

  /// Stops and returns one timer that is due, in the order of the enumeration; `nil` when none is.
  public mutating func popExpired(at now: Instant) -> Timer? {
    for index in deadlines.indices {
      if let deadline = deadlines[index], deadline <= now {
        deadlines[index] = nil
        return Timer(rawValue: index)
      }
    }
    return nil
  }

  /// Stops all timers.
  public mutating func stopAll() {
    for index in deadlines.indices { deadlines[index] = nil }
  }
}
