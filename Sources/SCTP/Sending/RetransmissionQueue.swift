// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// A chunk that was sent and is not acknowledged up to the cumulative TSN.
struct SentChunk {
  /// Where the chunk stands.
  enum State: UInt8 {
    /// On its way, as far as we know; counted in flight.
    case inFlight
    /// Named in a gap block. The peer may take that back (RFC 9260 §6.2, "reneging").
    case acknowledged
    /// To be sent again.
    case lost
    /// Given up; the peer will hear so in a FORWARD-TSN (RFC 3758).
    case abandoned
  }

  var fragment: Fragment
  var state: State
  /// The packet that carried it last; numbers grow with time, retransmissions included.
  var packetNumber: Int64
  var sentAt: Instant
  var transmissionCount: UInt16

  /// Bytes on the wire, header and padding included: what congestion control counts.
  func wireByteCount(isInterleaved: Bool) -> Int {
    DataChunk.headerByteCount(isInterleaved: isInterleaved) + paddedByteCount(fragment.byteCount)
  }
}

/// What a SACK brought.
struct AcknowledgementOutcome {
  var newlyAcknowledgedByteCount = 0
  var isCumulativeAdvanced = false
  var roundTripTime: TimeDelta?
  /// Chunks turned out to be lost.
  var lostCount = 0
  var lostByteCount = 0
  /// The last packet that arrived, if it was sent after all that are known to have arrived before.
  var newestPacket: Int64?
}

/// The chunks that were sent, in the order of their TSNs, until the peer has them (RFC 9260 §6.2.1, §7.2.4).
///
/// Loss is told as QUIC does (RFC 9002 §6.1.1): each packet has a number of its own, and a chunk is lost when
/// a packet sent three or more later has arrived. RFC 9260 counts three SACKs that miss a chunk; as one SACK
/// answers a whole batch here, counting packets says the same sooner, and it also notices when a
/// retransmission is lost.
struct RetransmissionQueue {
  private static let reorderingPacketsMax: Int64 = 3

  private var chunks = RingBuffer<SentChunk>()
  /// The peer has all chunks up to here.
  private(set) var cumulative: Int64
  private(set) var inFlightByteCount = 0
  private(set) var lostCount = 0
  /// All up to here was acknowledged or given up (RFC 3758 §3.5, "Advanced.Peer.Ack.Point").
  private(set) var advancedPoint: Int64
  private var gapAcknowledgedCount = 0
  private var retransmittedCount = 0
  private var abandonedCount = 0
  private var largestAcknowledgedPacket: Int64 = -1
  /// No lost chunk stands before this TSN.
  private var lostHint: Int64 = 0
  /// The blocks of the SACK at hand; kept for its memory.
  private var blocks: [ReceivedTSNs.Range] = []
  /// The blocks that earlier SACKs named: chunks in them are marked as arrived, or given up.
  private var marked: [ReceivedTSNs.Range] = []
  let isInterleaved: Bool
  /// Whether the peer knows FORWARD-TSN. To others all messages are reliable (RFC 3758 §3.3.2).
  private let mayGiveUp: Bool

  /// Begins with a TSN raised by 2^32, so that none before it is negative.
  init(initialTSN: UInt32, isInterleaved: Bool, mayGiveUp: Bool = true) {
    cumulative = Int64(initialTSN) + (1 << 32) - 1
    advancedPoint = cumulative
    self.isInterleaved = isInterleaved
    self.mayGiveUp = mayGiveUp
  }

  /// The TSN that the next new chunk gets.
  var nextTSN: Int64 { cumulative + 1 + Int64(chunks.count) }
  /// Chunks that are neither acknowledged cumulatively nor gone.
  var count: Int { chunks.count }
  /// Whether anything waits for an acknowledgement, given-up chunks included.
  var isEmpty: Bool { chunks.isEmpty }
  /// Whether the peer has to hear of given-up chunks.
  var needsForwardTSN: Bool { advancedPoint > cumulative }

  /// Notes a new chunk as sent; returns its TSN.
  mutating func append(_ fragment: Fragment, packetNumber: Int64, at now: Instant) -> Int64 {
    let tsn = nextTSN
    let chunk = SentChunk(
      fragment: fragment, state: .inFlight, packetNumber: packetNumber, sentAt: now, transmissionCount: 1)
    inFlightByteCount += chunk.wireByteCount(isInterleaved: isInterleaved)
    chunks.append(chunk)
    return tsn
  }

