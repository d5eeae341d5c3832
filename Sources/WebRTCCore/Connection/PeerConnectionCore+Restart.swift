// SPDX-License-Identifier: Apache-2.0

import DTLS
import ICE
import SDP
public import SansIO

/// ICE restarts from either side, by offer and answer (RFC 8445 §9, RFC 8829 §5.2.1 and §5.3.1, RFC 8839 §4.4).
extension PeerConnectionCore {
  /// Has the next offer restart ICE: new credentials, all paths looked for anew (W3C WebRTC §4.4.2, restartIce).
  ///
  /// ``Event/negotiationNeeded`` follows, at once or at the end of the exchange that is under way. Media goes on over
  /// the old path, as far as it works, until there is a better one. Before anything was negotiated it does nothing; a
  /// restart that is under way already does for it.
  public mutating func restartICE(at now: Instant) {
    guard !isClosed, transport != nil else { return }
    restart.isWanted = true
    updateNegotiationNeeded()
  }

  /// The credentials of a description that restarts. Repeated calls give the same until they are in force or dropped.
  mutating func prepareRestart() -> ICECredentials {
    if let prepared = restart.prepared { return prepared }
    let prepared = ice.prepareRestart()
    restart.prepared = prepared
    return prepared
  }

  /// Whether the peer's offer restarts. Refuses one that we could not answer, before anything has changed.
  func isRestart(_ offer: SessionDescription) throws(PeerConnectionError) -> Bool {
    guard let transport, let section = Negotiation.transportSection(of: offer) else { return false }
    let remote = try Self.negotiating { () throws(NegotiationError) in
      try RemoteTransport(of: offer, section: section)
    }
    return try transport.isRestarted(by: remote)
  }

  // MARK: What an exchange does

  /// What an exchange of descriptions does to the transport.
  enum TransportChange {
    /// Every m-line is rejected: nothing.
    case none
    /// It is the first with an m-line that both want.
    case begins(StandingTransport)
    /// ICE goes on as it is, perhaps under another m-line.
    case continues(mid: String, mLineIndex: Int)
    /// Both sides have new credentials.
    case restarts(RemoteTransport, mid: String, mLineIndex: Int)
  }

  /// Finds out what an exchange does to the transport. Offer and answer restart together or not at all (RFC 8839 §4.4).
  func transportChange(
    by session: NegotiatedSession, local: SessionDescription, remote: SessionDescription
  ) throws(PeerConnectionError) -> TransportChange {
    guard let index = session.transportMediaIndex, let mid = session.transportMid,
      let role = session.localRole
    else { return .none }
    let parameters = try Self.negotiating { () throws(NegotiationError) in
      try RemoteTransport(of: remote, section: index)
    }
    guard let transport else {
      return .begins(
        StandingTransport(mid: mid, mLineIndex: index, remote: parameters, localRole: role))
    }
    let remoteRestarts = try transport.isRestarted(by: parameters)
    let fragment = local.transportAttributes(ofMedia: index).iceUsernameFragment
    switch (fragment != credentials.usernameFragment, remoteRestarts) {
    case (false, false): return .continues(mid: mid, mLineIndex: index)
    case (true, true): return .restarts(parameters, mid: mid, mLineIndex: index)
    case (true, false): throw .iceRestartNotAnswered
    case (false, true): throw .iceRestartNotOffered
    }
  }

  /// Has ICE follow an exchange.
  mutating func follow(
    _ change: TransportChange, in session: NegotiatedSession, localIsOffer: Bool, at now: Instant
  ) {
    // RFC 8445 §6.1.1: whoever offered first controls, through all restarts, and always we where the peer is lite.
    if session.remoteIsICELite { ice.setRole(.controlling) }
    switch change {
    case .none: return
    case .begins(let begun):
      transport = begun
      if !session.remoteIsICELite { ice.setRole(localIsOffer ? .controlling : .controlled) }
      // First, so that their checks begin in the order of their priorities.
      for candidate in session.remoteCandidates { ice.addRemoteCandidate(candidate, at: now) }
      ice.setRemoteCredentials(begun.remote.credentials, at: now)
      takeHeldCandidates(at: now)
    case .continues(let mid, let mLineIndex):
      transport?.mid = mid
      transport?.mLineIndex = mLineIndex
      for candidate in session.remoteCandidates { ice.addRemoteCandidate(candidate, at: now) }
    case .restarts(let remote, let mid, let mLineIndex):
      transport?.mid = mid
      transport?.mLineIndex = mLineIndex
      transport?.takeGeneration(remote)
      credentials = restart.prepared ?? ice.localCredentials
      restart = ICERestart()
      ice.restart(remote: remote.credentials, at: now)
      forgetAnnouncements()
      for candidate in session.remoteCandidates { ice.addRemoteCandidate(candidate, at: now) }
      takeHeldCandidates(at: now)
    }
    if session.remoteEndOfCandidates { ice.setEndOfRemoteCandidates(at: now) }
  }
}
