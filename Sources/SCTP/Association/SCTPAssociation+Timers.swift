// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// What time brings (RFC 9260 §6.3, §8.1, §8.3).
extension SCTPAssociation {
  /// Does what is due. Call it at ``nextDeadline``, or later; poll afterwards.
  public mutating func handleTimeout(at now: Instant) {
    guard !isPathLost else { return }
    while let timer = timers.popExpired(at: now) {
      switch timer {
      case .handshake: handshakeTimedOut(at: now)
      case .retransmission: retransmissionTimedOut(at: now)
      case .tailLossProbe: probeTail(at: now)
      case .pacing: break  // the next poll sends
      case .acknowledgement: isAcknowledgementDue = true
      case .heartbeat: sendHeartbeat(at: now)
      case .shutdown: shutdownTimedOut(at: now)
      case .shutdownGuard: abort(.userInitiated)
      case .streamReset: resetTimedOut(at: now)
      }
    }
  }

  /// Counts a timeout against the peer (§8.1); ends the association when they lasted too long.
  mutating func countTimeout(at now: Instant) -> Bool {
    consecutiveTimeouts += 1
    let since = silentSince ?? now
    silentSince = since
    guard now - since <= SCTPLimits.silenceMax else {
      reply(Chunk.array(.abort), tag: peerTag)
      finish(.unreachable)
      return false
    }
    return true
  }

  /// The peer showed that it hears us.
  mutating func noteAnswer() {
    consecutiveTimeouts = 0
    silentSince = nil
  }

  /// A packet came although ours got no answer: the path may be back. Nobody has to wait for a timer that
  /// grew while it was away.
  mutating func noteSignOfLife(at now: Instant) {
    guard consecutiveTimeouts > 0 else { return }
    for timer in [Timer.retransmission, .heartbeat] {
      if let deadline = timers[timer] { timers[timer] = min(deadline, now + timeout.measuredTimeout) }
    }
  }

  /// T3-rtx (§6.3.3).
  private mutating func retransmissionTimedOut(at now: Instant) {
    guard !retransmissions.isEmpty else { return }
    statistics.timeouts += 1
    let isProbing = isWindowShut() && retransmissions.count == 1
    guard countTimeout(at: now) else { return }
    timeout.backOff()
    if !isProbing { congestion.timedOut(isRepeated: consecutiveTimeouts > 1) }
    recoveryPoint = nil
    retransmissions.timedOut(isRepeated: consecutiveTimeouts > 1, queue: &sendQueue, at: now)
    isForwardTSNPending = retransmissions.needsForwardTSN
    timers[.retransmission] = now + timeout.timeout
  }

  /// The end of a burst got lost, or its SACK: with nothing after it, no SACK tells so. Sends the last chunk
  /// again long before T3 runs out (RFC 8985 §7.3); the answer shows what is missing.
  private mutating func probeTail(at now: Instant) {
    guard mayTransmitData, !isWindowShut() else { return }
    retransmissions.probeTail(queue: sendQueue)
  }

  /// Two round trips and the peer's longest delay of a SACK after the last packet (RFC 8985 §7.2), if that is
  /// before T3 runs out.
  mutating func setTailLossProbe(at now: Instant) {
    guard let smoothed = timeout.smoothed else { return }
    let probe = now + smoothed * 2 + SCTPLimits.probeDelay
    if let deadline = timers[.retransmission], probe < deadline { timers[.tailLossProbe] = probe }
  }

  /// §8.3: tells an idle peer that lives from one that is gone.
  private mutating func sendHeartbeat(at now: Instant) {
    guard state == .established else { return }
    if heartbeatNonce != nil { guard countTimeout(at: now) else { return } }
    // One that was not answered goes out again as it was: its answer may only be slower than the next one.
    let nonce = heartbeatNonce ?? random.next()
    heartbeatSentAt = heartbeatNonce == nil ? now : nil
    heartbeatNonce = nonce
    let information = [UInt8](writing: 8) { $0.write(nonce) }
    queueControl(
      Chunk.array(.heartbeat, value: Parameter.array(.heartbeatInfo, value: information)))
    timers[.heartbeat] = now + SCTPLimits.heartbeatInterval + timeout.timeout
  }
}