  /// Takes the first lost chunk that fits, as sent again; gives up those whose time is over.
  mutating func nextLost(
    byteCountMax: Int, packetNumber: Int64, queue: inout SendQueue, at now: Instant
  ) -> (tsn: Int64, fragment: Fragment)? {
    guard lostCount > 0 else { return nil }
    var index = Int(max(lostHint - cumulative - 1, 0))
    while index < chunks.count {
      if chunks[index].state == .lost, isWorthless(index, queue, at: now) {
        abandon(index, &queue)
        advance()
      } else if chunks[index].state == .lost {
        lostHint = cumulative + 1 + Int64(index)
        let size = chunks[index].wireByteCount(isInterleaved: isInterleaved)
        guard size <= byteCountMax else { return nil }
        var chunk = chunks[index]
        if chunk.transmissionCount == 1 { retransmittedCount += 1 }
        chunk.transmissionCount = chunk.transmissionCount &+ 1 == 0 ? .max : chunk.transmissionCount + 1
        chunk.packetNumber = packetNumber
        chunk.sentAt = now
        chunk.state = .inFlight
        chunks[index] = chunk
        lostCount -= 1
        inFlightByteCount += size
        return (cumulative + 1 + Int64(index), chunk.fragment)
      }
      index += 1
    }
    return nil
  }

  // MARK: Acknowledgement

  /// Takes a SACK (RFC 9260 §6.2.1). `nil` for one that is older than what we know; throws for one that
  /// acknowledges what was never sent.
  mutating func acknowledge(
    _ sack: borrowing SackChunk, queue: inout SendQueue, smoothedRoundTrip: TimeDelta?, at now: Instant
  ) throws(ParseError) -> AcknowledgementOutcome? {
    let cumulative = SerialNumber.extend(sack.cumulativeTSN, near: self.cumulative)
    guard cumulative < nextTSN else { throw .invalid("cumulative TSN") }
    guard cumulative >= self.cumulative else { return nil }
    blocks.removeAll(keepingCapacity: true)
    let chosen = try Self.parse(sack.gapBlocks, after: cumulative, into: &blocks)
    guard chosen < nextTSN else { throw .invalid("gap block") }
    var outcome = AcknowledgementOutcome()
    let trusted = (smoothedRoundTrip ?? .zero) * 3 / 4
    while self.cumulative < cumulative { popFirst(&outcome, &queue, trusted: trusted, at: now) }
    advancedPoint = max(advancedPoint, cumulative)
    if !blocks.isEmpty || !marked.isEmpty { markBlocks(&outcome, trusted: trusted, at: now) }
    if gapAcknowledgedCount > 0 || retransmittedCount > 0 { findLost(&outcome, &queue, at: now) }
    advance()
    return outcome
  }

  private static func parse(
    _ gapBlocks: RawSpan, after cumulative: Int64, into blocks: inout [ReceivedTSNs.Range]
  ) throws(ParseError) -> Int64 {
    var highest = cumulative
    var parsed = blocks
    blocks = []
    try SackChunk.forEachBlock(gapBlocks, after: cumulative) { first, last in
      parsed.append(ReceivedTSNs.Range(first: first, last: last))
      highest = last
    }
    blocks = parsed
    return highest
  }

  private mutating func popFirst(
    _ outcome: inout AcknowledgementOutcome, _ queue: inout SendQueue, trusted: TimeDelta, at now: Instant
  ) {
    guard var chunk = chunks.first else { return }
    switch chunk.state {
    case .acknowledged: gapAcknowledgedCount -= 1
    case .abandoned: abandonedCount -= 1
    case .inFlight, .lost: arrived(&chunk, &outcome, trusted: trusted, at: now)
    }
    if chunk.transmissionCount > 1 { retransmittedCount -= 1 }
    chunks.popFirst()
    cumulative += 1
    outcome.isCumulativeAdvanced = true
    queue.release(chunk.fragment.message)
  }

  /// Accounts for a chunk that the peer has, as is heard for the first time.
  private mutating func arrived(
    _ chunk: inout SentChunk, _ outcome: inout AcknowledgementOutcome, trusted: TimeDelta, at now: Instant
  ) {
    let size = chunk.wireByteCount(isInterleaved: isInterleaved)
    if chunk.state == .inFlight { inFlightByteCount -= size } else { lostCount -= 1 }
    outcome.newlyAcknowledgedByteCount += size
    let age = now - chunk.sentAt
    if chunk.transmissionCount == 1 {
      outcome.roundTripTime = min(outcome.roundTripTime ?? age, age)
    } else if age < trusted {
      return  // probably the first transmission arrived after all: it says nothing of the later packet
    }
    if chunk.packetNumber > largestAcknowledgedPacket {
      largestAcknowledgedPacket = chunk.packetNumber
      outcome.newestPacket = chunk.packetNumber
    }
  }

