// SPDX-License-Identifier: Apache-2.0

/// A point in monotonic time, in nanoseconds since an arbitrary origin.
///
/// The protocol cores never read a clock: whoever drives them passes the time in. In production the origin is
/// the kernel's monotonic clock, in the simulator it is the start of the run.
public struct Instant: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// Nanoseconds since the origin.
  public var nanoseconds: Int64

  /// The origin of a virtual clock.
  public static let zero = Instant(nanoseconds: 0)

  /// Makes an instant from nanoseconds since the origin.
  @inlinable
  public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  /// Whether `left` is before `right`.
  @inlinable
  public static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }

  /// The instant `delta` after `instant`.
  @inlinable
  public static func + (instant: Instant, delta: TimeDelta) -> Instant {
    Instant(nanoseconds: instant.nanoseconds &+ delta.nanoseconds)
  }

  /// The instant `delta` before `instant`.
  @inlinable
  public static func - (instant: Instant, delta: TimeDelta) -> Instant {
    Instant(nanoseconds: instant.nanoseconds &- delta.nanoseconds)
  }

  /// The time from `right` to `left`; negative when `left` is earlier.
  @inlinable
  public static func - (left: Instant, right: Instant) -> TimeDelta {
    TimeDelta(nanoseconds: left.nanoseconds &- right.nanoseconds)
  }

  /// Moves the instant forward by `delta`.
  @inlinable
  public static func += (instant: inout Instant, delta: TimeDelta) { instant = instant + delta }

  /// Seconds since the origin, for logs.
  public var description: String { "\(Double(nanoseconds) / 1e9) s" }

  /// The earlier of two optional deadlines; `nil` means "never".
  @inlinable
  public static func earliest(_ left: Instant?, _ right: Instant?) -> Instant? {
    guard let left else { return right }
    guard let right else { return left }
    return left < right ? left : right
  }
}

/// A span of monotonic time in nanoseconds.
///
/// `Swift.Duration` is 128 bits wide and its arithmetic costs some 100 ns; cores count in 64 bits instead.
public struct TimeDelta: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// Length in nanoseconds, negative when it points to the past.
  public var nanoseconds: Int64

  /// No time at all.
  public static let zero = TimeDelta(nanoseconds: 0)

  /// Makes a span from nanoseconds.
  @inlinable
  public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  /// Makes a span from the standard library's duration; spans beyond 292 years are clamped.
  public init(_ duration: Duration) {
    let (seconds, attoseconds) = duration.components
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    let limit: Int64 = seconds < 0 ? .min : .max
    nanoseconds = overflow ? limit : product &+ attoseconds / 1_000_000_000
  }

  /// The given number of whole seconds.
  @inlinable
  public static func seconds(_ count: Int64) -> TimeDelta { TimeDelta(nanoseconds: count &* 1_000_000_000) }

  /// Makes a span from seconds with a fraction; the value must be finite and below 292 years.
  @inlinable
  public init(seconds: Double) { nanoseconds = Int64(seconds * 1e9) }

  /// The given number of milliseconds.
  @inlinable
  public static func milliseconds(_ count: Int64) -> TimeDelta { TimeDelta(nanoseconds: count &* 1_000_000) }

  /// The given number of microseconds.
  @inlinable
  public static func microseconds(_ count: Int64) -> TimeDelta { TimeDelta(nanoseconds: count &* 1000) }

  /// The length in seconds.
  @inlinable
  public var inSeconds: Double { Double(nanoseconds) / 1e9 }

  /// The length in milliseconds.
  @inlinable
  public var inMilliseconds: Double { Double(nanoseconds) / 1e6 }

  /// Whether `left` is shorter than `right`.
  @inlinable
  public static func < (left: TimeDelta, right: TimeDelta) -> Bool { left.nanoseconds < right.nanoseconds }

  /// The sum of two spans.
  @inlinable
  public static func + (left: TimeDelta, right: TimeDelta) -> TimeDelta {
    TimeDelta(nanoseconds: left.nanoseconds &+ right.nanoseconds)
  }

  /// The difference of two spans.
  @inlinable
  public static func - (left: TimeDelta, right: TimeDelta) -> TimeDelta {
    TimeDelta(nanoseconds: left.nanoseconds &- right.nanoseconds)
  }

  /// A span repeated `factor` times.
  @inlinable
  public static func * (delta: TimeDelta, factor: Int64) -> TimeDelta {
    TimeDelta(nanoseconds: delta.nanoseconds &* factor)
  }

  /// A span cut in `divisor` parts.
  @inlinable
  public static func / (delta: TimeDelta, divisor: Int64) -> TimeDelta {
    TimeDelta(nanoseconds: delta.nanoseconds / divisor)
  }

  /// The length in milliseconds, for logs.
  public var description: String { "\(inMilliseconds) ms" }
}

extension Duration {
  /// The same length as a standard library duration.
  public init(_ delta: TimeDelta) { self = .nanoseconds(delta.nanoseconds) }
}
