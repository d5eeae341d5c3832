// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// A data channel of one connection, by the number that we gave it; not the stream it uses.
public struct DataChannelID: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
  /// The number.
  public let rawValue: Int
  /// Wraps a number.
  public init(rawValue: Int) { self.rawValue = rawValue }
  /// The number, for logs.
  public var description: String { "channel \(rawValue)" }
}

/// What a data channel promises; both sides know it (W3C `RTCDataChannelInit`, RFC 8832 §5.1).
public struct DataChannelParameters: Hashable, Sendable {
  /// What becomes of messages that get lost.
  public enum Reliability: Hashable, Sendable {
    /// They are sent until they arrive.
    case reliable
    /// They are sent again at most so often.
    case retransmissions(UInt16)
    /// They are sent for so long.
    case lifetime(milliseconds: UInt16)
  }

  /// How important a channel is beside others (RFC 8831 §6.4).
  public enum Priority: UInt16, Hashable, Sendable {
    /// Half as much as ``low``.
    case veryLow = 128
    /// What channels have unless said otherwise.
    case low = 256
    /// Twice as much as ``low``.
    case medium = 512
    /// Four times as much as ``low``.
    case high = 1024

    /// RFC 8832 §8.2.2 orders all values; each is taken as the nearest step that is not above it.
    init(wire: UInt16) {
      self = wire >= 1024 ? .high : wire >= 512 ? .medium : wire >= 256 || wire == 0 ? .low : .veryLow
    }
  }

  /// A name; need not be unique. At most 65,535 bytes of UTF-8.
  public var label: String
  /// The name of a protocol that the applications speak. At most 65,535 bytes of UTF-8.
  public var subprotocol: String
  /// Whether messages arrive in order.
  public var isOrdered: Bool
  /// What becomes of messages that get lost.
  public var reliability: Reliability
  /// How important the channel is.
  public var priority: Priority
  /// The stream, where both applications agreed on it by themselves ("negotiated"): nothing is said in-band.
  public var negotiatedStream: StreamID?

  /// Reliable and ordered, opened in-band, unless said otherwise.
  public init(
    label: String, subprotocol: String = "", isOrdered: Bool = true, reliability: Reliability = .reliable,
    priority: Priority = .low, negotiatedStream: StreamID? = nil
  ) {
    self.label = label
    self.subprotocol = subprotocol
    self.isOrdered = isOrdered
    self.reliability = reliability
    self.priority = priority
    self.negotiatedStream = negotiatedStream
  }

  var byteCount: Int { label.utf8.count + subprotocol.utf8.count }
}

/// A message of a data channel: text or bytes, possibly empty.
public struct DataChannelMessage: Hashable, Sendable {
  /// Whether the sender meant text; then the bytes should be UTF-8, but a peer may lie.
  public var isText: Bool
  /// The content.
  public var bytes: [UInt8]

  /// The text, `nil` for bytes. What is not UTF-8 in it is replaced by U+FFFD, as browsers do.
  public var text: String? { isText ? String(decoding: bytes, as: UTF8.self) : nil }

  /// A message of bytes.
  public init(_ bytes: [UInt8]) {
    isText = false
    self.bytes = bytes
  }

  /// A message of text.
  public init(text: String) {
    isText = true
    bytes = Array(text.utf8)
  }

  init(isText: Bool, bytes: [UInt8]) {
    self.isText = isText
    self.bytes = bytes
  }
}

/// Where a channel stands (W3C `RTCDataChannelState`).
public enum DataChannelState: Hashable, Sendable {
  /// The association does not stand yet.
  case connecting
  /// Messages may be sent.
  case open
  /// One side wants to close; what waits is still being sent.
  case closing
  /// Over; its stream may serve another channel.
  case closed
}

/// Why something cannot be done with a channel.
public enum DataChannelError: Error, Hashable, Sendable {
  /// There is no such channel, or it is not open.
  case notOpen
  /// Longer than the peer takes (`max-message-size` of its description).
  case messageTooLong(limit: Int)
  /// Too much waits already; try again below the low threshold.
  case bufferFull
  /// The stream's number is taken, or not one that this connection has.
  case streamUnavailable
  /// As many channels as there may be.
  case tooManyChannels
  /// Label or protocol has more than 65,535 bytes.
  case nameTooLong
  /// The task that waited was cancelled; nothing was sent. Only of calls that wait.
  case cancelled
}

/// What a channel did so far (W3C `RTCDataChannelStats`).
public struct DataChannelStatistics: Hashable, Sendable {
  /// Messages handed in.
  public internal(set) var messagesSent: UInt64 = 0
  /// Their bytes.
  public internal(set) var bytesSent: UInt64 = 0
  /// Messages that arrived.
  public internal(set) var messagesReceived: UInt64 = 0
  /// Their bytes.
  public internal(set) var bytesReceived: UInt64 = 0
}

/// A channel of which our side is reset and the peer's is not, and until when that may last.
struct AwaitedReset {
  var channel: DataChannelID
  var deadline: Instant
}

/// What is known of a channel that is not closed.
struct DataChannelRecord {
  var parameters: DataChannelParameters
  var state: DataChannelState
  /// `nil` until the DTLS roles are known, for channels opened in-band.
  var stream: StreamID?
  /// Until the peer acknowledged our OPEN, messages have to be ordered so as not to overtake it
  /// (RFC 8832 §6).
  var awaitsAck = false
  /// At which amount of waiting bytes the application is told.
  var lowThreshold = 0
  /// Whether the peer reset its side of the stream, and ours is reset.
  var isIncomingReset = false
  var isOutgoingReset = false
  var statistics = DataChannelStatistics()

  var options: DeliveryOptions {
    var options = DeliveryOptions(isUnordered: !parameters.isOrdered && !awaitsAck)
    switch parameters.reliability {
    case .reliable: break
    case .retransmissions(let count): options.retransmissionsMax = count
    case .lifetime(let milliseconds): options.lifetime = .milliseconds(Int64(milliseconds))
    }
    return options
  }
}
