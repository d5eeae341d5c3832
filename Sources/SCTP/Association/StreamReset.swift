// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// The state of stream resets in both directions (RFC 6525): how data channels close.
///
/// One request of ours is under way at a time; of the peer's, one may be deferred until the data before it
/// arrived, and the last answer is kept for a request that comes again.
struct StreamResets {
  /// A request of ours that waits for its answer.
  struct Request {
    /// The number that it has now.
    var sequence: UInt32
    /// The number that it had first; an answer to any from there on counts.
    var firstSequence: UInt32
    var lastTSN: UInt32
    var streams: [StreamID]
    var isSent = false
    /// Whether the peer said that it still waits for data.
    var isWaiting = false
    /// Whether the peer had acknowledged all that it could wait for when the request was sent last, and how
    /// often it said that it waits nevertheless.
    var hasArrived = false
    var stubbornCount = 0
    /// How often it said that it waits at all.
    var waitCount = 0
    /// How often it was sent without an answer, and how many packets had come when it was sent last.
    var unansweredCount = 0
    var packetsReceived: UInt64 = 0

    func isAnswered(by sequence: UInt32) -> Bool {
      isSent && sequence &- firstSequence <= self.sequence &- firstSequence
    }
  }

  /// A request of the peer's that waits for data.
  struct Deferred {
    var sequence: UInt32
    var lastTSN: Int64
    var streams: [StreamID]
  }

  /// A stream that shall be reset once what waits on it is cut, and the peer has all that speaks of it.
  ///
  /// A FORWARD-TSN names streams and numbers, but not the TSNs that they had. One that arrives after the reset
  /// would skip messages that begin anew, the OPEN of the next channel first. So a request waits until the peer
  /// has acknowledged all that was sent on the stream (no FORWARD-TSN names it from then on), and then once more
  /// all that any FORWARD-TSN can have covered until then (those under way have no effect any more).
  struct Wanted {
    var stream: StreamID
    /// What the peer has to acknowledge; `nil` while anything waits on the stream.
    var barrier: Int64?
    var isLastBarrier = false
  }

  private(set) var wanted: [Wanted] = []
  var request: Request?
  var deferred: Deferred?
  /// The number of our next request.
  var nextSequence: UInt32 = 0
  /// The number of the peer's next request.
  var expectedSequence: UInt32 = 0
  var lastOutcome: Reconfiguration.Outcome?
  /// A request of the peer's that was done after it was told to be in progress; until the peer knows, the
  /// same under the next number is no other request.
  var performedLate: Deferred?

  init() {}

  /// RFC 6525 §5.1.1: both sides' requests count from their initial TSNs.
  init(localInitialTSN: UInt32, peerInitialTSN: UInt32) {
    nextSequence = localInitialTSN
    expectedSequence = peerInitialTSN
  }

  func isResetting(_ stream: StreamID) -> Bool {
    wanted.contains { $0.stream == stream } || request?.streams.contains(stream) == true
  }

  mutating func want(_ streams: [StreamID]) {
    for stream in streams where !isResetting(stream) { wanted.append(Wanted(stream: stream)) }
  }

  /// Makes the next request of those wanted streams that are ready.
  ///
  /// - Parameters:
  ///   - last: the last TSN that was sent.
  ///   - cumulative: the one up to which the peer acknowledged all.
  mutating func makeRequest(last: Int64, cumulative: Int64, isCut: (StreamID) -> Bool) {
    guard request == nil, !wanted.isEmpty else { return }
    for index in wanted.indices where isCut(wanted[index].stream) {
      let barrier = wanted[index].barrier ?? last
      wanted[index].barrier = barrier
      guard cumulative >= barrier, !wanted[index].isLastBarrier else { continue }
      wanted[index].barrier = last
      wanted[index].isLastBarrier = true
    }
    let ready = wanted.filter { $0.isLastBarrier && cumulative >= $0.barrier ?? last }
      .prefix(SCTPLimits.resetStreamsMax).map(\.stream)
    guard !ready.isEmpty else { return }
    wanted.removeAll { ready.contains($0.stream) }
    request = Request(
      sequence: nextSequence, firstSequence: nextSequence, lastTSN: UInt32(truncatingIfNeeded: last),
      streams: ready)
    nextSequence &+= 1
  }

