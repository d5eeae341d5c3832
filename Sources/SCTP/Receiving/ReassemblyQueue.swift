// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// A whole message as the peer sent it, before its stream's order is applied.
struct AssembledMessage {
  var stream: StreamID
  var isUnordered: Bool
  /// SSN or message identifier as on the wire.
  var messageID: UInt32
  var payloadProtocol: PayloadProtocol
  var bytes: [UInt8]

  /// What it weighs in the receive window.
  var chargedByteCount: Int { bytes.count + SCTPLimits.entryByteCount }
}

/// Puts fragments together (RFC 9260 §6.9, RFC 8260 §2.2).
///
/// Fragments of a DATA message have successive TSNs, those of an I-DATA message successive fragment numbers
/// within their message. Either way a fragment has a *position* (group, number), and what is stored are *runs*:
/// successive fragments of one message, in one array of bytes. A fragment that follows a run is appended to
/// it, so a message that arrives in order is copied once and leaves as it is.
struct ReassemblyQueue {
  /// What became of a fragment.
  enum Outcome {
    case stored
    case complete(AssembledMessage)
    /// No room for a further run; treat the chunk as lost.
    case refused
    /// No room for the message to grow; treat the chunk as lost.
    case full
    /// The message is longer than we take, or pieces do not belong together.
    case violation(ErrorCause)
  }

  private struct Run {
    var group: UInt64
    var first: Int64
    /// The number that would continue the run.
    var next: Int64
    var begins: Bool
    var ends: Bool
    var stream: StreamID
    var isUnordered: Bool
    var messageID: UInt32
    var payloadProtocol: PayloadProtocol
    var bytes: [UInt8]
    /// What was reserved for the bytes. Not the array's own capacity, which depends on the allocator: the window that
    /// the peer is told follows from this, and the same run has to make the same packets.
    var reservedByteCount: Int

    var chargedByteCount: Int { reservedByteCount + SCTPLimits.entryByteCount }

    /// Makes room for so many bytes in all.
    mutating func reserve(_ byteCount: Int) {
      guard byteCount > reservedByteCount else { return }
      reservedByteCount = byteCount
      bytes.reserveCapacity(byteCount)
    }
  }

  /// Ascending by group and number.
  private var runs: [Run] = []
  /// The run that grew last: most fragments continue it.
  private var latest = 0
  /// The length of the latest long message: the next one is probably as long.
  private var typicalByteCount = 0
  private let messageByteCountMax: Int
  /// What the stored runs cost, what is reserved for them included.
  private(set) var byteCount = 0
  /// Bytes that were moved because an array grew or runs were joined, beside the one copy that each fragment
  /// costs. Tests watch that it stays within a few times what arrived.
  private(set) var movedByteCount = 0

  init(messageByteCountMax: Int) { self.messageByteCountMax = messageByteCountMax }

  /// How many pieces wait.
  var runCount: Int { runs.count }

  private static func group(of chunk: DataChunk) -> UInt64 {
    guard chunk.isInterleaved else { return 0 }
    return group(chunk.stream, isUnordered: chunk.flags.contains(.unordered)) | UInt64(chunk.messageID)
  }

  private static func group(_ stream: StreamID, isUnordered: Bool) -> UInt64 {
    UInt64(stream.rawValue) << 33 | (isUnordered ? 1 << 32 : 0)
  }

  /// What a fragment may make us hold beyond its own bytes.
  struct Spare {
    /// Where its message cannot grow otherwise, bytes.
    var needed = Int.max
    /// For what only saves moving bytes later.
    var convenient = Int.max
  }

