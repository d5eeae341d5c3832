// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import SansIO

/// One WebSocket of the signaling hub, for as long as the process lives.
public struct SignalingConnectionID: Hashable, Sendable, CustomStringConvertible {
  /// Counts up from 1.
  public let rawValue: UInt64

  /// The number with a mark before it.
  public var description: String { "connection \(rawValue)" }
}

/// The WebSocket close codes that the stand-in uses (RFC 6455 §7.4.1).
public enum SignalingCloseCode: UInt16, Sendable {
  /// Replaced, idle, at the end of its life, or the channel or the server is gone.
  case goingAway = 1001
  /// A frame that breaks RFC 6455.
  case protocolError = 1002
  /// A binary message.
  case unsupportedData = 1003
  /// A text message that is not UTF-8.
  case invalidData = 1007
  /// Nothing but faults, or a reader that is too slow.
  case policyViolation = 1008
  /// A message above the limit.
  case messageTooBig = 1009
}

/// The hub's state of one WebSocket.
struct SignalingConnection: Sendable {
  let role: SignalingRole
  let channelARN: String
  /// Last frame in either direction.
  var lastActivity: Instant
  /// When the client is asked to come back; `nil` once it was.
  var goAwayDeadline: Instant?
  /// When the connection ends, whatever the client does.
  var endDeadline: Instant
  var descriptionRate: TokenBucket
  var candidateRate: TokenBucket
  /// Frames that could not be used.
  var faultCount = 0

  /// The viewer's id; `nil` for a master.
  var clientID: String? {
    if case .viewer(let clientID) = role { clientID } else { nil }
  }
}