  /// The peer said "in progress", so the request has to be made again, under its number as RFC 6525 §5.2.2
  /// has it. But dcSCTP, for years, took that number for used and gave the same answer for ever: who says so
  /// again and again although all data is there gets a new number.
  mutating func wait() -> Int {
    guard var waiting = request else { return 0 }
    waiting.isWaiting = true
    waiting.waitCount += 1
    waiting.unansweredCount = 0
    if waiting.hasArrived { waiting.stubbornCount += 1 }
    if waiting.stubbornCount > 2 {
      waiting.sequence = nextSequence
      nextSequence &+= 1
    }
    request = waiting
    return waiting.waitCount
  }
}

extension SCTPAssociation {
  /// Resets our side of streams: after what waits on them, the next message is number 0 again. The peer
  /// hears of it as "these streams are at their end".
  public mutating func resetStreams(_ streams: [StreamID]) {
    guard !isOver, !streams.isEmpty else { return }
    resets.want(streams.filter { $0.rawValue < configuration.streamCount })
  }

  /// Whether the peer knows stream resets at all.
  public var canResetStreams: Bool { capabilities.contains(.reconfiguration) }

  /// Puts our request among the control chunks when one is due.
  mutating func queueResetRequest(at now: Instant) {
    guard state == .established, capabilities.contains(.reconfiguration) else { return }
    if resets.request == nil, !resets.wanted.isEmpty {
      let (queue, last) = (sendQueue, retransmissions.nextTSN - 1)
      resets.makeRequest(last: last, cumulative: retransmissions.cumulative) { queue.isEmpty($0) }
    }
    guard let request = resets.request, !request.isSent else { return }
    resets.request?.isSent = true
    resets.request?.packetsReceived = statistics.packetsReceived
    let lastTSN = SerialNumber.extend(request.lastTSN, near: retransmissions.cumulative)
    resets.request?.hasArrived = retransmissions.cumulative >= lastTSN
    let parameter = Reconfiguration.outgoingReset(
      sequence: request.sequence, answering: resets.expectedSequence &- 1, lastTSN: request.lastTSN,
      streams: request.streams)
    queueControl(Chunk.array(.reconfiguration, value: parameter.array()))
    timers[.streamReset] = now + timeout.timeout * Int64(1 << min(request.unansweredCount, 3))
  }

  /// Time to ask again. A peer that is silent altogether is one thing; one that talks but never answers
  /// counts as one that will not reset.
  mutating func resetTimedOut(at now: Instant) {
    guard var request = resets.request else { return }
    if request.isWaiting {
      request.isWaiting = false
    } else if request.packetsReceived == statistics.packetsReceived {
      guard countTimeout(at: now) else { return }
    } else {
      request.unansweredCount += 1
      guard request.unansweredCount < SCTPLimits.resetRequestsMax else {
        return resetDone(request, isPerformed: false)
      }
    }
    request.isSent = false
    resets.request = request
  }

  /// RE-CONFIG: at most two parameters (RFC 6525 §3.1).
  mutating func receiveReconfiguration(_ chunk: borrowing Chunk, at now: Instant) throws(ParseError) {
    guard state != .cookieWait, state != .cookieEchoed else {
      drops[.unexpected] += 1
      return
    }
    var reader = ByteReader(chunk.value)
    for _ in 0..<2 where reader.remaining >= Parameter.headerByteCount {
      let parameter = try Parameter(parsing: &reader)
      guard let item = try Reconfiguration(parameter) else {
        if parameter.type.stopsWhenUnknown { return }
        continue
      }
      switch item {
      case .outgoingReset(let sequence, _, let lastTSN, let streams):
        receiveReset(sequence, lastTSN: received.extend(lastTSN), streams: streams)
      case .incomingReset(let sequence, _), .associationReset(let sequence):
        // Data channels need neither: each side resets what it sends (RFC 8831 §6.7).
        answer(sequence) { _ in .denied }
      case .addStreams(let sequence, let count, let isOutgoing):
        answer(sequence) { $0.addStreams(count, isOutgoing: isOutgoing) }
      case .response(let sequence, let outcome): receiveResponse(sequence, outcome, at: now)
      }
    }
  }

  /// Answers a request: a fresh one by doing it, the last one by saying so again, others not at all (§5.2.1).
  /// A peer that asks faster than our answers leave gets none, and nothing done; it will ask again.
  private mutating func answer(
    _ sequence: UInt32, _ perform: (inout SCTPAssociation) -> Reconfiguration.Outcome
  ) {
    guard controlChunks.count < SCTPLimits.controlChunksMax else {
      drops[.replyQueueFull] += 1
      return
    }
    if sequence == resets.performedLate?.sequence { resets.performedLate = nil }
    // dcSCTP takes "in progress" for the end of a request, and makes it again under the next number.
    if let deferred = resets.deferred, sequence == deferred.sequence &+ 1 {
      resets.expectedSequence = sequence
      resets.lastOutcome = .inProgress
    }
    if sequence == resets.expectedSequence {
      let outcome = perform(&self)
      guard state != .closed else { return }
      if outcome != .inProgress {
        resets.lastOutcome = outcome
        resets.expectedSequence &+= 1
      }
      respond(sequence, outcome)
    } else if sequence == resets.expectedSequence &- 1, let outcome = resets.lastOutcome {
      respond(sequence, outcome)
    } else {
      respond(sequence, .badSequenceNumber)
    }
  }

