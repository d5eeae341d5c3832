// SPDX-License-Identifier: Apache-2.0

import ICE
public import SansIO

/// The peer's candidates, each in the ICE generation that it belongs to.
extension PeerConnectionCore {
  /// Adds a trickled candidate of the peer (RFC 8838); `nil` or an empty one ends them.
  ///
  /// One that comes before its description, the first or one that restarts ICE, is kept until then. One of an m-line
  /// that was bundled away, or of a generation that a restart has ended, is ignored.
  public mutating func addICECandidate(
    _ candidate: ICECandidateInit?, at now: Instant
  ) throws(PeerConnectionError) {
    guard !isClosed else { throw .closed }
    let named = candidate?.usernameFragment.flatMap { $0.isEmpty ? nil : $0 }
    guard let candidate, !candidate.candidate.isEmpty else {
      endRemoteCandidates(of: named, at: now)
      return
    }
    let parsed: ICECandidate
    do throws(ParseError) { parsed = try ICECandidate(parsing: candidate.candidate) } catch {
      throw .malformedCandidate
    }
    let remote = RemoteCandidate(
      candidate: parsed, mid: candidate.sdpMid, mLineIndex: candidate.sdpMLineIndex,
      usernameFragment: named ?? parsed.usernameFragment)
    switch generation(of: remote.usernameFragment) {
    case .present:
      add(remote, at: now)
      advance(at: now)
    case .next: if !heldCandidates.hold(remote) { drops[.earlyCandidateOverflow] += 1 }
    case .former: drops[.candidateOfOtherGeneration] += 1
    }
  }

  private mutating func endRemoteCandidates(of fragment: String?, at now: Instant) {
    switch generation(of: fragment) {
    case .present:
      ice.setEndOfRemoteCandidates(at: now)
      advance(at: now)
    case .next: heldCandidates.holdEnd(of: fragment)
    case .former: break
    }
  }

  private enum Generation {
    /// Of the descriptions in force.
    case present
    /// Of a description that is not in force yet, or that we have not seen.
    case next
    /// Ended by a restart.
    case former
  }

  /// Where a user fragment of the peer belongs. One that is not told belongs to the latest generation that the peer can
  /// mean (W3C WebRTC §4.4.1.8).
  private func generation(of fragment: String?) -> Generation {
    guard let transport else { return .next }
    guard let fragment else { return restart.isUnderWay ? .next : .present }
    if fragment == transport.remoteFragment { return .present }
    return transport.isFormer(fragment) ? .former : .next
  }

  private mutating func add(_ remote: RemoteCandidate, at now: Instant) {
    guard let transport, remote.candidate.component == 1 else { return }
    // Browsers gather for each m-line before they know that all are bundled.
    let isOfTransport =
      if let mid = remote.mid {
        mid == transport.mid
      } else {
        remote.mLineIndex == nil || remote.mLineIndex == transport.mLineIndex
      }
    guard isOfTransport else { return }
    ice.addRemoteCandidate(remote.candidate, at: now)
  }

  /// Hands ICE what was held for the generation that has just begun.
  mutating func takeHeldCandidates(at now: Instant) {
    guard let transport else { return }
    let held = heldCandidates.take(of: transport.remoteFragment)
    for candidate in held.candidates { add(candidate, at: now) }
    if held.hasEnd { ice.setEndOfRemoteCandidates(at: now) }
    drops[.candidateOfOtherGeneration] += UInt64(held.others)
  }
}
