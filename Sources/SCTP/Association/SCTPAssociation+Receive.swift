// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Packets in: checks, then one chunk after the other (RFC 9260 §6, §8.5).
extension SCTPAssociation {
  /// Takes a packet that DTLS decrypted. Whatever is wrong with it is counted, not thrown.
  public mutating func receive(_ packet: RawSpan, at now: Instant) {
    do throws(ParseError) {
      try accept(packet, at: now)
    } catch {
      drops[.malformed] += 1
    }
  }

  private mutating func accept(_ packet: RawSpan, at now: Instant) throws(ParseError) {
    var reader = ByteReader(packet)
    let header = try CommonHeader(parsing: &reader)
    guard let first = packet.byte(at: CommonHeader.byteCount) else { throw .truncated }
    let type = ChunkType(rawValue: first)
    guard header.sourcePort == configuration.remotePort, header.destinationPort == configuration.localPort
    else {
      drops[.port] += 1
      return
    }
    guard isIntact(packet, header, first: type) else {
      drops[.checksum] += 1
      return
    }
    guard isOurs(header, first: type, flags: packet.byte(at: CommonHeader.byteCount + 1) ?? 0) else {
      drops[.verificationTag] += 1
      return
    }
    statistics.packetsReceived += 1
    var holdsData = false
    var costlyCount = 0
    // What came before a chunk that is malformed counts.
    defer {
      if holdsData { acknowledgeLater(at: now) }
      noteSignOfLife(at: now)
      progressShutdown(at: now)
    }
    while reader.remaining >= Chunk.headerByteCount {
      let isFirst = reader.offset == CommonHeader.byteCount
      let chunk = try Chunk(parsing: &reader)
      guard !chunk.type.standsAlone || isFirst && reader.isAtEnd else { throw .invalid("bundled chunk") }
      if chunk.type.isCostly {
        costlyCount += 1
        guard costlyCount <= SCTPLimits.costlyChunksMax else { throw .invalid("too many chunks") }
      }
      if chunk.type == .data || chunk.type == .interleavedData {
        holdsData = true
        guard try receiveData(chunk, at: now) else { break }
      } else {
        guard try receiveControl(chunk, header, at: now) else { break }
      }
    }
  }

  /// RFC 9653 §5.2: no checksum is fine where we said so, but for a handshake's packets.
  private func isIntact(_ packet: RawSpan, _ header: CommonHeader, first: ChunkType) -> Bool {
    if header.checksum == 0, configuration.offersZeroChecksum, first != .initiation, first != .cookieEcho {
      return true
    }
    return Checksum.ofPacket(packet) == header.checksum
  }

  /// The rules of §8.5 and §8.5.1, and what §8.4 says of packets that belong to nothing.
  private mutating func isOurs(_ header: CommonHeader, first: ChunkType, flags: UInt8) -> Bool {
    switch first {
    case .initiation: return header.verificationTag == 0
    case .cookieEcho: return true
    case .abort, .shutdownComplete:
      let isReflected = flags & 1 == 1
      guard state != .closed else { return false }
      return header.verificationTag == (isReflected ? peerTag : localTag) && header.verificationTag != 0
    case .shutdownAck where state == .cookieWait || state == .cookieEchoed:
      // §8.5.1 E: it belongs to an association that the peer had before; let it go.
      reply(Chunk.array(.shutdownComplete, flags: 1), tag: header.verificationTag)
      return false
    case .shutdownAck where state == .closed && isOver && header.verificationTag == localTag:
      // Our SHUTDOWN COMPLETE got lost.
      reply(Chunk.array(.shutdownComplete), tag: peerTag)
      return false
    case _ where state == .closed && isOver && header.verificationTag == localTag:
      // §8.4: our ABORT got lost.
      if peerTag != 0 { reply(Chunk.array(.abort), tag: peerTag) }
      return false
    default: return state != .closed && header.verificationTag == localTag
    }
  }