  /// Marks what the gap blocks name, and takes back what they no longer name (RFC 9260 §6.2.1 D iii), but not
  /// above the last block: a SACK has no room for all of them.
  ///
  /// Only what differs from the blocks before is looked at. Where a path loses packets, each SACK names thousands
  /// of chunks anew that were named by the one before.
  private mutating func markBlocks(
    _ outcome: inout AcknowledgementOutcome, trusted: TimeDelta, at now: Instant
  ) {
    var place = 0
    while place < marked.count, marked[place].last <= cumulative { place += 1 }
    if place < marked.count { marked[place].first = max(marked[place].first, cumulative + 1) }
    for block in blocks.indices {
      let (first, last) = (blocks[block].first, blocks[block].last)
      var next = first
      while place < marked.count, marked[place].first <= last {
        let known = marked[place]
        renege(known.first..<max(known.first, min(known.last + 1, first)))
        mark(next..<max(next, known.first), &outcome, trusted: trusted, at: now)
        next = max(next, known.last + 1)
        marked[place].first = last + 1
        guard known.last <= last else { break }
        place += 1
      }
      mark(next..<max(next, last + 1), &outcome, trusted: trusted, at: now)
    }
    blocks += marked[place...]
    swap(&marked, &blocks)
  }

  private func index(of tsn: Int64) -> Int { Int(tsn - cumulative - 1) }

  private mutating func mark(
    _ tsns: Swift.Range<Int64>, _ outcome: inout AcknowledgementOutcome, trusted: TimeDelta, at now: Instant
  ) {
    for tsn in tsns {
      let index = index(of: tsn)
      var chunk = chunks[index]
      guard chunk.state == .inFlight || chunk.state == .lost else { continue }
      arrived(&chunk, &outcome, trusted: trusted, at: now)
      chunk.state = .acknowledged
      chunks[index] = chunk
      gapAcknowledgedCount += 1
    }
  }

  private mutating func renege(_ tsns: Swift.Range<Int64>) {
    for tsn in tsns where chunks[index(of: tsn)].state == .acknowledged { renege(index(of: tsn)) }
  }

  private mutating func renege(_ index: Int) {
    chunks[index].state = .inFlight
    gapAcknowledgedCount -= 1
    inFlightByteCount += chunks[index].wireByteCount(isInterleaved: isInterleaved)
  }

  /// Looks at what stands between the marked blocks and above them.
  private mutating func findLost(
    _ outcome: inout AcknowledgementOutcome, _ queue: inout SendQueue, at now: Instant
  ) {
    let limit = largestAcknowledgedPacket - Self.reorderingPacketsMax
    let end = nextTSN
    var (tsn, block) = (cumulative + 1, 0)
    while tsn < end {
      if block < marked.count, marked[block].first <= tsn {
        tsn = max(tsn, marked[block].last + 1)
        block += 1
        continue
      }
      let index = index(of: tsn)
      tsn += 1
      guard chunks[index].state == .inFlight else { continue }
      if chunks[index].packetNumber <= limit {
        outcome.lostByteCount += chunks[index].wireByteCount(isInterleaved: isInterleaved)
        lose(index, &queue, at: now)
        outcome.lostCount += 1
      } else if chunks[index].transmissionCount == 1 {
        return  // all after it were sent later still
      }
    }
  }

  // MARK: Loss

  /// The timer ran out: all that was in flight counts as lost (RFC 9260 §6.3.3 E3). When it runs out again,
  /// what gap blocks named does not count as arrived either: the peer may have let go of it.
  mutating func timedOut(isRepeated: Bool, queue: inout SendQueue, at now: Instant) {
    if isRepeated {
      marked = []
      for index in 0..<chunks.count where chunks[index].state == .acknowledged { renege(index) }
    }
    for index in 0..<chunks.count where chunks[index].state == .inFlight { lose(index, &queue, at: now) }
    advance()
  }

  /// Marks the last chunk to be sent again, though it may not be lost: a probe, not a verdict. Does nothing
  /// when it was probed already, or when its message may not be sent again.
  mutating func probeTail(queue: borrowing SendQueue) {
    guard lostCount == 0, let index = (0..<chunks.count).last(where: { chunks[$0].state == .inFlight }),
      chunks[index].transmissionCount == 1,
      queue.messages[chunks[index].fragment.message].retransmissionsMax == nil
    else { return }
    inFlightByteCount -= chunks[index].wireByteCount(isInterleaved: isInterleaved)
    chunks[index].state = .lost
    lostCount += 1
    lostHint = cumulative + 1 + Int64(index)
  }

