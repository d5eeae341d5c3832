// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// One media section: an m-line and all that follows to the next (RFC 8866 §5.14, RFC 9429 §5.2.1).
///
/// Attributes that WebRTC uses have typed fields; all others are kept in ``attributes``.
public struct MediaDescription: Hashable, Sendable {
  /// What flows here.
  public var kind: MediaKind
  /// 9 stands for "by ICE", 0 for "rejected" or, with ``isBundleOnly``, "by the bundle".
  public var port: UInt16
  /// The number behind the port's slash.
  public var portCount: UInt16?
  /// `UDP/TLS/RTP/SAVPF`, `UDP/DTLS/SCTP`, ...
  public var protocolName: String
  /// Payload types in order of preference, or `webrtc-datachannel`; at least one.
  public var formats: [String]
  /// The `i=` line.
  public var information: String?
  /// The `c=` lines.
  public var connections: [ConnectionData] = []
  /// The `b=` lines.
  public var bandwidths: [Bandwidth] = []

  /// `a=mid` (RFC 5888 §4).
  public var mid: String?
  /// The direction that the section itself declares.
  public var declaredDirection: MediaDirection?
  /// ICE and DTLS attributes of the section itself; see ``SessionDescription/transportAttributes(ofMedia:)``.
  public var transport = TransportAttributes()
  /// `a=candidate` (RFC 8839 §5.1), each with its leading `candidate:`.
  public var candidates: [String] = []
  /// `a=end-of-candidates` (RFC 8840 §8.2).
  public var endOfCandidates = false
  /// `a=bundle-only` (RFC 9143 §6).
  public var isBundleOnly = false
  /// `a=rtcp-mux` (RFC 5761 §5.1.1).
  public var rtcpMux = false
  /// `a=rtcp-rsize` (RFC 5506 §5).
  public var rtcpRsize = false
  /// `a=extmap-allow-mixed` (RFC 8285 §6).
  public var extmapAllowMixed = false
  /// `a=rtpmap`.
  public var rtpMaps: [RTPMap] = []
  /// `a=rtcp-fb`.
  public var rtcpFeedback: [RTCPFeedback] = []
  /// `a=fmtp`.
  public var fmtp: [FormatParameters] = []
  /// `a=extmap`.
  public var extmaps: [HeaderExtensionMap] = []
  /// `a=msid`.
  public var msids: [MediaStreamIdentifier] = []
  /// `a=ssrc`.
  public var ssrcs: [SSRCAttribute] = []
  /// `a=ssrc-group`.
  public var ssrcGroups: [SSRCGroup] = []
  /// `a=sctp-port` (RFC 8841 §5).
  public var sctpPort: UInt16?
  /// `a=max-message-size` in bytes (RFC 8841 §6); 0: no limit.
  public var maxMessageSize: UInt64?
  /// All other attributes, in their order.
  public var attributes: [Attribute] = []

  /// A section without attributes.
  public init(kind: MediaKind, port: UInt16, protocolName: String, formats: [String]) {
    self.kind = kind
    self.port = port
    self.protocolName = protocolName
    self.formats = formats
  }
}

extension MediaDescription {
  /// Whether the formats are RTP payload types: one of the protocol's words says so.
  public var isRTP: Bool {
    // Asked for every attribute: what nearly all sections say is told without cutting the text.
    if protocolName == "UDP/TLS/RTP/SAVPF" { return true }
    if protocolName == "UDP/DTLS/SCTP" { return false }
    return protocolName.split(separator: "/", omittingEmptySubsequences: false).contains("RTP")
  }

  /// Whether the section is refused or stopped: port 0 without `bundle-only` (RFC 3264 §6, RFC 9143 §6).
  public var isRejected: Bool { port == 0 && !isBundleOnly }

  /// The direction; `sendrecv` where the section declares none.
  public var direction: MediaDirection {
    get { declaredDirection ?? .sendrecv }
    set { declaredDirection = newValue }
  }

  /// `a=ice-ufrag` of the section itself.
  public var iceUsernameFragment: String? {
    get { transport.iceUsernameFragment }
    set { transport.iceUsernameFragment = newValue }
  }

  /// `a=ice-pwd` of the section itself.
  public var icePassword: Secret<String>? {
    get { transport.icePassword }
    set { transport.icePassword = newValue }
  }

  /// `a=ice-options` of the section itself.
  public var iceOptions: [String] {
    get { transport.iceOptions }
    set { transport.iceOptions = newValue }
  }

  /// `a=fingerprint` of the section itself.
  public var fingerprints: [FingerprintAttribute] {
    get { transport.fingerprints }
    set { transport.fingerprints = newValue }
  }

  /// `a=setup` of the section itself.
  public var setup: SetupRole? {
    get { transport.setup }
    set { transport.setup = newValue }
  }

  /// The payload types of an RTP section, in order of preference.
  public var payloadTypes: [UInt8] { isRTP ? formats.compactMap { UInt8($0) } : [] }

  /// The mapping of a payload type, for RFC 3551's audio types also where no `a=rtpmap` stands.
  public func rtpMap(of payloadType: UInt8) -> RTPMap? {
    if let map = rtpMaps.first(where: { $0.payloadType == payloadType }) { return map }
    switch payloadType {
    case 0: return RTPMap(payloadType: 0, encodingName: "PCMU", clockRateHertz: 8_000)
    case 8: return RTPMap(payloadType: 8, encodingName: "PCMA", clockRateHertz: 8_000)
    case 9: return RTPMap(payloadType: 9, encodingName: "G722", clockRateHertz: 8_000)
    default: return nil
    }
  }

  /// The parameters of a payload type.
  public func formatParameters(of payloadType: UInt8) -> String? {
    fmtp.first(where: { $0.payloadType == payloadType })?.text
  }

  /// Whether feedback of that kind is declared for a payload type, by number or by `*`.
  public func hasFeedback(_ value: String, of payloadType: UInt8) -> Bool {
    rtcpFeedback.contains {
      ($0.payloadType == payloadType || $0.payloadType == nil) && $0.value == value
    }
  }
}