  /// Any chunk but DATA. Returns whether to go on with the packet.
  private mutating func receiveControl(
    _ chunk: borrowing Chunk, _ header: CommonHeader, at now: Instant
  ) throws(ParseError) -> Bool {
    switch chunk.type {
    case .initiation:
      try receiveInit(chunk, at: now)
      return false
    case .initiationAck:
      try receiveInitAck(chunk, at: now)
      return false
    case .cookieEcho: return try receiveCookieEcho(chunk, tag: header.verificationTag, at: now)
    case .abort:
      finish(.abortedByPeer(ErrorCause.first(in: chunk.value)))
      return false
    case .shutdownComplete:
      if state == .shutdownAckSent { finish(.shutdown) }
      return false
    case _ where header.verificationTag != localTag || state == .closed:
      // A COOKIE ECHO that was refused, or a chunk that made an end.
      return false
    case .cookieAck: receiveCookieAck(at: now)
    case .sack: try receiveSack(chunk, at: now)
    case .heartbeat:
      guard chunk.value.byteCount <= SCTPLimits.heartbeatByteCountMax else { throw .invalid("heartbeat") }
      queueControl(Chunk.array(.heartbeatAck, value: [UInt8](copying: chunk.value)))
    case .heartbeatAck: try receiveHeartbeatAck(chunk, at: now)
    case .error:
      if ErrorCause.first(in: chunk.value) == .staleCookie { cookieWasStale(at: now) }
    case .shutdown: try receiveShutdown(chunk, at: now)
    case .shutdownAck: receiveShutdownAck()
    case .forwardTSN, .interleavedForwardTSN: try receiveForwardTSN(chunk, at: now)
    case .reconfiguration: try receiveReconfiguration(chunk, at: now)
    case .congestionEcho, .congestionWindowReduced: break
    default: return receiveUnknown(chunk)
    }
    return state != .closed
  }

  /// RFC 9260 §3.2: the two highest bits of an unknown type say what to do.
  private mutating func receiveUnknown(_ chunk: borrowing Chunk) -> Bool {
    if chunk.type.isReportedWhenUnknown {
      let shown = chunk.bytes.extracting(0..<min(chunk.bytes.byteCount, InitChunk.reportedByteCountMax))
      let cause = ErrorCause.unrecognizedChunk.array(information: [UInt8](copying: shown))
      queueControl(Chunk.array(.error, value: cause))
    }
    return !chunk.type.stopsWhenUnknown
  }

  // MARK: DATA

  /// Takes a DATA or I-DATA chunk (§6.2, §6.5, §6.9). Returns whether to go on with the packet.
  private mutating func receiveData(_ chunk: borrowing Chunk, at now: Instant) throws(ParseError) -> Bool {
    impliesCookieAck(at: now)
    guard state == .established || state == .shutdownPending || state == .shutdownSent else {
      drops[.unexpected] += 1
      return state != .closed
    }
    let isInterleaved = chunk.type == .interleavedData
    var reader = ByteReader(chunk.value)
    let data = try DataChunk(parsing: &reader, flags: chunk.flags, isInterleaved: isInterleaved)
    let payload = reader.readRest()
    guard payload.byteCount > 0 else {
      abort(.noUserData, information: [UInt8](writing: 4) { $0.write(data.tsn) })
      return false
    }
    guard isInterleaved == capabilities.contains(.interleaving) else {
      abort(.protocolViolation)
      return false
    }
    let tsn = received.extend(data.tsn)
    switch received.novelty(of: tsn) {
    case .duplicate:
      received.noteDuplicate(tsn)
      isAcknowledgementDue = true
    case .refused:
      drops[.tooManyGaps] += 1
      isAcknowledgementDue = true
    case .new:
      if data.flags.contains(.immediate) { isAcknowledgementDue = true }
      guard data.stream.rawValue < inboundStreamCount else { return refuseStream(data, tsn) }
      guard hasRoom(for: payload.byteCount, tsn) else { return state != .closed }
      store(data, tsn, payload, at: now)
    }
    return state != .closed
  }

  /// §6.5: the chunk counts as received, and the sender is told.
  private mutating func refuseStream(_ data: DataChunk, _ tsn: Int64) -> Bool {
    received.insert(tsn)
    let id = data.stream.rawValue
    let information = [UInt8(id >> 8), UInt8(truncatingIfNeeded: id), 0, 0]
    queueControl(Chunk.array(.error, value: ErrorCause.invalidStream.array(information: information)))
    return true
  }

  /// What may be stored at once, bytes.
  ///
  /// Behind a hole seven eighths of the window, so that there is room for what fills the hole. By the chunk that is
  /// due next, which may release others, a sixteenth more than the window; but twice the window where it fills a
  /// hole, the window cannot grow and reading makes no room. For a peer that keeps to the window may have filled
  /// it with what weighs more here than on its way, short messages above all, and the hole before them may be
  /// almost as long as the window: what fills it was the peer's to send, and is all that makes room again.
  private func storageByteCountMax(isNext: Bool) -> Int {
    guard isNext else { return window.byteCount - window.byteCount / 8 }
    let mayOverdraw = received.hasGaps && window.isAtMaximum && unreadByteCount == 0
    return window.byteCount + (mayOverdraw ? window.byteCount : 0) + window.byteCount / 16
  }

