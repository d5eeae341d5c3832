// SPDX-License-Identifier: Apache-2.0

public import DTLS
public import SDP

/// Why a call of an application was refused. Nothing that arrives from the network is ever thrown at it.
public enum PeerConnectionError: Error, Sendable {
  /// The connection is closed.
  case closed
  /// The call does not fit the signaling state, for example an answer without an offer.
  case wrongSignalingState(SignalingState)
  /// The description is no valid SDP.
  case malformedDescription(SDPError)
  /// The description is valid SDP that we cannot accept.
  case unacceptableDescription(NegotiationError)
  /// A candidate that is none.
  case malformedCandidate
  /// Another description than the one that was created last.
  case unknownLocalDescription
  /// A new ICE user name or another fingerprint in a session that stands: a restart, which is not supported yet.
  case restartNotSupported
  /// OpenSSL refused to make a handshake object.
  case dtls(DTLSError)
}

extension PeerConnectionError: CustomStringConvertible {
  /// One sentence for a log or a user.
  public var description: String {
    switch self {
    case .closed: "the peer connection is closed"
    case .wrongSignalingState(let state): "not possible in signaling state \(state.rawValue)"
    case .malformedDescription(let error): "the session description is malformed: \(error)"
    case .unacceptableDescription(let error): "the session description cannot be accepted: \(error)"
    case .malformedCandidate: "the ICE candidate is malformed"
    case .unknownLocalDescription: "the local description is not the one that was created last"
    case .restartNotSupported: "the description restarts ICE, which this version does not support"
    case .dtls(let error): "DTLS could not be set up: \(error)"
    }
  }
}
