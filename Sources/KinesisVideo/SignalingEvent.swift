// SPDX-License-Identifier: Apache-2.0

/// What the application wants to tell a peer.
public enum OutgoingSignal: Hashable, Sendable {
  /// A session description that opens a session; a master names the viewer, a viewer nobody.
  case offer(sdp: String, to: String?)
  /// A session description that accepts one.
  case answer(sdp: String, to: String?)
  /// A way to reach us.
  case candidate(ICECandidatePayload, to: String?)

  var kind: SignalingMessage.Kind {
    switch self {
    case .offer: .offer
    case .answer: .answer
    case .candidate: .iceCandidate
    }
  }

  var recipientClientID: String? {
    switch self {
    case .offer(_, let recipient), .answer(_, let recipient), .candidate(_, let recipient): recipient
    }
  }

  var payload: String {
    switch self {
    case .offer(let sdp, _): SDPPayload(type: "offer", sdp: sdp).payload
    case .answer(let sdp, _): SDPPayload(type: "answer", sdp: sdp).payload
    case .candidate(let candidate, _): candidate.payload
    }
  }
}

/// A step on the way to a connection.
public enum SignalingStep: String, CaseIterable, Hashable, Sendable {
  /// The channel is described.
  case describe
  /// The channel is created and becomes active.
  case create
  /// The channel's addresses are fetched.
  case endpoints
  /// The list of relays is fetched.
  case iceServers
  /// The WebSocket is opened.
  case webSocket
}

/// What happens on a signaling session.
public enum SignalingEvent: Hashable, Sendable {
  /// The WebSocket is open.
  case connected
  /// The connection is gone or could not be made; the session tries again after the time given, `nil` when it has ended.
  case disconnected(reason: String, retryIn: Duration?)
  /// An offer. The sender is authenticated by the service; it is empty when the service itself (a storage session) sends.
  case offer(sdp: String, from: String)
  /// An answer; a viewer gets it without a sender.
  case answer(sdp: String, from: String?)
  /// A candidate; a viewer gets it without a sender.
  case iceCandidate(ICECandidatePayload, from: String?)
  /// The relays for connections from now on.
  case iceServers([ICEServer])
  /// A message of ours failed for good.
  case statusResponse(SignalingMessage.StatusResponse)
  /// A step took this long.
  case stepTimed(SignalingStep, Duration)
}

/// Why the session dropped something.
public enum SignalingDropCause: Int, CaseIterable, Hashable, Sendable {
  /// A frame of the service that cannot be read.
  case malformedFrame = 0
  /// A payload that is no session description or candidate.
  case malformedPayload
  /// A sender's identifier with characters that it cannot have.
  case invalidSender
  /// A type of message that this version does not know.
  case unknownType
  /// A frame that is no text.
  case binaryFrame
  /// A waiting candidate gave way to a newer message.
  case candidateQueueFull
  /// A waiting description gave way to a newer message, for no candidate was left.
  case descriptionQueueFull
  /// A waiting message became too old.
  case expired
  /// A message of the application that the service would refuse.
  case unsendable
}
