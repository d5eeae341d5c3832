// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import SansIO

/// The messages of one channel whose recipient is not connected, oldest first.
///
/// Each lives for the time that the channel gave it. A new description of a sender takes the place of its pending
/// one; candidates queue in order. What was taken out once is never handed out again.
struct HeldMessages: Sendable {
  /// Whom a message is for.
  enum Recipient: Hashable, Sendable {
    case master
    case viewer(clientID: String)
  }

  /// One message, ready to be sent.
  struct Message: Sendable {
    let recipient: Recipient
    /// The viewer that sent it; `nil` for the master.
    let senderClientID: String?
    /// Offer, answer or candidate.
    let kind: SignalingMessage.Kind
    /// The frame to deliver.
    let frame: String
    /// When it is dropped.
    let expiry: Instant
  }

  /// What became of a message that was added.
  enum Outcome: Sendable {
    case held
    case replacedOlder
    case refused
  }

  /// Most messages of one channel: ten viewers with an offer and fifty candidates each, twice.
  static let countMax = 1024
  /// Most bytes of one channel's messages: a hundred offers of full length with their candidates.
  static let byteCountMax = 2 << 20

  private(set) var messages: [Message] = []
  private(set) var byteCount = 0

  var isEmpty: Bool { messages.isEmpty }

  /// When the first message expires.
  var nextDeadline: Instant? {
    messages.reduce(nil) { Instant.earliest($0, $1.expiry) }
  }

  /// Adds a message, in place of its sender's pending description if it is one.
  mutating func append(_ message: Message) -> Outcome {
    var replaced = false
    if message.kind.isDescription {
      replaced =
        remove { held in
          held.kind.isDescription && held.recipient == message.recipient
            && held.senderClientID == message.senderClientID
        } > 0
    }
    let size = message.frame.utf8.count
    guard messages.count < Self.countMax, byteCount + size <= Self.byteCountMax else { return .refused }
    messages.append(message)
    byteCount += size
    return replaced ? .replacedOlder : .held
  }

  /// Takes out what is for a recipient and still lives, in the order of its coming.
  mutating func take(for recipient: Recipient, at now: Instant) -> [Message] {
    let result = messages.filter { $0.recipient == recipient && $0.expiry > now }
    _ = remove { $0.recipient == recipient }
    return result
  }

  /// Drops what has expired and returns how many that were.
  mutating func removeExpired(at now: Instant) -> Int { remove { $0.expiry <= now } }

  private mutating func remove(where condition: (Message) -> Bool) -> Int {
    let before = messages.count
    messages.removeAll(where: condition)
    guard messages.count != before else { return 0 }
    byteCount = messages.reduce(0) { $0 + $1.frame.utf8.count }
    return before - messages.count
  }
}
