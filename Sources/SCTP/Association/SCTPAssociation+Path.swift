// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// What lies below comes and goes: ICE loses its path and finds another. The association outlives that.
extension SCTPAssociation {
  /// Nothing that is sent would arrive. Until ``pathFound(at:)`` no timer runs, so no time-out counts against a peer
  /// that cannot hear us; do not poll for packets meanwhile.
  public mutating func pathLost() { isPathLost = true }

  /// There is a path again, or another one.
  ///
  /// Where the old one had gone silent, what was on its way counts as lost and is sent again at once: the timers were
  /// backed off for a path that is gone.
  public mutating func pathFound(at now: Instant) {
    let wasSilent = isPathLost || consecutiveTimeouts > 0 || handshakeAttempts > 0
    isPathLost = false
    guard !isOver, wasSilent else { return }
    noteAnswer()
    handshakeAttempts = 0
    handshakeBeganAt = now
    heartbeatNonce = nil
    timeout.forgetBackOff()
    for timer in [Timer.handshake, .retransmission, .shutdown] where timers[timer] != nil {
      timers[timer] = now
    }
    handleTimeout(at: now)
  }
}