  /// Takes a fragment whose TSN is new.
  mutating func insert(
    _ chunk: DataChunk, tsn: Int64, payload: RawSpan, spare: Spare = Spare()
  ) -> Outcome {
    guard payload.byteCount <= messageByteCountMax else { return .violation(.outOfResource) }
    if chunk.flags.contains(.beginning), chunk.flags.contains(.end) {
      return .complete(
        AssembledMessage(
          stream: chunk.stream, isUnordered: chunk.flags.contains(.unordered), messageID: chunk.messageID,
          payloadProtocol: chunk.payloadProtocol, bytes: [UInt8](copying: payload)))
    }
    let group = Self.group(of: chunk)
    let number = chunk.isInterleaved ? Int64(chunk.fragment) : tsn
    if latest < runs.count, continues(latest, group, number, chunk) {
      return append(chunk, payload, to: latest, spare: spare)
    }
    let index = firstRun(notBefore: group, number)
    if index > 0, continues(index - 1, group, number, chunk) {
      return append(chunk, payload, to: index - 1, spare: spare)
    }
    if index < runs.count, runs[index].group == group, runs[index].first == number { return .stored }
    guard runs.count < SCTPLimits.runsMax else { return .refused }
    start(chunk, payload, group, number, at: index, spare: spare)
    return completed(around: index)
  }

  @inline(__always)
  private func continues(_ index: Int, _ group: UInt64, _ number: Int64, _ chunk: DataChunk) -> Bool {
    runs[index].next == number && runs[index].group == group && !runs[index].ends
      && !chunk.flags.contains(.beginning)
  }

  private mutating func start(
    _ chunk: DataChunk, _ payload: RawSpan, _ group: UInt64, _ number: Int64, at index: Int, spare: Spare
  ) {
    var run = Run(
      group: group, first: number, next: number + 1, begins: chunk.flags.contains(.beginning),
      ends: chunk.flags.contains(.end), stream: chunk.stream, isUnordered: chunk.flags.contains(.unordered),
      messageID: chunk.messageID, payloadProtocol: chunk.payloadProtocol, bytes: [], reservedByteCount: 0)
    // A quarter of what is left at most: a peer that begins message after message pays for it.
    if run.begins { run.reserve(min(typicalByteCount, max(spare.convenient, 0) / 4)) }
    run.reserve(payload.byteCount)
    run.bytes.append(copying: payload)
    byteCount += run.chargedByteCount
    runs.insert(run, at: index)
    latest = index
  }

  private mutating func append(
    _ chunk: DataChunk, _ payload: RawSpan, to index: Int, spare: Spare
  ) -> Outcome {
    guard runs[index].stream == chunk.stream, chunk.isInterleaved || runs[index].messageID == chunk.messageID,
      runs[index].isUnordered == chunk.flags.contains(.unordered)
    else { return .violation(.protocolViolation) }
    let length = runs[index].bytes.count + payload.byteCount
    guard length <= messageByteCountMax else { return .violation(.outOfResource) }
    guard makeRoom(for: length, in: index, spare: spare) else { return .full }
    runs[index].bytes.append(copying: payload)
    runs[index].next += 1
    latest = index
    if chunk.flags.contains(.end) { runs[index].ends = true }
    let meetsNext = index + 1 < runs.count && joins(index)
    guard runs[index].ends || meetsNext else { return .stored }
    return completed(around: index)
  }

  /// Lets a run grow to `length`: to twice that where that is convenient, but never by less than an eighth, so that
  /// each byte is moved a few times at most. Returns whether it may.
  private mutating func makeRoom(for length: Int, in index: Int, spare: Spare) -> Bool {
    let reserved = runs[index].reservedByteCount
    guard length > reserved else { return true }
    let affordable = reserved + min(max(spare.needed, 0), messageByteCountMax)
    let least = min(length + length / 8, messageByteCountMax)
    guard least <= affordable else { return false }
    movedByteCount += runs[index].bytes.count
    let convenient = reserved + min(max(spare.convenient, 0), messageByteCountMax)
    runs[index].reserve(max(least, min(2 * length, messageByteCountMax, affordable, convenient)))
    byteCount += runs[index].reservedByteCount - reserved
    return true
  }