  private mutating func lose(_ index: Int, _ queue: inout SendQueue, at now: Instant) {
    let chunk = chunks[index]
    inFlightByteCount -= chunk.wireByteCount(isInterleaved: isInterleaved)
    chunks[index].state = .lost
    lostCount += 1
    lostHint = min(lostHint, cumulative + 1 + Int64(index))
    let isSpent =
      queue.messages[chunk.fragment.message].retransmissionsMax.map { chunk.transmissionCount > $0 } ?? false
    if mayGiveUp, isSpent || isWorthless(index, queue, at: now) { abandon(index, &queue) }
  }

  private func isWorthless(_ index: Int, _ queue: borrowing SendQueue, at now: Instant) -> Bool {
    mayGiveUp && queue.messages[chunks[index].fragment.message].isExpired(at: now)
  }

  /// Gives up the whole message that a chunk belongs to (RFC 3758 §3.5 A3), pieces that arrived included:
  /// the advanced point has to pass them too, so that the peer lets go of them.
  private mutating func abandon(_ index: Int, _ queue: inout SendQueue) {
    let message = chunks[index].fragment.message
    if !queue.messages[message].isCut { appendEnd(of: message, &queue) }
    queue.abandon(message)
    abandonChunks(of: message, around: index)
  }

  /// Gives up a message that is cut in part, though none of its chunks need be lost or even left here.
  mutating func giveUp(_ message: Int, queue: inout SendQueue) {
    appendEnd(of: message, &queue)
    queue.abandon(message)
    abandonChunks(of: message, around: chunks.count - 1)
    advance()
  }

  private mutating func abandonChunks(of message: Int, around index: Int) {
    var low = index
    while low > 0, !isFirst(low, of: message) { low -= 1 }
    for position in low..<chunks.count where chunks[position].fragment.message == message {
      switch chunks[position].state {
      case .abandoned: continue
      case .acknowledged: gapAcknowledgedCount -= 1
      case .inFlight:
        inFlightByteCount -= chunks[position].wireByteCount(isInterleaved: isInterleaved)
      case .lost: lostCount -= 1
      }
      chunks[position].state = .abandoned
      abandonedCount += 1
      if chunks[position].fragment.flags.contains(.end) { return }
    }
  }

  /// A message that is given up before its last piece was cut gets a last TSN that is never sent. Without it
  /// the peer might have all TSNs and wait for the rest of the message for ever, told by no FORWARD-TSN.
  private mutating func appendEnd(of message: Int, _ queue: inout SendQueue) {
    let part = queue.messages[message]
    let end = Fragment(
      message: message, offset: part.sentByteCount, byteCount: 0,
      flags: part.isUnordered ? [.unordered, .end] : .end, stream: part.stream, messageID: part.messageID,
      number: part.nextFragment, payloadProtocol: part.payloadProtocol)
    queue.messages[message].chunkCount += 1
    abandonedCount += 1
    chunks.append(
      SentChunk(
        fragment: end, state: .abandoned, packetNumber: 0, sentAt: .zero, transmissionCount: 1))
  }

  private func isFirst(_ index: Int, of message: Int) -> Bool {
    chunks[index].fragment.message == message && chunks[index].fragment.flags.contains(.beginning)
  }

  /// Moves the advanced point over given-up chunks (RFC 3758 §3.5 C2).
  private mutating func advance() {
    guard abandonedCount > 0 else { return }
    while true {
      let index = Int(advancedPoint - cumulative)
      guard index < chunks.count, chunks[index].state == .abandoned else { return }
      advancedPoint += 1
    }
  }

  /// What a FORWARD-TSN has to say: the advanced point, and the last message given up on each stream.
  mutating func forwardTSN(skippedCountMax: Int) -> ForwardTSN {
    advance()
    var skipped: [ForwardTSN.Skipped] = []
    var last = cumulative
    for index in 0..<Int(advancedPoint - cumulative) {
      let fragment = chunks[index].fragment
      let isUnordered = fragment.flags.contains(.unordered)
      if isInterleaved || !isUnordered {
        let entry = ForwardTSN.Skipped(
          stream: fragment.stream, isUnordered: isUnordered, messageID: fragment.messageID)
        let known = skipped.firstIndex {
          $0.stream == entry.stream && $0.isUnordered == entry.isUnordered
        }
        if let known {
          skipped[known].messageID = entry.messageID
        } else {
          guard skipped.count < skippedCountMax else { break }
          skipped.append(entry)
        }
      }
      last += 1
    }
    return ForwardTSN(
      cumulativeTSN: UInt32(truncatingIfNeeded: last), skipped: skipped, isInterleaved: isInterleaved)
  }
}