  private mutating func respond(_ sequence: UInt32, _ outcome: Reconfiguration.Outcome) {
    let parameter = Reconfiguration.response(sequence: sequence, outcome: outcome)
    queueControl(Chunk.array(.reconfiguration, value: parameter.array()))
  }

  /// §5.2.2: done when all that was sent before it arrived, otherwise later.
  private mutating func receiveReset(_ sequence: UInt32, lastTSN: Int64, streams: [StreamID]) {
    let limit = inboundStreamCount
    answer(sequence) { association in
      guard streams.allSatisfy({ $0.rawValue < limit }) else { return .wrongSequence }
      let late = association.resets.performedLate.take()
      if let late, late.lastTSN == lastTSN, late.streams == streams { return .nothingToDo }
      guard lastTSN <= association.received.cumulative else {
        association.resets.deferred = StreamResets.Deferred(
          sequence: sequence, lastTSN: lastTSN, streams: streams)
        return .inProgress
      }
      association.performReset(streams)
      return .performed
    }
  }

  /// The data that a reset waited for may be here: do it, and say so when asked again.
  mutating func performDeferredReset() {
    guard let deferred = resets.deferred, received.cumulative >= deferred.lastTSN else { return }
    performReset(deferred.streams)
    resets.lastOutcome = .performed
    resets.expectedSequence = deferred.sequence &+ 1
    resets.performedLate = deferred
  }

  private mutating func performReset(_ streams: [StreamID]) {
    resets.deferred = nil
    let messageCountMax = configuration.receiveWindowByteCountMax / SCTPLimits.entryByteCount
    guard events.count < SCTPLimits.eventsMax + messageCountMax else {
      return abort(.outOfResource)
    }
    if streams.isEmpty { inboundStreams.resetAll() }
    for stream in streams { inboundStreams.reset(stream) }
    reassembly.discard(streams)
    tell(.incomingStreamsReset(streams))
  }

  /// RFC 6525 §5.2.5: more streams from the peer, up to our own limit; we ask for none.
  private mutating func addStreams(_ count: UInt16, isOutgoing: Bool) -> Reconfiguration.Outcome {
    let (sum, overflow) = inboundStreamCount.addingReportingOverflow(count)
    guard isOutgoing, !overflow, sum <= configuration.streamCount else { return .denied }
    inboundStreamCount = sum
    return .performed
  }

  /// The answer to our request (§5.2.7).
  private mutating func receiveResponse(
    _ sequence: UInt32, _ outcome: Reconfiguration.Outcome, at now: Instant
  ) {
    guard let request = resets.request, request.isAnswered(by: sequence) else { return }
    // Of an earlier number only success is news.
    let isSuccess = outcome == .performed || outcome == .nothingToDo
    guard isSuccess || sequence == request.sequence else { return }
    switch outcome {
    case .inProgress, .requestInProgress:
      timers[.streamReset] = now + SCTPLimits.resetRetryDelay * Int64(min(resets.wait(), 10))
    case .performed, .nothingToDo: resetDone(request, isPerformed: true)
    case .denied, .wrongSequence, .badSequenceNumber: resetDone(request, isPerformed: false)
    }
  }

  /// The peer does with a stream what it can do only after our reset of it, so that its answer is lost or late.
  /// Returns the streams that were reset with it.
  mutating func assumeResetPerformed(of stream: StreamID) -> [StreamID] {
    guard let request = resets.request, request.streams.contains(stream) else {
      sendQueue.reset([stream])
      return [stream]
    }
    timers[.streamReset] = nil
    resets.request = nil
    sendQueue.reset(request.streams)
    return request.streams
  }

  private mutating func resetDone(_ request: StreamResets.Request, isPerformed: Bool) {
    timers[.streamReset] = nil
    resets.request = nil
    if isPerformed { sendQueue.reset(request.streams) }
    tell(.outgoingStreamsReset(request.streams, isPerformed: isPerformed))
  }
}
