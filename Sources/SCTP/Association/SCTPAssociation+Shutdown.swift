// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The ends of an association: SHUTDOWN with everything delivered, or ABORT (RFC 9260 §9).
extension SCTPAssociation {
  /// Ends the association once all that was handed in is acknowledged (§9.2). Takes no further messages. With
  /// a peer that lives but takes nothing this lasts; ``abort(_:)`` does not.
  public mutating func shutdown(at now: Instant) {
    switch state {
    case .closed, .cookieWait, .cookieEchoed: abort(.userInitiated)
    case .established:
      state = .shutdownPending
      timers[.heartbeat] = nil
      progressShutdown(at: now)
    case .shutdownPending, .shutdownSent, .shutdownReceived, .shutdownAckSent: break
    }
  }

  /// Ends the association at once and tells the peer why (§9.1).
  public mutating func abort(_ cause: ErrorCause = .userInitiated) { abort(cause, information: []) }

  mutating func abort(_ cause: ErrorCause, information: [UInt8]) {
    guard !isOver else { return }
    if peerTag != 0 {
      reply(Chunk.array(.abort, value: cause.array(information: information)), tag: peerTag)
    }
    finish(.aborted(cause))
  }

  /// Takes the next step when nothing is outstanding any more.
  mutating func progressShutdown(at now: Instant) {
    guard retransmissions.isEmpty, sendQueue.isEmpty else { return }
    if state == .shutdownPending {
      state = .shutdownSent
      timers[.shutdownGuard] = now + SCTPLimits.shutdownGuard
      sendShutdown(at: now)
    } else if state == .shutdownReceived {
      state = .shutdownAckSent
      sendShutdownAck(at: now)
    }
  }

  /// Data still arrive at either side: the guard is against an end that hangs, not against a slow link.
  mutating func noteShutdownProgress(at now: Instant) {
    if timers[.shutdownGuard] != nil { timers[.shutdownGuard] = now + SCTPLimits.shutdownGuard }
  }

  /// Has a SHUTDOWN sent with the next packet. It is written there, not here: one answers a batch of packets,
  /// and it acknowledges all of them.
  mutating func sendShutdown(at now: Instant) {
    isShutdownDue = true
    timers[.shutdown] = now + timeout.timeout
  }

  mutating func writeShutdown(into output: inout OutputRawSpan) {
    let tsn = UInt32(truncatingIfNeeded: received.cumulative)
    output.write(Chunk.array(.shutdown, value: [UInt8](writing: 4) { $0.write(tsn) }))
    isShutdownDue = false
  }

  private mutating func sendShutdownAck(at now: Instant) {
    queueControl(Chunk.array(.shutdownAck))
    timers[.shutdown] = now + timeout.timeout
  }

  /// T2 ran out.
  mutating func shutdownTimedOut(at now: Instant) {
    guard countTimeout(at: now) else { return }
    timeout.backOff()
    switch state {
    case .shutdownSent: sendShutdown(at: now)
    case .shutdownAckSent: sendShutdownAck(at: now)
    default: break
    }
  }

  /// SHUTDOWN: the peer sends nothing more, and acknowledges what it has.
  mutating func receiveShutdown(_ chunk: borrowing Chunk, at now: Instant) throws(ParseError) {
    var reader = ByteReader(chunk.value)
    let tsn = try reader.readUInt32()
    guard state != .cookieWait, state != .cookieEchoed else {
      drops[.unexpected] += 1
      return
    }
    try acknowledge(through: tsn, at: now)
    switch state {
    case .established, .shutdownPending:
      state = .shutdownReceived
      timers[.heartbeat] = nil
      if timers[.shutdownGuard] == nil {
        timers[.shutdownGuard] = now + SCTPLimits.shutdownGuard
      }
    case .shutdownSent, .shutdownAckSent:
      state = .shutdownAckSent
      sendShutdownAck(at: now)
    case .shutdownReceived, .closed, .cookieWait, .cookieEchoed: break
    }
  }

  /// A SHUTDOWN's cumulative TSN counts as a SACK without blocks that leaves the window as it is.
  private mutating func acknowledge(through tsn: UInt32, at now: Instant) throws(ParseError) {
    let before = retransmissions.inFlightByteCount
    let content = [UInt8](writing: 12) { writer in
      writer.write(tsn)
      writer.write(UInt32(clamping: peerWindow))
      writer.write(0 as UInt32)
    }
    let bytes = content.rawSpan
    var reader = ByteReader(bytes)
    let sack = try SackChunk(parsing: &reader)
    let outcome: AcknowledgementOutcome?
    do throws(ParseError) {
      outcome = try retransmissions.acknowledge(
        sack, queue: &sendQueue, smoothedRoundTrip: timeout.smoothed, at: now)
    } catch {
      drops[.forgedAcknowledgement] += 1
      return
    }
    if let outcome { digest(outcome, inFlightBefore: before, at: now) }
  }

  /// SHUTDOWN ACK: the end, with a last word (§9.2).
  mutating func receiveShutdownAck() {
    guard state == .shutdownSent || state == .shutdownAckSent else {
      drops[.unexpected] += 1
      return
    }
    reply(Chunk.array(.shutdownComplete), tag: peerTag)
    finish(.shutdown)
  }
}
