// SPDX-License-Identifier: Apache-2.0

/// Applies each stream's order to whole messages (RFC 9260 §6.6).
struct InboundStreams {
  /// What one stream waits for.
  private struct Stream {
    /// The message that comes next; raised by 2^32, so that none before it is negative.
    var next: Int64 = 1 << 32
    var waiting = WaitingMessages()
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

  /// What becomes of a message.
  enum Disposition {
    /// It may be delivered now; ask ``popReady(_:)`` for those that waited for it.
    case ready
    /// An earlier one is missing.
    case waits
    /// Its number came before: the peer repeats itself.
    case repeated
  }

  /// Judges a message, and keeps it if it has to wait.
  mutating func take(_ message: AssembledMessage) -> Disposition {
    guard !message.isUnordered else { return .ready }
    let next = streams[message.stream, default: Stream()].next
    let number = extend(message.messageID, near: next)
    guard number >= next else { return .repeated }
    guard number > next else {
      streams[message.stream, default: Stream()].next = next + 1
      return .ready
    }
    streams[message.stream, default: Stream()].waiting.insert(message, number: number)
    byteCount += message.chargedByteCount
    waitingCount += 1
    return .waits
  }

  /// The message that is next on a stream, if it waits here.
  mutating func popReady(_ stream: StreamID) -> AssembledMessage? {
    guard waitingCount > 0, let next = streams[stream]?.next else { return nil }
    dropRepeated(on: stream, before: next)
    guard streams[stream]?.waiting.lowest == next, let message = popLowest(of: stream) else { return nil }
    streams[stream]?.next = next + 1
    return message
  }

  private mutating func popLowest(of stream: StreamID) -> AssembledMessage? {
    guard let message = streams[stream]?.waiting.popLowest() else { return nil }
    byteCount -= message.chargedByteCount
    waitingCount -= 1
    return message
  }

  /// Lets go of a second message of a number that was delivered: the peer repeated itself while the first
  /// one waited.
  private mutating func dropRepeated(on stream: StreamID, before next: Int64) {
    while let lowest = streams[stream]?.waiting.lowest, lowest < next { _ = popLowest(of: stream) }
  }

  /// The sender gave up a message: those that wait before it are handed out, in order (RFC 3758 §3.6).
  mutating func skip(_ skipped: ForwardTSN.Skipped) -> [AssembledMessage] {
    guard !skipped.isUnordered else { return [] }
    let stream = skipped.stream
    var next = streams[stream, default: Stream()].next
    let last = extend(skipped.messageID, near: next)
    guard last >= next else { return [] }
    var ready: [AssembledMessage] = []
    while let lowest = streams[stream]?.waiting.lowest, lowest <= last,
      let message = popLowest(of: stream)
    {
      guard lowest >= next else { continue }
      ready.append(message)
      next = lowest + 1
    }
    streams[stream, default: Stream()].next = last + 1
    return ready
  }

  /// The peer counts anew on a stream (RFC 6525 §5.2.2).
  mutating func reset(_ stream: StreamID) {
    guard let gone = streams.removeValue(forKey: stream) else { return }
    byteCount -= gone.waiting.chargedByteCount
    waitingCount -= gone.waiting.count
  }

  /// All streams at once.
  mutating func resetAll() {
    streams = [:]
    (byteCount, waitingCount) = (0, 0)
  }
}
