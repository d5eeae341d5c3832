// SPDX-License-Identifier: Apache-2.0

/// The state of a whole connection: ICE and DTLS taken together (W3C WebRTC §4.3.3, RTCPeerConnectionState).
public enum PeerConnectionState: String, Hashable, Sendable {
  /// Nothing has begun.
  case new
  /// ICE checks or the DTLS handshake are under way.
  case connecting
  /// A consented path stands and both fingerprints were checked: media flows.
  case connected
  /// The path has gone quiet; it may come back by itself.
  case disconnected
  /// No path, consent lost, or the DTLS handshake failed. An ICE restart brings back what lost its path; a
  /// handshake that failed is final.
  case failed
  /// Closed by either side.
  case closed
}

/// How far the search for our own candidates is (W3C WebRTC §5.6.3, RTCIceGatheringState).
public enum ICEGatheringState: String, Hashable, Sendable {
  /// Nothing was found or searched yet.
  case new
  /// There are candidates, and more may come.
  case gathering
  /// All that there are stand in our description or were reported.
  case complete
}

/// Where offer and answer stand (W3C WebRTC §4.3.1, RTCSignalingState).
public enum SignalingState: String, Hashable, Sendable {
  /// No exchange is under way.
  case stable
  /// Our offer waits for an answer.
  case haveLocalOffer = "have-local-offer"
  /// The peer's offer waits for our answer.
  case haveRemoteOffer = "have-remote-offer"
  /// The connection is closed.
  case closed
}

/// The kind of a session description (W3C WebRTC §4.6.1, RTCSdpType).
public enum SDPType: String, Hashable, Sendable {
  /// Proposes a session.
  case offer
  /// Ends an exchange.
  case answer
  /// Takes back the offer that is under way (RFC 8829 §4.1.10.2); its text is empty.
  case rollback
}

/// A session description as applications and signaling carry it (W3C WebRTC §4.6.2).
public struct SessionDescriptionInit: Hashable, Sendable {
  /// Offer, answer or rollback.
  public var type: SDPType
  /// The text of the description (RFC 8866).
  public var sdp: String

  /// Pairs a type with its text.
  public init(type: SDPType, sdp: String) {
    self.type = type
    self.sdp = sdp
  }

  /// Takes back the offer that is under way, ours or the peer's.
  public static let rollback = SessionDescriptionInit(type: .rollback, sdp: "")
}

/// A trickled candidate as applications and signaling carry it (W3C WebRTC §4.8.1.2, RTCIceCandidateInit).
public struct ICECandidateInit: Hashable, Sendable {
  /// The candidate attribute's value, `candidate:…`; empty at the end of candidates.
  public var candidate: String
  /// The mid of the m-line that it belongs to.
  public var sdpMid: String?
  /// The index of that m-line, from 0.
  public var sdpMLineIndex: Int?
  /// The ICE user name fragment that it was gathered under.
  public var usernameFragment: String?

  /// Describes a candidate.
  public init(
    candidate: String, sdpMid: String? = nil, sdpMLineIndex: Int? = nil, usernameFragment: String? = nil
  ) {
    self.candidate = candidate
    self.sdpMid = sdpMid
    self.sdpMLineIndex = sdpMLineIndex
    self.usernameFragment = usernameFragment
  }
}
