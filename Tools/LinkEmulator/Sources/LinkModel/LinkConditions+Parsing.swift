// SPDX-License-Identifier: Apache-2.0

/// Why a text that describes conditions was refused.
public struct LinkSyntaxError: Error, CustomStringConvertible {
  /// What is wrong, for a person to read.
  public let description: String

  init(_ description: String) {
    self.description = description
  }
}

extension LinkConditions {
  /// Changes what `text` names and leaves the rest: items such as `delay=50ms`, between commas or spaces.
  ///
  /// - `delay=50ms`, `jitter=5ms`
  /// - `loss=2%`; in bursts: `loss=burst:2%:4` (mean loss, mean length in packets) or
  ///   `loss=gilbert:1%:25%:100%:0%` (good to bad, bad to good, loss in bad, loss in good)
  /// - `reorder=1%` or `reorder=1%:20ms` (how long those are held back), `duplicate=0.5%`
  /// - `rate=2mbit` or `rate=unlimited`, `queue=200ms` (at the rate) or `queue=64kB`
  /// - `perfect`: forgets everything before it
  public mutating func apply(_ text: some StringProtocol) throws(LinkSyntaxError) {
    for item in text.split(whereSeparator: { $0 == "," || $0.isWhitespace }) {
      let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      if parts == ["perfect"] {
        self = LinkConditions()
      } else if parts.count == 2 {
        try set(String(parts[0]), to: String(parts[1]))
      } else {
        throw LinkSyntaxError("'\(item)' is not a condition such as delay=50ms")
      }
    }
  }

  private mutating func set(_ name: String, to value: String) throws(LinkSyntaxError) {
    switch name {
    case "delay": delay = try Quantity.duration(value)
    case "jitter": jitter = try Quantity.duration(value)
    case "loss": loss = try LossPattern(parsing: value)
    case "duplicate": duplication = try Quantity.share(value)
    case "rate": rateBitsPerSecond = value == "unlimited" ? nil : try Quantity.rate(value)
    case "queue": queueLimit = try QueueLimit(parsing: value)
    case "reorder":
      let parts = value.split(separator: ":", maxSplits: 1).map(String.init)
      reordering = try Quantity.share(parts.first ?? "")
      if parts.count == 2 { reorderingDelay = try Quantity.duration(parts[1]) }
    default: throw LinkSyntaxError("there is no condition '\(name)'")
    }
  }
}

extension LossPattern {
  init(parsing text: String) throws(LinkSyntaxError) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    switch (parts.first, parts.count) {
    case ("burst", 3):
      let loss = try Quantity.share(parts[1])
      guard let length = Double(parts[2]), length >= 1, length.isFinite, loss < 1 else {
        throw LinkSyntaxError("'\(text)': bursts have a mean length of 1 or more, and a mean loss below 100%")
      }
      self = .gilbertElliott(GilbertElliott(loss: loss, meanBurst: length))
    case ("gilbert", 3...5):
      self = .gilbertElliott(
        GilbertElliott(
          toBad: try Quantity.share(parts[1]), toGood: try Quantity.share(parts[2]),
          lossInBad: parts.count > 3 ? try Quantity.share(parts[3]) : 1,
          lossInGood: parts.count > 4 ? try Quantity.share(parts[4]) : 0))
    case (_, 1): self = .random(try Quantity.share(text))
    default: throw LinkSyntaxError("'\(text)' is not a loss such as 2%, burst:2%:4 or gilbert:1%:25%")
    }
  }
}

extension QueueLimit {
  init(parsing text: String) throws(LinkSyntaxError) {
    self = text.hasSuffix("B") ? .bytes(try Quantity.bytes(text)) : .duration(try Quantity.duration(text))
  }
}

/// Numbers with units.
enum Quantity {
  /// An hour: no link of interest is slower, and sums of such times stay far from overflow.
  private static let durationMax: Double = 3_600_000_000_000

  static func duration(_ text: some StringProtocol) throws(LinkSyntaxError) -> Nanoseconds {
    let units: [(String, Double)] = [("ms", 1_000_000), ("us", 1_000), ("ns", 1), ("s", 1_000_000_000)]
    return Nanoseconds(try scaled(text, units: units, max: durationMax, example: "50ms"))
  }

  static func rate(_ text: String) throws(LinkSyntaxError) -> Int64 {
    let units: [(String, Double)] = [("gbit", 1e9), ("mbit", 1e6), ("kbit", 1e3), ("bit", 1)]
    let rate = Int64(try scaled(text, units: units, max: 1e12, example: "2mbit"))
    guard rate > 0 else { throw LinkSyntaxError("a rate is more than 0 (loss=100% makes a dead link)") }
    return rate
  }

  static func bytes(_ text: String) throws(LinkSyntaxError) -> Int64 {
    let units: [(String, Double)] = [("kB", 1e3), ("MB", 1e6), ("B", 1)]
    return Int64(try scaled(text, units: units, max: 1e12, example: "64kB"))
  }

  /// A share of packets, in percent, as a probability.
  static func share(_ text: String) throws(LinkSyntaxError) -> Double {
    try scaled(text, units: [("%", 0.01)], max: 1, example: "2%")
  }

  private static func scaled(
    _ text: some StringProtocol, units: [(String, Double)], max: Double, example: String
  ) throws(LinkSyntaxError) -> Double {
    for (unit, factor) in units where text.hasSuffix(unit) {
      if let number = Double(String(text.dropLast(unit.count))), number >= 0, number * factor <= max {
        return number * factor
      }
      break
    }
    throw LinkSyntaxError("'\(text)' is not a quantity such as \(example)")
  }
}
