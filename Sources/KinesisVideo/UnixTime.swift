// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// A point of civil time in whole seconds since 1970-01-01T00:00:00Z, and the two forms that the service writes it in.
///
/// The calendar arithmetic is the proleptic Gregorian one on 400-year eras; no locale and no time zone takes part.
public struct UnixTime: Hashable, Comparable, Sendable {
  /// Seconds since the epoch, between the years 0 and 9999.
  public var seconds: Int64

  private static let secondsPerDay: Int64 = 86_400
  /// 0000-01-01 and 9999-12-31T23:59:59, the years that have four digits.
  private static let range: ClosedRange<Int64> = -62_167_219_200...253_402_300_799

  /// Makes a time from seconds since the epoch; times outside of the years 0 to 9999 are clamped.
  public init(seconds: Int64) {
    self.seconds = min(max(seconds, Self.range.lowerBound), Self.range.upperBound)
  }

  /// The system's clock.
  public static var now: UnixTime { UnixTime(seconds: Int64(Date().timeIntervalSince1970)) }

  /// Whether `left` is before `right`.
  public static func < (left: UnixTime, right: UnixTime) -> Bool { left.seconds < right.seconds }

  /// The time `seconds` later; negative counts go back.
  public func advanced(bySeconds count: Int64) -> UnixTime {
    let (sum, overflow) = seconds.addingReportingOverflow(count)
    return UnixTime(seconds: overflow ? (count < 0 ? .min : .max) : sum)
  }

  /// The ISO 8601 basic form, `20240131T121530Z`.
  public var basicFormat: String {
    let (_, time) = dayAndSecond
    return dateStamp + "T" + digits(time / 3600, 2) + digits(time / 60 % 60, 2) + digits(time % 60, 2) + "Z"
  }

  /// The day alone, `20240131`.
  public var dateStamp: String {
    let date = civilDate
    return digits(date.year, 4) + digits(date.month, 2) + digits(date.day, 2)
  }

  /// The form of an HTTP `Date` header, `Wed, 31 Jan 2024 12:15:30 GMT` (RFC 9110 §5.6.7).
  public var httpDate: String {
    let (day, time) = dayAndSecond
    let date = civilDate
    let weekday = Self.weekdays[Int(((day + 4) % 7 + 7) % 7)]
    let clock = [time / 3600, time / 60 % 60, time % 60].map { digits($0, 2) }.joined(separator: ":")
    let month = Self.months[Int(date.month) - 1]
    return "\(weekday), \(digits(date.day, 2)) \(month) \(digits(date.year, 4)) \(clock) GMT"
  }

  /// Reads the ISO 8601 basic form; `nil` for anything else, also for a day that no month has.
  public init?(basicFormat text: String) {
    let bytes = Array(text.utf8)
    guard bytes.count == 16, bytes[8] == UInt8(ascii: "T"), bytes[15] == UInt8(ascii: "Z"),
      let year = Self.number(bytes[0..<4]), let month = Self.number(bytes[4..<6]),
      let day = Self.number(bytes[6..<8]), let hour = Self.number(bytes[9..<11]),
      let minute = Self.number(bytes[11..<13]), let second = Self.number(bytes[13..<15])
    else { return nil }
    self.init(year: year, month: month, day: day, hour: hour, minute: minute, second: second)
  }

  /// Reads the preferred form of an HTTP `Date` header; `nil` for anything else.
  public init?(httpDate text: String) {
    let parts = text.split(separator: " ", maxSplits: 6)
    guard parts.count == 6, parts[5] == "GMT",
      let day = Self.number(Array(parts[1].utf8)[...]),
      let month = Self.months.firstIndex(of: String(parts[2])),
      let year = Self.number(Array(parts[3].utf8)[...])
    else { return nil }
    let clock = parts[4].split(separator: ":", omittingEmptySubsequences: false)
    guard clock.count == 3, let hour = Self.number(Array(clock[0].utf8)[...]),
      let minute = Self.number(Array(clock[1].utf8)[...]), let second = Self.number(Array(clock[2].utf8)[...])
    else { return nil }
    self.init(year: year, month: Int64(month) + 1, day: day, hour: hour, minute: minute, second: second)
  }

  private init?(year: Int64, month: Int64, day: Int64, hour: Int64, minute: Int64, second: Int64) {
    guard (0...9999).contains(year), (1...12).contains(month), (1...31).contains(day),
      (0...23).contains(hour), (0...59).contains(minute), (0...60).contains(second)
    else { return nil }
    // Years begin in March, so that the leap day is a year's last.
    let shifted = month <= 2 ? year - 1 : year
    let era = (shifted >= 0 ? shifted : shifted - 399) / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    let days = era * 146_097 + dayOfEra - 719_468
    self.init(seconds: days * Self.secondsPerDay + hour * 3600 + minute * 60 + second)
    let date = civilDate
    guard second == 60 || (date.month == month && date.day == day) else { return nil }
  }

  private var dayAndSecond: (day: Int64, second: Int64) {
    let day = seconds >= 0 ? seconds / Self.secondsPerDay : (seconds + 1) / Self.secondsPerDay - 1
    return (day, seconds - day * Self.secondsPerDay)
  }

  private var civilDate: (year: Int64, month: Int64, day: Int64) {
    let shifted = dayAndSecond.day + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
  }

  private static let weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
  private static let months = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
  ]

  private func digits(_ value: Int64, _ width: Int) -> String {
    let text = String(value)
    return String(repeating: "0", count: max(0, width - text.count)) + text
  }

  private static func number(_ digits: ArraySlice<UInt8>) -> Int64? {
    guard (1...4).contains(digits.count) else { return nil }
    var value: Int64 = 0
    for digit in digits {
      guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
      value = value * 10 + Int64(digit - UInt8(ascii: "0"))
    }
    return value
  }
}
