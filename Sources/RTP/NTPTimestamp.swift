// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// A wall-clock time in the NTP format: seconds since 1900 in the high 32 bits, their fraction in the low 32
/// (RFC 3550 §4, RFC 5905 §6).
public struct NTPTimestamp: RawRepresentable, Hashable, Sendable {
  /// All 64 bits.
  public let rawValue: UInt64

  /// Seconds from 1900 to 1970.
  private static let unixEpoch: Int64 = 2_208_988_800

  /// Wraps a value from the wire.
  @inlinable
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// Converts a Unix time; the seconds wrap in 2036 as the format has it. The fraction is rounded up, so that
  /// converting back gives the same nanosecond.
  public init(unixNanoseconds: Int64) {
    var (seconds, rest) = unixNanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
    if rest < 0 {
      seconds -= 1
      rest += 1_000_000_000
    }
    let fraction = ((UInt64(rest) << 32) + 999_999_999) / 1_000_000_000
    rawValue = UInt64(UInt32(truncatingIfNeeded: seconds &+ Self.unixEpoch)) << 32 | fraction
  }

  /// The Unix time in nanoseconds, for the years 1968 to 2104.
  public var unixNanoseconds: Int64 {
    let seconds = Int64(rawValue >> 32)
    // Below 2^31 the seconds belong to the era that begins in 2036 (RFC 4330 §3).
    let era: Int64 = seconds < 0x8000_0000 ? 0x1_0000_0000 : 0
    let nanoseconds = Int64(((rawValue & 0xffff_ffff) * 1_000_000_000) >> 32)
    return (seconds + era - Self.unixEpoch) * 1_000_000_000 + nanoseconds
  }

  /// The middle 32 bits: units of 1/65,536 s, wrapping after 18 hours (RFC 3550 §6.4.1, LSR).
  @inlinable
  public var compact: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 16) }
}

/// The round-trip time from a report block (RFC 3550 §6.4.1).
public enum RTCPRoundTrip {
  /// Longer results come from a wrong or hostile report.
  public static let longest = TimeDelta.seconds(60)

  /// The time that a sender report and the answer to it were under way.
  ///
  /// - Parameters:
  ///   - lastSenderReport: LSR of the block, 0 where the peer has seen none.
  ///   - delay: DLSR of the block, units of 1/65,536 s.
  ///   - now: the wall-clock time at which the block arrived, from the clock that wrote the sender report.
  /// - Returns: `nil` where the block has none or claims the impossible; never below 0.
  public static func time(lastSenderReport: UInt32, delay: UInt32, arrival now: NTPTimestamp) -> TimeDelta? {
    guard lastSenderReport != 0 else { return nil }
    let units = Int64(Int32(truncatingIfNeeded: now.compact &- lastSenderReport &- delay))
    let time = TimeDelta(nanoseconds: units * 1_000_000_000 / 65_536)
    // A clock's granularity can make it a little negative; more than that is no measurement.
    guard time <= longest, time.nanoseconds >= -1_000_000_000 else { return nil }
    return max(time, .zero)
  }

  /// A span in units of 1/65,536 s, as DLSR counts; clamped to 32 bits.
  public static func compactUnits(_ delta: TimeDelta) -> UInt32 {
    let clamped = min(max(delta.nanoseconds, 0), 65_535_000_000_000)
    return UInt32(clamping: clamped * 65_536 / 1_000_000_000)
  }
}

/// Tells which RTP timestamp belongs to which time, for sender reports (RFC 3550 §6.4.1).
///
/// The mapping goes through one anchor, a frame with its capture time, and is exact: whole seconds are whole
/// numbers of clock units however far the anchor is away.
public struct SenderReportClock: Hashable, Sendable {
  /// Units of the RTP clock per second.
  public let clockRateHertz: UInt32
  /// The Unix time at ``SansIO/Instant/zero``, in nanoseconds.
  public let unixNanosecondsAtZero: Int64
  /// The RTP timestamp (with the stream's random offset) at the anchor.
  public private(set) var anchorTimestamp: UInt32
  /// The anchor's time.
  public private(set) var anchor: Instant

  /// Makes a clock that shows `timestamp` at `anchor`.
  public init(clockRateHertz: UInt32, timestamp: UInt32, at anchor: Instant, unixNanosecondsAtZero: Int64) {
    precondition(clockRateHertz > 0, "a clock runs")
    self.clockRateHertz = clockRateHertz
    self.unixNanosecondsAtZero = unixNanosecondsAtZero
    anchorTimestamp = timestamp
    self.anchor = anchor
  }

  /// Moves the anchor to a frame that was sent, so that a source whose clock drifts stays in step.
  public mutating func setAnchor(timestamp: UInt32, at captureTime: Instant) {
    anchorTimestamp = timestamp
    anchor = captureTime
  }

  /// The RTP timestamp of a frame captured at this time, rounded towards the past.
  public func timestamp(at instant: Instant) -> UInt32 {
    let units = RTPTimestamp.units(in: instant - anchor, clockRateHertz: clockRateHertz)
    return anchorTimestamp &+ UInt32(truncatingIfNeeded: units)
  }

  /// The time of a timestamp that is at most 2^31 units from the anchor.
  public func instant(of timestamp: UInt32) -> Instant {
    let units = RTPTimestamp.distance(timestamp, after: anchorTimestamp)
    return anchor + RTPTimestamp.time(of: Int64(units), clockRateHertz: clockRateHertz)
  }

  /// The wall-clock time at this instant.
  public func ntpTimestamp(at instant: Instant) -> NTPTimestamp {
    NTPTimestamp(unixNanoseconds: unixNanosecondsAtZero &+ instant.nanoseconds)
  }
}
