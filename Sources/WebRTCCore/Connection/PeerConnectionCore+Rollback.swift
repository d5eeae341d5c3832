// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO

/// Taking an offer back, and noticing what an offer is needed for.
extension PeerConnectionCore {
  /// Returns to the descriptions in force (RFC 8829 §4.1.10.2), whoever made the offer.
  mutating func rollBack(at now: Instant) throws(PeerConnectionError) {
    switch signalingState {
    case .haveLocalOffer: withdrawLocalOffer()
    case .haveRemoteOffer: withdrawRemoteOffer()
    case .closed: throw .closed
    case .stable: throw .wrongSignalingState(.stable)
    }
    becomeStable(at: now)
  }

  /// Forgets our offer. What it was to do is still to be done.
  mutating func withdrawLocalOffer() {
    descriptions.pendingLocal = nil
    restart.isOffered = false
    if transport == nil { ice.setRole(.controlled) }
    forgetCreated()
  }

  private mutating func withdrawRemoteOffer() {
    descriptions.pendingRemote = nil
    restart.isAskedFor = false
    // They keep their numbers, by which the application may know them; another offer takes them up again.
    for index in transceivers.indices where transceivers[index].origin == .pendingOffer {
      transceivers[index].origin = .withdrawnOffer
    }
    forgetCreated()
  }

  /// Forgets a description that must not be set any more, and the credentials that were made for it.
  mutating func forgetCreated() {
    descriptions.created = nil
    descriptions.createdCandidates = []
    guard restart.prepared != nil else { return }
    restart.prepared = nil
    ice.cancelRestart()
    forgetAnnouncements()
  }

  /// Ends an exchange, well or by rollback.
  mutating func becomeStable(at now: Instant) {
    change(to: .stable)
    isNegotiationNeeded = false
    updateNegotiationNeeded()
    announceLocalCandidates()
    advance(at: now)
  }

  /// Tells the application once that an offer is needed (W3C WebRTC §4.7.3); during an exchange that waits.
  mutating func updateNegotiationNeeded() {
    guard signalingState == .stable else { return }
    let hasUnknown = transceivers.contains { $0.mid == nil && $0.origin != .withdrawnOffer }
    guard restart.isWanted || hasUnknown || data.needsNegotiation else {
      isNegotiationNeeded = false
      return
    }
    guard !isNegotiationNeeded else { return }
    isNegotiationNeeded = true
    emit(.negotiationNeeded)
  }
}
