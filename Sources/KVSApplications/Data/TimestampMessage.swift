// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// The message that AWS' JavaScript test page and a master hand to each other over a data channel, each of them adding
/// the time at which it had it: from them the page tells how long a message takes.
///
/// The viewer begins with its first time and sends again after each answer; a master adds its first time, then its
/// second. Once the viewer's last time is in, the master tells how its side of the connection came about
/// (``ConnectionTimeline``). Times are milliseconds of Unix time, written as text; an empty one is yet to come.
struct TimestampMessage: Hashable {
  /// A message of that kind needs about 250 bytes; what is longer is some other text and not read as JSON.
  static let byteCountMax = 1024
  /// Digits of a time: thirteen until the year 2286.
  private static let digitCountMax = 16

  /// What a master says of itself, as AWS' C SDK does.
  private static let masterContent = "This message is from the KVS Master"

  private let firstFromViewer: String
  private(set) var firstFromMaster: String
  private let secondFromViewer: String
  private(set) var secondFromMaster: String
  private let lastFromViewer: String

  /// What a master does about such a message.
  enum Answer: Hashable {
    /// It sends this one back.
    case stamped(TimestampMessage)
    /// It tells how the connection came about.
    case timeline
    /// Nothing: both times of ours are in, and the next one is the viewer's. So no two programs send it to each
    /// other without end.
    case none
  }

  /// Reads a text; `nil` for any that is not exactly such a message.
  init?(parsing text: some Collection<UInt8>) {
    // The decoder looks at the characters of those members alone that it is asked for.
    guard text.count <= Self.byteCountMax, text.first == UInt8(ascii: "{"),
      String(validating: text, as: UTF8.self) != nil,
      let members = try? JSONDecoder().decode(Members.self, from: Data(text))
    else { return nil }
    let times = [
      members.firstMessageFromViewerTs, members.firstMessageFromMasterTs ?? "",
      members.secondMessageFromViewerTs ?? "", members.secondMessageFromMasterTs ?? "",
      members.lastMessageFromViewerTs ?? "",
    ]
    guard times.allSatisfy(Self.isTime), !times[0].isEmpty else { return nil }
    firstFromViewer = times[0]
    firstFromMaster = times[1]
    secondFromViewer = times[2]
    secondFromMaster = times[3]
    lastFromViewer = times[4]
  }

  /// What the message asks of a master now.
  ///
  /// - Parameter unixMilliseconds: the wall clock's time.
  func answer(unixMilliseconds: Int64) -> Answer {
    guard lastFromViewer.isEmpty else { return .timeline }
    var message = self
    if firstFromMaster.isEmpty {
      message.firstFromMaster = String(unixMilliseconds)
    } else if secondFromMaster.isEmpty, !secondFromViewer.isEmpty {
      message.secondFromMaster = String(unixMilliseconds)
    } else {
      return .none
    }
    return .stamped(message)
  }

  /// The message as JSON, with a master's remark; digits need no escaping.
  var text: String {
    let members = [
      ("content", Self.masterContent),
      ("firstMessageFromViewerTs", firstFromViewer), ("firstMessageFromMasterTs", firstFromMaster),
      ("secondMessageFromViewerTs", secondFromViewer), ("secondMessageFromMasterTs", secondFromMaster),
      ("lastMessageFromViewerTs", lastFromViewer),
    ]
    return "{" + members.map { #""\#($0)":"\#($1)""# }.joined(separator: ",") + "}"
  }

  private static func isTime(_ text: String) -> Bool {
    text.utf8.count <= digitCountMax
      && text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
  }

  private struct Members: Decodable {
    let content: String?
    let firstMessageFromViewerTs: String
    let firstMessageFromMasterTs: String?
    let secondMessageFromViewerTs: String?
    let secondMessageFromMasterTs: String?
    let lastMessageFromViewerTs: String?
  }
}
