// SPDX-License-Identifier: Apache-2.0

/// Pictures per second as a fraction, so that 30000/1001 has no rounding error.
public struct FrameRate: Hashable, Sendable, CustomStringConvertible {
  /// The fraction's upper part: 1 to ``maximumNumerator``.
  public let numerator: Int64
  /// The fraction's lower part: 1 to ``maximumDenominator``.
  public let denominator: Int64

  /// Keeps `numerator` x `denominator` x 10^9 within 63 bits.
  public static let maximumNumerator: Int64 = 240_000
  /// Keeps `numerator` x `denominator` x 10^9 within 63 bits.
  public static let maximumDenominator: Int64 = 10_000
  /// The fastest rate that is taken; faster ones are mistyped.
  public static let maximumFramesPerSecond: Int64 = 240

  /// 25 pictures per second: the rate of a stream that says nothing about it.
  public static let standard = FrameRate(checkedNumerator: 25, denominator: 1)

  private init(checkedNumerator: Int64, denominator: Int64) {
    self.numerator = checkedNumerator
    self.denominator = denominator
  }

  /// Makes a rate, or `nil` when a part is out of range or the rate is above 240.
  public init?(_ numerator: Int64, over denominator: Int64 = 1) {
    guard (1...Self.maximumNumerator).contains(numerator),
      (1...Self.maximumDenominator).contains(denominator),
      numerator <= Self.maximumFramesPerSecond * denominator
    else { return nil }
    self.init(checkedNumerator: numerator, denominator: denominator)
  }

  /// Reads `25`, `29.97` (taken as 30000/1001, like 23.976 and 59.94) or `30000/1001`; `nil` for anything
  /// else.
  public init?(parsing text: String) {
    switch text {
    case "23.976", "23.98": self.init(24_000, over: 1001)
    case "29.97": self.init(30_000, over: 1001)
    case "59.94": self.init(60_000, over: 1001)
    default:
      guard let rate = Self.fraction(text) ?? Self.decimal(text) else { return nil }
      self = rate
    }
  }

  private static func fraction(_ text: String) -> FrameRate? {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, let upper = Int64(parts[0]), let lower = Int64(parts[1]) else { return nil }
    return FrameRate(upper, over: lower)
  }

  /// Up to three digits after the point.
  private static func decimal(_ text: String) -> FrameRate? {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), let whole = Int64(parts[0]), (0...1000).contains(whole) else {
      return nil
    }
    guard parts.count == 2 else { return FrameRate(whole) }
    let digits = parts[1]
    guard (1...3).contains(digits.count), let part = Int64(digits), part >= 0 else { return nil }
    let scale: Int64 = [10, 100, 1000][digits.count - 1]
    return FrameRate(whole * scale + part, over: scale)
  }

  /// The start of the frame at `index`, in whole units of a clock that counts `perSecond`, rounded down.
  ///
  /// It is computed from the index and not by adding, so that no error grows.
  ///
  /// - Parameters:
  ///   - index: 0 or more.
  ///   - perSecond: 1 to 10^9.
  public func ticks(ofFrame index: Int64, perSecond: Int64) -> Int64 {
    precondition(index >= 0 && (1...1_000_000_000).contains(perSecond), "index or clock out of range")
    let (whole, rest) = index.quotientAndRemainder(dividingBy: numerator)
    return whole * denominator * perSecond + rest * denominator * perSecond / numerator
  }

  /// `25` or `30000/1001`.
  public var description: String { denominator == 1 ? "\(numerator)" : "\(numerator)/\(denominator)" }
}
