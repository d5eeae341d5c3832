// SPDX-License-Identifier: Apache-2.0

public import DTLS
public import ICE
public import SDP

/// What negotiation needs to know of a transceiver (RFC 9429 §3.4).
public struct TransceiverDescription: Sendable {
  /// Audio or video.
  public var kind: MediaKind
  /// The section it is tied to; `nil` before the first negotiation.
  public var mid: String?
  /// What the application wants.
  public var direction: MediaDirection
  /// Codecs in order of preference.
  public var codecs: [RTPCodec]
  /// Stream that the sent track belongs to; `-` for none.
  public var streamID: String
  /// Name of the sent track.
  public var trackID: String
  /// Source of the sent media.
  public var ssrc: UInt32
  /// Source of its retransmissions; `nil`: none are sent.
  public var rtxSSRC: UInt32?
  /// Whether it is out of use for ever.
  public var isStopped: Bool

  /// Makes a transceiver's description.
  public init(
    kind: MediaKind, mid: String? = nil, direction: MediaDirection, codecs: [RTPCodec], streamID: String,
    trackID: String, ssrc: UInt32, rtxSSRC: UInt32? = nil, isStopped: Bool = false
  ) {
    self.kind = kind
    self.mid = mid
    self.direction = direction
    self.codecs = codecs
    self.streamID = streamID
    self.trackID = trackID
    self.ssrc = ssrc
    self.rtxSSRC = rtxSSRC
    self.isStopped = isStopped
  }
}

/// What negotiation needs to know of our transport.
public struct LocalTransportDescription: Sendable {
  /// User fragment and password.
  public var credentials: ICECredentials
  /// Hash of our certificate.
  public var fingerprint: CertificateFingerprint
  /// Canonical name of our sources (RFC 7022).
  public var cname: String
  /// Candidates known by now; later ones trickle.
  public var candidates: [ICECandidate]
  /// Whether none will follow (RFC 8840 §8.2).
  public var hasAllCandidates: Bool
  /// The same in all our descriptions; below 2^63 (RFC 9429 §5.2.1).
  public var sessionID: UInt64
  /// Grows with each description that differs.
  public var sessionVersion: UInt64

  /// Makes a transport's description.
  public init(
    credentials: ICECredentials, fingerprint: CertificateFingerprint, cname: String,
    candidates: [ICECandidate] = [], hasAllCandidates: Bool = false, sessionID: UInt64, sessionVersion: UInt64
  ) {
    self.credentials = credentials
    self.fingerprint = fingerprint
    self.cname = cname
    self.candidates = candidates
    self.hasAllCandidates = hasAllCandidates
    self.sessionID = sessionID
    self.sessionVersion = sessionVersion
  }
}

/// What we offer and accept beyond codecs.
public struct NegotiationOptions: Sendable {
  /// RFC 9143 §14.1: the media identifier in each packet, by which bundled media are told apart.
  public static let midExtension = "urn:ietf:params:rtp-hdrext:sdes:mid"
  /// Transport-wide sequence numbers (draft-holmer-rmcat-transport-wide-cc-extensions-01).
  public static let transportSequenceExtension =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"

  /// Whether data sections are accepted; refused otherwise.
  public var acceptsDataChannels = false
  /// Whether sections of audio and video are accepted. Not on a DTLS association without keys for them.
  public var acceptsMedia = true
  /// Whether an offer has a data section, also where none stands yet.
  public var offersDataChannels = false
  /// The longest data channel message that we take, in bytes: what Chromium says of itself.
  public var maxMessageSize: UInt64 = 262_144
  /// Whether `transport-cc` and `goog-remb` are offered and accepted.
  public var usesCongestionFeedback = false
  /// Header extensions that we write and read; all others are left out.
  public var headerExtensions = [NegotiationOptions.midExtension]
  /// Our part in a DTLS association that exists already: it stays (RFC 8842 §5.5).
  public var establishedRole: DTLSRole?

  /// The defaults.
  public init() {}

  /// The header extensions, with the one that congestion feedback rests on.
  var wantedHeaderExtensions: [String] {
    guard usesCongestionFeedback, !headerExtensions.contains(Self.transportSequenceExtension) else {
      return headerExtensions
    }
    return headerExtensions + [Self.transportSequenceExtension]
  }
}

/// A header extension on which both sides agree.
public struct NegotiatedHeaderExtension: Hashable, Sendable {
  /// Number in the packets, 1 to 14.
  public var id: UInt8
  /// The extension's name.
  public var uri: String

  /// Makes a negotiated extension.
  public init(id: UInt8, uri: String) {
    self.id = id
    self.uri = uri
  }
}

/// The outcome of one media section.
public struct NegotiatedMedia: Sendable {
  /// The section's identifier; its index as text where neither side gives one.
  public var mid: String
  /// What flows.
  public var kind: MediaKind
  /// Our transceiver, by its place in the list given.
  public var transceiverIndex: Int?
  /// Whether the section is refused or stopped: then nothing below counts.
  public var isRejected: Bool
  /// The direction, seen from us.
  public var direction: MediaDirection
  /// Codecs agreed upon; the first is to be sent.
  public var codecs: [NegotiatedCodec]
  /// Header extensions agreed upon.
  public var headerExtensions: [NegotiatedHeaderExtension]
  /// Sources that the peer announced, without those of retransmissions; may be empty.
  public var remoteSSRCs: [UInt32]
  /// From a source of the peer to the source of its retransmissions.
  public var remoteRTXSSRCs: [UInt32: UInt32]
  /// Streams that the peer's track belongs to.
  public var remoteStreamIDs: [String]
}

/// The outcome of an offer and its answer.
public struct NegotiatedSession: Sendable {
  /// One entry per m-line, in their order.
  public var media: [NegotiatedMedia]
  /// Identifier of the section whose transport carries all (RFC 9143 §7); `nil` when every section is refused.
  public var transportMid: String?
  /// Index of the same section.
  public var transportMediaIndex: Int?
  /// The peer's ICE credentials; empty texts when every section is refused.
  public var remoteCredentials: ICECredentials
  /// The peer's fingerprints by SHA-256 and stronger.
  public var remoteFingerprints: [CertificateFingerprint]
  /// Our part in the DTLS handshake; `nil` when every section is refused.
  public var localRole: DTLSRole?
  /// Candidates in the peer's description for the transport in use; those we cannot read are left out.
  public var remoteCandidates: [ICECandidate]
  /// Whether the peer is a lite agent, so that we control (RFC 8445 §6.1.1).
  public var remoteIsICELite: Bool
  /// Whether no more candidates will come.
  public var remoteEndOfCandidates: Bool
  /// Largest data channel message that the peer takes; 65,536 where it says nothing (RFC 8841 §6.1), `nil`
  /// without a data section; 0 means any size.
  public var remoteMaxMessageSize: UInt64?
  /// The peer's SCTP port, 5,000 where it says nothing.
  public var remoteSCTPPort: UInt16?
}
