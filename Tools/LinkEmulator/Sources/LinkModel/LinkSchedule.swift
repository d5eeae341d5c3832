// SPDX-License-Identifier: Apache-2.0

/// Which directions of a link a change is meant for.
public enum LinkDirections: String, Sendable {
  /// From the left device to the right one.
  case forth
  /// From right to left.
  case back
  case both

  /// Whether the direction from left to right is among them.
  public var includesForth: Bool { self != .back }
  /// Whether the direction from right to left is among them.
  public var includesBack: Bool { self != .forth }
}

/// A change of a link's conditions.
public struct LinkChange: Equatable, Sendable {
  /// What changes.
  public let directions: LinkDirections
  /// In the words of `LinkConditions.apply(_:)`; checked already.
  public let conditions: String

  /// Reads `forth|back|both CONDITIONS`.
  public init(parsing line: some StringProtocol) throws(LinkSyntaxError) {
    let parts = line.split(maxSplits: 1, whereSeparator: \.isWhitespace)
    guard let word = parts.first, let directions = LinkDirections(rawValue: String(word)), parts.count == 2
    else {
      throw LinkSyntaxError("'\(line)' is not a change such as 'both delay=50ms'")
    }
    self.directions = directions
    conditions = String(parts[1])
    var probe = LinkConditions()
    try probe.apply(conditions)
  }

  /// The conditions after this change of `present` ones.
  public func applied(to present: LinkConditions) -> LinkConditions {
    var changed = present
    // The words were checked when the change was read, and what they do never depends on what was there.
    try? changed.apply(conditions)
    return changed
  }
}

/// Conditions over time: lines of `TIME forth|back|both CONDITIONS` in the order of time, counted from the start; what a
/// line does not name stays as it was; `#` begins a comment.
///
/// ```
/// 0s   both   delay=25ms rate=5mbit queue=150ms
/// 10s  forth  rate=500kbit    # the uplink breaks down
/// 20s  forth  rate=5mbit
/// ```
public struct LinkSchedule: Sendable {
  /// One line.
  public struct Entry: Equatable, Sendable {
    /// When it takes effect.
    public let time: Nanoseconds
    /// What it changes.
    public let change: LinkChange
  }

  /// All lines, in the order of time.
  public let entries: [Entry]

  /// Reads the whole text of a schedule.
  public init(parsing text: String) throws(LinkSyntaxError) {
    var entries: [Entry] = []
    for line in text.split(whereSeparator: \.isNewline) {
      let content = line.prefix { $0 != "#" }
      let parts = content.split(maxSplits: 1, whereSeparator: \.isWhitespace)
      guard let first = parts.first else { continue }
      let time = try Quantity.duration(first)
      guard parts.count == 2, time >= entries.last?.time ?? 0 else {
        throw LinkSyntaxError("'\(line)': a line is a time, not before the line above it, and a change")
      }
      entries.append(Entry(time: time, change: try LinkChange(parsing: parts[1])))
    }
    self.entries = entries
  }
}