  private mutating func hasRoom(for byteCount: Int, _ tsn: Int64) -> Bool {
    let isNext = tsn == received.cumulative + 1
    let needed = receiveBufferedByteCount + byteCount + SCTPLimits.entryByteCount
    return needed <= storageByteCountMax(isNext: isNext) || makeRoom(isNext: isNext, needed: needed)
  }

  /// The window is full. When pieces fill it that only further pieces can complete, it has to grow; if it may
  /// not, the peer has gone too far. In all other cases the chunk counts as lost.
  private mutating func makeRoom(isNext: Bool, needed: Int) -> Bool {
    isAcknowledgementDue = true
    if isNext, unreadByteCount == 0 {
      guard !window.isAtMaximum else {
        abort(.outOfResource)
        return false
      }
      while !window.isAtMaximum, needed > window.byteCount { window.grow() }
      if needed <= storageByteCountMax(isNext: true) { return true }
    }
    drops[.windowFull] += 1
    return false
  }

  private mutating func store(_ data: DataChunk, _ tsn: Int64, _ payload: RawSpan, at now: Instant) {
    let isNext = tsn == received.cumulative + 1
    let held = receiveBufferedByteCount
    // Convenience ends at a quarter of the window: what is reserved must not keep out what the peer may send.
    let spare = ReassemblyQueue.Spare(
      needed: storageByteCountMax(isNext: isNext) - held, convenient: window.byteCount / 4 - held)
    switch reassembly.insert(data, tsn: tsn, payload: payload, spare: spare) {
    case .stored: growForPieces()
    case .refused:
      guard !isNext else { return abort(.outOfResource) }
      drops[.tooManyGaps] += 1
      return
    case .full:
      let needed = storageByteCountMax(isNext: true) + payload.byteCount
      guard makeRoom(isNext: isNext, needed: needed) else { return }
      return store(data, tsn, payload, at: now)
    case .violation(let cause): return abort(cause)
    case .complete(let message): order(message)
    }
    received.insert(tsn)
    noteShutdownProgress(at: now)
    window.received(payload.byteCount, roundTripTime: timeout.smoothed, at: now)
    performDeferredReset()
  }

  /// Half of the window full of pieces: it grows before it shuts, if reading would not help.
  private mutating func growForPieces() {
    if unreadByteCount == 0, !window.isAtMaximum, receiveBufferedByteCount > window.byteCount / 2 {
      window.grow()
    }
  }

  private mutating func order(_ message: AssembledMessage) {
    switch inboundStreams.take(message) {
    case .ready: deliver(message)
    case .waits: return
    case .repeated:
      drops[.duplicateMessage] += 1
      return
    }
    while let next = inboundStreams.popReady(message.stream) { deliver(next) }
  }

  /// §6.2: at least every second packet is acknowledged, at once when something is missing. "At once" means
  /// with the next ``pollTransmit(into:at:)``, so that one SACK answers all packets that came in one batch.
  private mutating func acknowledgeLater(at now: Instant) {
    guard state != .closed else { return }
    packetsSinceAcknowledgement += 1
    if packetsSinceAcknowledgement >= 2 || received.hasGaps || state == .shutdownSent {
      isAcknowledgementDue = true
    } else if timers[.acknowledgement] == nil {
      timers[.acknowledgement] = now + SCTPLimits.acknowledgementDelay
    }
    if state == .shutdownSent { sendShutdown(at: now) }
  }

  // MARK: FORWARD-TSN

  /// The peer gave up messages (RFC 3758 §3.6).
  private mutating func receiveForwardTSN(_ chunk: borrowing Chunk, at now: Instant) throws(ParseError) {
    guard state != .cookieWait, state != .cookieEchoed else {
      drops[.unexpected] += 1
      return
    }
    let isInterleaved = chunk.type == .interleavedForwardTSN
    guard capabilities.contains(.partialReliability), isInterleaved == capabilities.contains(.interleaving)
    else { return abort(.protocolViolation) }
    var reader = ByteReader(chunk.value)
    let forward = try ForwardTSN(parsing: &reader, isInterleaved: isInterleaved)
    let tsn = received.extend(forward.cumulativeTSN)
    isAcknowledgementDue = true
    guard tsn > received.cumulative else { return }
    guard tsn - received.cumulative <= SCTPLimits.tsnAheadMax else {
      drops[.tooManyGaps] += 1
      return
    }
    received.advance(to: tsn)
    if !isInterleaved { reassembly.giveUp(through: tsn) }
    for skipped in forward.skipped where skipped.stream.rawValue < inboundStreamCount {
      if isInterleaved { reassembly.giveUp(skipped) }
      for message in inboundStreams.skip(skipped) { deliver(message) }
      while let next = inboundStreams.popReady(skipped.stream) { deliver(next) }
    }
    performDeferredReset()
  }

