// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// The state of stream resets in both directions (RFC 6525): how data channels close.
///
/// One request of ours is under way at a time; of the peer's, one may be deferred until the data before it
/// arrived, and the last answer is kept for a request that comes again.
struct StreamResets {
  /// A request of ours that waits for its answer.
  struct Request {
    var sequence: UInt32
    var lastTSN: UInt32
    var streams: [StreamID]
    var isSent = false
  }

  /// A request of the peer's that waits for data.
  struct Deferred {
    var sequence: UInt32
    var lastTSN: Int64
    var streams: [StreamID]
  }

  /// Streams that shall be reset once what waits on them is cut.
  private(set) var wanted: [StreamID] = []
  var request: Request?
  var deferred: Deferred?
  /// The number of our next request.
  var nextSequence: UInt32 = 0
  /// The number of the peer's next request.
  var expectedSequence: UInt32 = 0
  var lastOutcome: Reconfiguration.Outcome?

  init() {}

  /// RFC 6525 §5.1.1: both sides' requests count from their initial TSNs.
  init(localInitialTSN: UInt32, peerInitialTSN: UInt32) {
    nextSequence = localInitialTSN
    expectedSequence = peerInitialTSN
  }

  func isResetting(_ stream: StreamID) -> Bool {
    wanted.contains(stream) || request?.streams.contains(stream) == true
  }

  mutating func want(_ streams: [StreamID]) {
    for stream in streams where !isResetting(stream) { wanted.append(stream) }
  }

  /// Makes the next request of those wanted streams that are ready.
  mutating func makeRequest(lastTSN: UInt32, isReady: (StreamID) -> Bool) {
    guard request == nil, !wanted.isEmpty else { return }
    let ready = Array(wanted.filter(isReady).prefix(SCTPLimits.resetStreamsMax))
    guard !ready.isEmpty else { return }
    wanted.removeAll { ready.contains($0) }
    request = Request(sequence: nextSequence, lastTSN: lastTSN, streams: ready)
    nextSequence &+= 1
  }

  /// No answer came: ask again.
  mutating func timedOut() { request?.isSent = false }
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
      let (queue, lastTSN) = (sendQueue, UInt32(truncatingIfNeeded: retransmissions.nextTSN - 1))
      resets.makeRequest(lastTSN: lastTSN) { queue.isEmpty($0) }
    }
    guard let request = resets.request, !request.isSent else { return }
    resets.request?.isSent = true
    let parameter = Reconfiguration.outgoingReset(
      sequence: request.sequence, answering: resets.expectedSequence &- 1, lastTSN: request.lastTSN,
      streams: request.streams)
    queueControl(Chunk.array(.reconfiguration, value: parameter.array()))
    timers[.streamReset] = now + timeout.timeout
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
      guard let item = try Reconfiguration(parameter) else { continue }
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
  private mutating func answer(
    _ sequence: UInt32, _ perform: (inout SCTPAssociation) -> Reconfiguration.Outcome
  ) {
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
      guard lastTSN <= association.received.cumulative else {
        association.resets.deferred = StreamResets.Deferred(
          sequence: sequence, lastTSN: lastTSN, streams: streams)
        return .inProgress
      }
      association.performReset(streams)
      return .performed
    }
  }

  /// The data that a reset waited for may be here: do it, and say so without being asked again.
  mutating func performDeferredReset() {
    guard let deferred = resets.deferred, received.cumulative >= deferred.lastTSN else { return }
    receiveReset(deferred.sequence, lastTSN: deferred.lastTSN, streams: deferred.streams)
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
    guard let request = resets.request, request.sequence == sequence, request.isSent else { return }
    switch outcome {
    case .inProgress, .requestInProgress: timers[.streamReset] = now + SCTPLimits.resetRetryDelay
    case .performed, .nothingToDo: resetDone(request, isPerformed: true)
    case .denied, .wrongSequence, .badSequenceNumber: resetDone(request, isPerformed: false)
    }
  }

  private mutating func resetDone(_ request: StreamResets.Request, isPerformed: Bool) {
    timers[.streamReset] = nil
    resets.request = nil
    if isPerformed { sendQueue.reset(request.streams) }
    tell(.outgoingStreamsReset(request.streams, isPerformed: isPerformed))
  }
}
