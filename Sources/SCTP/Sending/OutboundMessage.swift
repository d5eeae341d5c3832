// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// How a message shall be delivered.
public struct DeliveryOptions: Hashable, Sendable {
  /// Whether it may overtake earlier messages of its stream.
  public var isUnordered: Bool
  /// How often a piece may be sent again before the message is given up; `nil` without end (RFC 7496 §4.1).
  public var retransmissionsMax: UInt16?
  /// How long the message is worth sending; `nil` for ever (RFC 3758 §4.1).
  public var lifetime: TimeDelta?

  /// Reliable and ordered, unless said otherwise.
  public init(isUnordered: Bool = false, retransmissionsMax: UInt16? = nil, lifetime: TimeDelta? = nil) {
    self.isUnordered = isUnordered
    self.retransmissionsMax = retransmissionsMax
    self.lifetime = lifetime
  }
}

/// A message on its way out: its bytes stay where they are; fragments point into them.
struct OutboundMessage {
  let stream: StreamID
  let payloadProtocol: PayloadProtocol
  var bytes: [UInt8]
  let isUnordered: Bool
  let retransmissionsMax: UInt16?
  /// When it is given up.
  let expiry: Instant?
  /// SSN or message identifier; given when the first fragment goes out.
  var messageID: UInt32 = 0
  /// Bytes that were cut to fragments.
  var sentByteCount = 0
  var nextFragment: UInt32 = 0
  /// Chunks of it that the retransmission queue still holds.
  var chunkCount = 0
  var isAbandoned = false
  /// Its place among all messages, in the order in which they were handed in.
  var arrival: UInt64 = 0

  init(
    stream: StreamID, payloadProtocol: PayloadProtocol, bytes: [UInt8], options: DeliveryOptions,
    at now: Instant
  ) {
    self.stream = stream
    self.payloadProtocol = payloadProtocol
    self.bytes = bytes
    isUnordered = options.isUnordered
    retransmissionsMax = options.retransmissionsMax
    expiry = options.lifetime.map { now + $0 }
  }

  var isCut: Bool { sentByteCount == bytes.count }
  /// Whether it is cut in part.
  var isBegun: Bool { sentByteCount > 0 && !isCut }

  func isExpired(at now: Instant) -> Bool {
    guard let expiry else { return false }
    return expiry <= now
  }
}

/// The messages on their way out, each at an index that holds until all of it is done with.
struct MessageStore {
  private var slots: [OutboundMessage] = []
  private var free: [Int] = []
  /// Bytes of all messages, sent or not.
  private(set) var byteCount = 0

  /// How many messages there are.
  var count: Int { slots.count - free.count }

  mutating func insert(_ message: OutboundMessage) -> Int {
    byteCount += message.bytes.count
    if let index = free.popLast() {
      slots[index] = message
      return index
    }
    slots.append(message)
    return slots.count - 1
  }

  /// Lets a message go; its index may be given to another one.
  mutating func remove(_ index: Int) {
    byteCount -= slots[index].bytes.count
    slots[index].bytes = []
    free.append(index)
  }

  /// The message at an index that ``insert(_:)`` gave.
  subscript(index: Int) -> OutboundMessage {
    @inline(__always)
    _read { yield slots[index] }
    @inline(__always)
    _modify { yield &slots[index] }
  }

  /// Removes a message that is cut to the end or given up, once no chunk points to it.
  mutating func removeIfDone(_ index: Int) {
    if slots[index].chunkCount == 0, slots[index].isCut || slots[index].isAbandoned { remove(index) }
  }
}
