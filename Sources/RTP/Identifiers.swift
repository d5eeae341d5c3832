// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// A synchronisation source: the number that names one RTP stream (RFC 3550 §3).
public struct SSRC: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
  /// The number on the wire.
  public let rawValue: UInt32

  /// Wraps a number from the wire or from a random source.
  @inlinable
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// The number in decimal, as SDP writes it.
  public var description: String { String(rawValue) }
}

/// Arithmetic on 32-bit RTP timestamps, which count clock units and wrap (RFC 3550 §5.1).
public enum RTPTimestamp {
  /// How far `left` is after `right` on the shorter way round, in clock units.
  @inlinable
  public static func distance(_ left: UInt32, after right: UInt32) -> Int {
    Int(Int32(truncatingIfNeeded: left &- right))
  }

  /// Clock units in a span of time, rounded towards the past; exact for whole seconds of any length.
  ///
  /// - Parameter clockRateHertz: units per second, 1 to 1,000,000,000.
  public static func units(in delta: TimeDelta, clockRateHertz: UInt32) -> Int64 {
    let billion: Int64 = 1_000_000_000
    let rate = Int64(clockRateHertz)
    var (seconds, rest) = delta.nanoseconds.quotientAndRemainder(dividingBy: billion)
    if rest < 0 {
      seconds -= 1
      rest += billion
    }
    return seconds &* rate &+ rest &* rate / billion
  }

  /// The span of time that a number of clock units lasts, rounded towards the past to whole nanoseconds.
  ///
  /// - Parameter clockRateHertz: units per second, 1 to 1,000,000,000.
  public static func time(of units: Int64, clockRateHertz: UInt32) -> TimeDelta {
    precondition(clockRateHertz > 0, "a clock runs")
    let billion: Int64 = 1_000_000_000
    let rate = Int64(clockRateHertz)
    var (seconds, rest) = units.quotientAndRemainder(dividingBy: rate)
    if rest < 0 {
      seconds -= 1
      rest += rate
    }
    return TimeDelta(nanoseconds: seconds &* billion &+ rest &* billion / rate)
  }
}