  // MARK: SACK

  private mutating func receiveSack(_ chunk: borrowing Chunk, at now: Instant) throws(ParseError) {
    impliesCookieAck(at: now)
    guard state != .cookieWait else {
      drops[.unexpected] += 1
      return
    }
    var reader = ByteReader(chunk.value)
    let sack = try SackChunk(parsing: &reader)
    let inFlightBefore = retransmissions.inFlightByteCount
    let outcome: AcknowledgementOutcome?
    do throws(ParseError) {
      outcome = try retransmissions.acknowledge(
        sack, queue: &sendQueue, smoothedRoundTrip: timeout.smoothed, at: now)
    } catch {
      drops[.forgedAcknowledgement] += 1
      return
    }
    guard let outcome else { return }
    let wasShut = isWindowShut()
    peerWindow = Int(sack.window)
    if wasShut, !isWindowShut(), !outcome.isCumulativeAdvanced, retransmissions.count == 1 {
      // The window opens, and the chunk that probed it found it shut: nothing later would tell of its loss.
      retransmissions.timedOut(isRepeated: false, queue: &sendQueue, at: now)
    }
    digest(outcome, inFlightBefore: inFlightBefore, at: now)
  }

  /// Whether the peer takes less than a packet.
  func isWindowShut() -> Bool { peerWindow < configuration.packetByteCountMax }

  /// What follows from a SACK: round-trip time, congestion window, timers (§6.3.2, §7.2).
  mutating func digest(_ outcome: AcknowledgementOutcome, inFlightBefore: Int, at now: Instant) {
    if outcome.isCumulativeAdvanced { noteShutdownProgress(at: now) }
    let isAnswer = outcome.newlyAcknowledgedByteCount > 0 || outcome.isCumulativeAdvanced
    if isAnswer || isWindowShut() { noteAnswer() }
    if let sample = outcome.roundTripTime { timeout.measured(sample) }
    if let point = recoveryPoint, retransmissions.cumulative >= point { recoveryPoint = nil }
    if outcome.newlyAcknowledgedByteCount > 0 {
      congestion.acknowledged(
        Acknowledgement(
          byteCount: outcome.newlyAcknowledgedByteCount, lostByteCount: outcome.lostByteCount,
          previousInFlightByteCount: inFlightBefore, inFlightByteCount: retransmissions.inFlightByteCount,
          roundTripTime: outcome.roundTripTime, isCumulative: outcome.isCumulativeAdvanced,
          newestPacket: outcome.newestPacket, isRecovering: recoveryPoint != nil, time: now))
    }
    if outcome.lostCount > 0, recoveryPoint == nil {
      congestion.lossDetected()
      recoveryPoint = retransmissions.nextTSN - 1
    }
    // A SACK names only the lowest few hundred blocks, so after a great loss much is taken to be in flight that
    // is not, and the window stays full. But each SACK means that a packet arrived: one may follow (the packet
    // conservation of RFC 6937), and it fills the hole that hides the others.
    recoveryCredit = recoveryPoint == nil ? 0 : configuration.packetByteCountMax
    if retransmissions.isEmpty {
      timers[.retransmission] = nil
      timers[.tailLossProbe] = nil
    } else if outcome.isCumulativeAdvanced || timers[.retransmission] == nil {
      timers[.retransmission] = now + timeout.timeout
    }
    noteForwardTSN(at: now)
  }

  /// RFC 3758 §3.5 C3, no more often than once per round trip unless there is news.
  mutating func noteForwardTSN(at now: Instant) {
    guard retransmissions.needsForwardTSN else {
      isForwardTSNPending = false
      return
    }
    let interval = max(timeout.smoothed ?? timeout.timeout, SCTPLimits.forwardTSNInterval)
    if now - forwardTSNSentAt >= interval { isForwardTSNPending = true }
  }

  // MARK: HEARTBEAT ACK

  private mutating func receiveHeartbeatAck(_ chunk: borrowing Chunk, at now: Instant) throws(ParseError) {
    var reader = ByteReader(chunk.value)
    let information = try Parameter(parsing: &reader)
    var fields = ByteReader(information.value)
    let nonce = try fields.readUInt64()
    guard nonce == heartbeatNonce else {
      drops[.unexpected] += 1
      return
    }
    heartbeatNonce = nil
    noteAnswer()
    if let heartbeatSentAt { timeout.measured(now - heartbeatSentAt) }
  }
}
