// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// A piece of a message, cut for one chunk.
struct Fragment {
  /// Where the message is in the ``MessageStore``.
  var message: Int
  var offset: Int
  var byteCount: Int
  var flags: DataChunk.Flags
  var stream: StreamID
  var messageID: UInt32
  var number: UInt32
  var payloadProtocol: PayloadProtocol
}

/// The messages that wait to be cut into chunks, by stream.
///
/// Without I-DATA the fragments of a message must have successive TSNs (RFC 9260 §6.9), so a stream that began
/// a long message keeps the association until its end; with I-DATA streams alternate fragment by fragment.
/// How many long messages alternate is bounded by what the peer can hold of incomplete ones: with all of them
/// begun and none complete, its window would be full for ever.
struct SendQueue {
  private struct Stream {
    let id: StreamID
    var queue = RingBuffer<Int>()
    var nextOrdered: UInt32 = 0
    var nextUnordered: UInt32 = 0
    /// Payload bytes that are not cut yet.
    var bufferedByteCount = 0
    var lowThreshold = 0
    var isLowReported = true
    var entry = StreamScheduler.Entry()
  }

  /// All messages that are not done with, cut or not.
  var messages = MessageStore()
  /// Whether I-DATA is used; known when the handshake is over.
  var isInterleaved = false
  /// Streams whose buffer fell to their threshold since the last look.
  var streamsBelowThreshold = RingBuffer<StreamID>()
  /// Payload bytes that are not cut yet, of all streams.
  private(set) var bufferedByteCount = 0
  /// Messages that were given up before any of them was sent.
  private(set) var expiredCount: UInt64 = 0
  private var streams: [Stream] = []
  private var indexes: [StreamID: Int] = [:]
  private var active: [Int] = []
  /// The stream whose message is cut in part, when it may not be left.
  private var current: Int?
  /// Bytes of the messages that are cut in part.
  private(set) var begunByteCount = 0
  /// So many bytes are begun at most, or one message.
  var begunByteCountMax = Int.max
  /// Whether any message had a lifetime.
  private var hasLifetimes = false
  private var scheduler: StreamScheduler
  private var arrivals: UInt64 = 0

  init(policy: SchedulingPolicy) { scheduler = StreamScheduler(policy: policy) }

  var isEmpty: Bool { active.isEmpty }

  private mutating func index(of stream: StreamID) -> Int {
    if let index = indexes[stream] { return index }
    streams.append(Stream(id: stream))
    indexes[stream] = streams.count - 1
    return streams.count - 1
  }

  func bufferedByteCount(of stream: StreamID) -> Int {
    indexes[stream].map { streams[$0].bufferedByteCount } ?? 0
  }

  func isEmpty(_ stream: StreamID) -> Bool { indexes[stream].map { streams[$0].queue.isEmpty } ?? true }

  mutating func setPriority(_ priority: UInt16, of stream: StreamID) {
    streams[index(of: stream)].entry.priority = priority
  }

  mutating func setLowThreshold(_ byteCount: Int, of stream: StreamID) {
    let index = index(of: stream)
    streams[index].lowThreshold = byteCount
    streams[index].isLowReported = streams[index].bufferedByteCount <= byteCount
  }

  /// Queues a message behind the others of its stream.
  mutating func append(_ message: OutboundMessage) {
    let index = index(of: message.stream)
    bufferedByteCount += message.bytes.count
    streams[index].bufferedByteCount += message.bytes.count
    if streams[index].bufferedByteCount > streams[index].lowThreshold { streams[index].isLowReported = false }
    arrivals += 1
    if message.expiry != nil { hasLifetimes = true }
    if streams[index].queue.isEmpty {
      streams[index].entry.arrival = arrivals
      scheduler.activate(&streams[index].entry)
      active.append(index)
    }
    let stored = messages.insert(message)
    messages[stored].arrival = arrivals
    streams[index].queue.append(stored)
  }

  /// Cuts the next fragment to at most `room` payload bytes; `nil` when nothing waits or the room is too small.
  mutating func nextFragment(room: Int, at now: Instant) -> Fragment? {
    while let index = current ?? chosen() {
      guard let message = streams[index].queue.first else { return nil }
      if messages[message].sentByteCount == 0, messages[message].isExpired(at: now) {
        expiredCount += 1
        messages[message].isAbandoned = true
        dropFirst(of: index)
        messages.removeIfDone(message)
        continue
      }
      let remaining = messages[message].bytes.count - messages[message].sentByteCount
      guard remaining <= room || room >= SCTPLimits.fragmentByteCountMin else { return nil }
      return cut(message, of: index, byteCount: min(remaining, room))
    }
    return nil
  }

  /// A message that is cut in part and worth nothing any more.
  func expiredPart(at now: Instant) -> Int? {
    guard hasLifetimes, begunByteCount > 0 else { return nil }
    for index in active {
      if let front = streams[index].queue.first, messages[front].isBegun, messages[front].isExpired(at: now) {
        return front
      }
    }
    return nil
  }

