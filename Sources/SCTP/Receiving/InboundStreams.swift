// SPDX-License-Identifier: Apache-2.0

/// Applies each stream's order to whole messages (RFC 9260 §6.6).
struct InboundStreams {
  /// What one stream waits for.
  private struct Stream {
    /// The message that comes next; raised by 2^32, so that none before it is negative.
    var next: Int64 = 1 << 32
    var waiting: [Int64: AssembledMessage] = [:]
  }

  /// Streams that carried an ordered message: at most as many as the handshake allowed.
  private var streams: [StreamID: Stream] = [:]
  private let isInterleaved: Bool
  /// What the waiting messages weigh.
  private(set) var byteCount = 0
  /// How many messages wait for an earlier one.
  private(set) var waitingCount = 0

  init(isInterleaved: Bool) { self.isInterleaved = isInterleaved }

  private func extend(_ messageID: UInt32, near reference: Int64) -> Int64 {
    isInterleaved
      ? SerialNumber.extend(messageID, near: reference) : SerialNumber.extend16(messageID, near: reference)
  }

  /// Takes a message and hands on what may be delivered now, in order. False for a number that came before:
  /// the peer repeats itself.
  mutating func insert(_ message: AssembledMessage, deliver: (AssembledMessage) -> Void) -> Bool {
    guard !message.isUnordered else {
      deliver(message)
      return true
    }
    let stream = message.stream
    let next = streams[stream, default: Stream()].next
    let number = extend(message.messageID, near: next)
    guard number >= next else { return false }
    guard number == next else {
      guard streams[stream, default: Stream()].waiting.updateValue(message, forKey: number) == nil else {
        return false
      }
      byteCount += message.chargedByteCount
      waitingCount += 1
      return true
    }
    deliver(message)
    streams[stream, default: Stream()].next = next + 1
    if waitingCount > 0 { release(stream, deliver) }
    return true
  }

  /// Hands on the messages that waited for the one before.
  private mutating func release(_ stream: StreamID, _ deliver: (AssembledMessage) -> Void) {
    while let next = streams[stream]?.next,
      let message = streams[stream]?.waiting.removeValue(forKey: next)
    {
      byteCount -= message.chargedByteCount
      waitingCount -= 1
      streams[stream]?.next = next + 1
      deliver(message)
    }
  }

  /// The sender gave up a message: those complete before it go out, then what it held up (RFC 3758 §3.6).
  mutating func skip(_ skipped: ForwardTSN.Skipped, deliver: (AssembledMessage) -> Void) {
    guard !skipped.isUnordered else { return }
    let stream = skipped.stream
    let next = streams[stream, default: Stream()].next
    let last = extend(skipped.messageID, near: next)
    guard last >= next else { return }
    for number in (streams[stream]?.waiting.keys.filter { $0 <= last } ?? []).sorted() {
      guard let message = streams[stream]?.waiting.removeValue(forKey: number) else { continue }
      byteCount -= message.chargedByteCount
      waitingCount -= 1
      deliver(message)
    }
    streams[stream, default: Stream()].next = last + 1
    release(stream, deliver)
  }

  /// The peer counts anew on a stream (RFC 6525 §5.2.2).
  mutating func reset(_ stream: StreamID) {
    guard let gone = streams.removeValue(forKey: stream) else { return }
    for message in gone.waiting.values { byteCount -= message.chargedByteCount }
    waitingCount -= gone.waiting.count
  }

  /// All streams at once.
  mutating func resetAll() {
    streams = [:]
    (byteCount, waitingCount) = (0, 0)
  }
}
