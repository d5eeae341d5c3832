// SPDX-License-Identifier: Apache-2.0

public import SDP

/// Names a transceiver within its connection, in the order of creation from 0.
public struct TransceiverID: RawRepresentable, Hashable, Sendable {
  /// The position, from 0.
  public let rawValue: Int

  /// Wraps a position.
  public init(rawValue: Int) { self.rawValue = rawValue }
}

/// What an application asks of a new transceiver (W3C WebRTC §5.1, RTCRtpTransceiverInit).
public struct TransceiverInit: Sendable {
  /// What we are willing to do: send, receive, both, neither.
  public var direction: MediaDirection
  /// The codecs that we speak, best first.
  public var codecs: [RTPCodec]
  /// The media stream that our track belongs to (msid); tracks of one stream are played in step.
  public var streamID: String
  /// The name of our track (msid).
  public var trackID: String

  /// Describes a transceiver.
  public init(
    direction: MediaDirection = .sendrecv, codecs: [RTPCodec], streamID: String = "stream",
    trackID: String = "track"
  ) {
    self.direction = direction
    self.codecs = codecs
    self.streamID = streamID
    self.trackID = trackID
  }
}

/// One m-line's worth of media: a sender and a receiver of one kind (W3C WebRTC §5.4).
struct Transceiver {
  let kind: MediaKind
  let parameters: TransceiverInit
  /// The SSRC that we send with, and the one of its retransmissions (RFC 4588).
  let ssrc: UInt32
  let rtxSSRC: UInt32
  /// The m-line's identifier once one was associated.
  var mid: String?
  /// What was agreed on, `nil` before the first exchange.
  var negotiated: NegotiatedMedia?
  /// Where it came from, if not from the application.
  var origin = Origin.application

  enum Origin {
    /// The application, or an offer that was answered: it stays.
    case application
    /// The peer's offer, which is not answered yet.
    case pendingOffer
    /// The peer's offer, which was taken back: out of use until another offer needs one of its kind.
    case withdrawnOffer
  }

  var description: TransceiverDescription {
    TransceiverDescription(
      kind: kind, mid: mid, direction: parameters.direction, codecs: parameters.codecs,
      streamID: parameters.streamID, trackID: parameters.trackID, ssrc: ssrc, rtxSSRC: rtxSSRC,
      isStopped: origin == .withdrawnOffer)
  }
}