  private func chosen() -> Int? {
    guard active.count > 1 else { return active.first }
    let mayBegin = begunByteCount == 0 || begunByteCountMax == .max
    var best: Int?
    for candidate in active where mayBegin || fitsBegun(candidate) {
      if let leader = best, !scheduler.precedes(streams[candidate].entry, streams[leader].entry) { continue }
      best = candidate
    }
    return best ?? active.first
  }

  /// Whether the message at a stream's front is begun already, or may be beside those that are.
  private func fitsBegun(_ index: Int) -> Bool {
    guard let front = streams[index].queue.first else { return false }
    let byteCount = messages[front].bytes.count
    return messages[front].sentByteCount > 0 || byteCount <= SCTPLimits.shortByteCount
      || begunByteCount + byteCount <= begunByteCountMax
  }

  private mutating func cut(_ message: Int, of index: Int, byteCount: Int) -> Fragment {
    var flags: DataChunk.Flags = []
    let isUnordered = messages[message].isUnordered
    if isUnordered { flags.insert(.unordered) }
    if messages[message].sentByteCount == 0 {
      flags.insert(.beginning)
      messages[message].messageID = takeNumber(of: index, isUnordered: isUnordered)
    }
    let fragment = Fragment(
      message: message, offset: messages[message].sentByteCount, byteCount: byteCount, flags: flags,
      stream: streams[index].id, messageID: messages[message].messageID,
      number: messages[message].nextFragment, payloadProtocol: messages[message].payloadProtocol)
    let wasBegun = messages[message].isBegun
    messages[message].sentByteCount += byteCount
    if messages[message].isBegun != wasBegun {
      begunByteCount += (wasBegun ? -1 : 1) * messages[message].bytes.count
    }
    messages[message].nextFragment += 1
    messages[message].chunkCount += 1
    scheduler.charge(&streams[index].entry, byteCount: byteCount)
    uncount(byteCount, of: index)
    guard messages[message].isCut else {
      if !isInterleaved { current = index }
      return fragment
    }
    var last = fragment
    last.flags.insert(.end)
    popFirst(of: index)
    return last
  }

  /// Ordered messages count; unordered ones count by themselves with I-DATA and not at all without.
  private mutating func takeNumber(of index: Int, isUnordered: Bool) -> UInt32 {
    if isUnordered {
      defer { if isInterleaved { streams[index].nextUnordered &+= 1 } }
      return streams[index].nextUnordered
    }
    defer { streams[index].nextOrdered &+= 1 }
    return streams[index].nextOrdered
  }

  private mutating func uncount(_ byteCount: Int, of index: Int) {
    bufferedByteCount -= byteCount
    streams[index].bufferedByteCount -= byteCount
    if !streams[index].isLowReported, streams[index].bufferedByteCount <= streams[index].lowThreshold {
      streams[index].isLowReported = true
      streamsBelowThreshold.append(streams[index].id)
    }
  }

  /// Takes the front message out of its stream's queue, uncut bytes included.
  private mutating func dropFirst(of index: Int) {
    guard let message = streams[index].queue.first else { return }
    uncount(messages[message].bytes.count - messages[message].sentByteCount, of: index)
    if messages[message].isBegun { begunByteCount -= messages[message].bytes.count }
    popFirst(of: index)
  }

  private mutating func popFirst(of index: Int) {
    streams[index].queue.popFirst()
    if current == index { current = nil }
    if let next = streams[index].queue.first {
      streams[index].entry.arrival = messages[next].arrival
      return
    }
    active.removeAll { $0 == index }
  }

  /// Gives up a message of which chunks went out: what is not cut yet never will be.
  mutating func abandon(_ message: Int) {
    guard !messages[message].isAbandoned else { return }
    messages[message].isAbandoned = true
    guard !messages[message].isCut, let index = indexes[messages[message].stream],
      streams[index].queue.first == message
    else { return }
    dropFirst(of: index)
  }

  /// A chunk of a message is done with.
  mutating func release(_ message: Int) {
    messages[message].chunkCount -= 1
    messages.removeIfDone(message)
  }

  /// Drops all that waits on a stream and was not begun. A message that is cut in part stays at its front, and
  /// keeps the association if it has it.
  mutating func discard(_ stream: StreamID) {
    guard let index = indexes[stream], !streams[index].queue.isEmpty else { return }
    var waiting = streams[index].queue
    streams[index].queue.removeAll()
    if let front = waiting.first, messages[front].sentByteCount > 0 {
      waiting.popFirst()
      streams[index].queue.append(front)
    }
    while let message = waiting.popFirst() {
      uncount(messages[message].bytes.count, of: index)
      messages[message].isAbandoned = true
      messages.removeIfDone(message)
    }
    if streams[index].queue.isEmpty { active.removeAll { $0 == index } }
  }

  /// Numbers begin anew on these streams (RFC 6525 §5.1.2).
  mutating func reset(_ ids: [StreamID]) {
    for id in ids {
      guard let index = indexes[id] else { continue }
      streams[index].nextOrdered = 0
      streams[index].nextUnordered = 0
    }
  }

  /// Streams on which something waits or was ever sent, for a reset of all.
  var knownStreams: [StreamID] { streams.map(\.id) }
}