  /// Whether the run at `index` and the one after it are parts of one message without a hole between.
  private func joins(_ index: Int) -> Bool {
    !runs[index].ends && !runs[index + 1].begins && runs[index].group == runs[index + 1].group
      && runs[index].next == runs[index + 1].first
  }

  /// Takes the message out that the run at `index` belongs to, if nothing of it is missing.
  private mutating func completed(around index: Int) -> Outcome {
    var (low, high) = (index, index)
    while high + 1 < runs.count, joins(high) { high += 1 }
    guard runs[high].ends else { return .stored }
    while low > 0, !runs[low].begins, joins(low - 1) { low -= 1 }
    guard runs[low].begins else { return .stored }
    let length = runs[low...high].reduce(0) { $0 + $1.bytes.count }
    guard length <= messageByteCountMax else { return .violation(.outOfResource) }
    var first = runs[low]
    for run in runs[low...high] {
      byteCount -= run.chargedByteCount
      guard run.stream == first.stream, run.isUnordered == first.isUnordered,
        run.group != 0 || run.messageID == first.messageID
      else { return .violation(.protocolViolation) }
    }
    if low == high {
      runs.remove(at: low)
    } else {
      movedByteCount += length
      first.bytes.reserveCapacity(length)
      for run in runs[(low + 1)...high] { first.bytes += run.bytes }
      runs.removeSubrange(low...high)
    }
    typicalByteCount = length
    return .complete(
      AssembledMessage(
        stream: first.stream, isUnordered: first.isUnordered, messageID: first.messageID,
        payloadProtocol: first.payloadProtocol, bytes: first.bytes))
  }

  private func firstRun(notBefore group: UInt64, _ number: Int64) -> Int {
    var (low, high) = (0, runs.count)
    while low < high {
      let middle = (low + high) / 2
      if (runs[middle].group, runs[middle].first) < (group, number) {
        low = middle + 1
      } else {
        high = middle
      }
    }
    return low
  }

  // MARK: Giving up

  /// The sender gave up the DATA messages that have a fragment up to `tsn` (RFC 3758 §3.6).
  ///
  /// It moves past a TSN only when the whole message is given up, so a run that begins there goes altogether.
  mutating func giveUp(through tsn: Int64) { remove(0..<firstRun(notBefore: 0, tsn + 1)) }

  /// The sender gave up an I-DATA message and its predecessors on a stream (RFC 8260 §2.3.1): those whose
  /// number is at most 2^31 below. On the circle of numbers that is one arc, in the array two at most.
  mutating func giveUp(_ skipped: ForwardTSN.Skipped) {
    guard !runs.isEmpty else { return }
    let group = Self.group(skipped.stream, isUnordered: skipped.isUnordered)
    let (last, first) = (skipped.messageID, skipped.messageID &- UInt32(Int32.max))
    if first <= last {
      remove(runs(of: group, first...last))
    } else {
      remove(runs(of: group, first...UInt32.max))
      remove(runs(of: group, 0...last))
    }
  }

  /// Where the runs of some messages of a stream are.
  private func runs(of group: UInt64, _ numbers: ClosedRange<UInt32>) -> Range<Int> {
    let end = group | UInt64(numbers.upperBound)
    return firstRun(notBefore: group | UInt64(numbers.lowerBound), 0)..<firstRun(notBefore: end, .max)
  }

  private mutating func remove(_ range: Range<Int>) {
    guard !range.isEmpty else { return }
    for index in range { byteCount -= runs[index].chargedByteCount }
    runs.removeSubrange(range)
    latest = 0
  }

  /// Streams begin anew, or all of them where `streams` is empty: nothing of their past will be completed.
  mutating func discard(_ streams: [StreamID]) {
    guard !runs.isEmpty else { return }
    let gone = Set(streams)
    runs.removeAll { run in
      guard gone.isEmpty || gone.contains(run.stream) else { return false }
      byteCount -= run.chargedByteCount
      return true
    }
    latest = 0
  }
}
