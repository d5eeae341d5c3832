// SPDX-License-Identifier: Apache-2.0

public import DTLS
public import SDP

/// Why a call of an application was refused. Nothing that arrives from the network is ever thrown at it.
public enum PeerConnectionError: Error, Hashable, Sendable {
  /// The connection is closed.
  case closed
  /// The call does not fit the signaling state, for example an answer without an offer.
  case wrongSignalingState(SignalingState)
  /// The peer's offer crossed ours and we do not yield (``PeerConnectionCore/Configuration/isPolite``): ignore it,
  /// the peer will answer ours.
  case offerCollision
  /// The description is no valid SDP.
  case malformedDescription(SDPError)
  /// The description is valid SDP that we cannot accept.
  case unacceptableDescription(NegotiationError)
  /// A candidate that is none.
  case malformedCandidate
  /// Another description than the one that was created last.
  case unknownLocalDescription
  /// Another fingerprint or `tls-id` in a session that stands asks for a new DTLS association (RFC 8842 §4). We keep
  /// the one that we have; a peer with another certificate needs another connection.
  case dtlsAssociationChanged
  /// Only one of ICE user fragment and password is another than before; a restart changes both (RFC 8839 §4.4.1.1.1).
  case incompleteICERestart
  /// Our offer restarts ICE, and the answer has the peer's old credentials.
  case iceRestartNotAnswered
  /// The answer restarts ICE, and our offer did not.
  case iceRestartNotOffered
  /// OpenSSL refused to make a handshake object.
  case dtls(DTLSError)
}

extension PeerConnectionError: CustomStringConvertible {
  /// One sentence for a log or a user.
  public var description: String {
    switch self {
    case .closed: "the peer connection is closed"
    case .wrongSignalingState(let state): "not possible in signaling state \(state.rawValue)"
    case .offerCollision: "the peer's offer crossed ours, which stands"
    case .malformedDescription(let error): "the session description is malformed: \(error)"
    case .unacceptableDescription(let error): "the session description cannot be accepted: \(error)"
    case .malformedCandidate: "the ICE candidate is malformed"
    case .unknownLocalDescription: "the local description is not the one that was created last"
    case .dtlsAssociationChanged:
      "the description changes the peer's certificate, which takes a new connection"
    case .incompleteICERestart: "the description changes only one of ICE user fragment and password"
    case .iceRestartNotAnswered: "the answer keeps the ICE credentials though the offer restarts ICE"
    case .iceRestartNotOffered: "the answer restarts ICE though the offer does not"
    case .dtls(let error): "DTLS could not be set up: \(error)"
    }
  }
}
