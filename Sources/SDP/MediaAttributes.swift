// SPDX-License-Identifier: Apache-2.0

/// What flows in a media section: the first word of the m-line (RFC 8866 §5.14).
public enum MediaKind: Hashable, Sendable {
  /// Sound.
  case audio
  /// Pictures.
  case video
  /// Data channels.
  case application
  /// Anything else, by its name; never one of the three above.
  case other(String)

  /// The kind of that name.
  public init(name: String) {
    switch name {
    case "audio": self = .audio
    case "video": self = .video
    case "application": self = .application
    default: self = .other(name)
    }
  }

  /// The word on the m-line.
  public var name: String {
    switch self {
    case .audio: "audio"
    case .video: "video"
    case .application: "application"
    case .other(let name): name
    }
  }
}

/// Which ways media flows, seen from the author of the description (RFC 8866 §6.7).
public enum MediaDirection: String, Hashable, Sendable, CaseIterable {
  /// Both ways; what the absence of the attribute means.
  case sendrecv
  /// From the author only.
  case sendonly
  /// To the author only.
  case recvonly
  /// Not at all.
  case inactive

  /// The direction that sends and receives as told.
  public init(sends: Bool, receives: Bool) {
    self = sends ? (receives ? .sendrecv : .sendonly) : (receives ? .recvonly : .inactive)
  }

  /// Whether the author sends.
  public var sends: Bool { self == .sendrecv || self == .sendonly }
  /// Whether the author receives.
  public var receives: Bool { self == .sendrecv || self == .recvonly }
  /// The same as the other side sees it.
  public var reversed: MediaDirection { MediaDirection(sends: receives, receives: sends) }

  /// What both allow, each seen from the same side.
  public func intersection(_ other: MediaDirection) -> MediaDirection {
    MediaDirection(sends: sends && other.sends, receives: receives && other.receives)
  }
}

/// Who begins the DTLS handshake: `a=setup` (RFC 4145 §4, RFC 8842 §5).
public enum SetupRole: String, Hashable, Sendable, CaseIterable {
  /// Either; only in an offer.
  case actpass
  /// The author is the client.
  case active
  /// The author is the server.
  case passive
  /// Nobody yet.
  case holdconn
}

/// A digest of the author's certificate as text: `a=fingerprint` (RFC 8122 §5). Not judged here.
public struct FingerprintAttribute: Hashable, Sendable {
  /// The hash function's name, as it came.
  public var hashFunction: String
  /// Pairs of hexadecimal digits with colons, as they came.
  public var value: String

  /// Makes a fingerprint attribute.
  public init(hashFunction: String, value: String) {
    self.hashFunction = hashFunction
    self.value = value
  }

  /// Both words, as they stand behind `a=fingerprint:`.
  public var attributeValue: String { "\(hashFunction) \(value)" }
}

/// What a payload type means: `a=rtpmap` (RFC 8866 §6.6).
public struct RTPMap: Hashable, Sendable {
  /// 0 to 127.
  public var payloadType: UInt8
  /// The format's name; compared without regard to case.
  public var encodingName: String
  /// Clock of the RTP timestamps.
  public var clockRateHertz: UInt32
  /// Audio channels, where given.
  public var channels: Int?

  /// Makes a mapping.
  public init(payloadType: UInt8, encodingName: String, clockRateHertz: UInt32, channels: Int? = nil) {
    self.payloadType = payloadType
    self.encodingName = encodingName
    self.clockRateHertz = clockRateHertz
    self.channels = channels
  }
}

/// Parameters of a payload type: `a=fmtp` (RFC 8866 §6.15).
public struct FormatParameters: Hashable, Sendable {
  /// 0 to 127.
  public var payloadType: UInt8
  /// The parameters, in the syntax of the format.
  public var text: String

  /// Makes format parameters.
  public init(payloadType: UInt8, text: String) {
    self.payloadType = payloadType
    self.text = text
  }
}

/// A kind of feedback that the author understands: `a=rtcp-fb` (RFC 4585 §4.2).
public struct RTCPFeedback: Hashable, Sendable {
  /// 0 to 127; `nil` for `*`, all payload types of the section.
  public var payloadType: UInt8?
  /// `nack`, `nack pli`, `ccm fir`, `transport-cc`, ...
  public var value: String

  /// Makes a feedback attribute.
  public init(payloadType: UInt8?, value: String) {
    self.payloadType = payloadType
    self.value = value
  }
}

/// The number that stands for a header extension: `a=extmap` (RFC 8285 §5).
public struct HeaderExtensionMap: Hashable, Sendable {
  /// 1 to 14 in one-byte headers, to 255 in two-byte headers; 4,096 to 4,351 in offers of more than fit.
  public var id: UInt16
  /// A direction of its own, where given.
  public var direction: MediaDirection?
  /// The extension's name.
  public var uri: String
  /// Whatever follows the name.
  public var extensionAttributes: String?

  /// Makes a mapping.
  public init(id: UInt16, direction: MediaDirection? = nil, uri: String, extensionAttributes: String? = nil) {
    self.id = id
    self.direction = direction
    self.uri = uri
    self.extensionAttributes = extensionAttributes
  }
}

/// A property of one RTP source: `a=ssrc` (RFC 5576 §4.1).
public struct SSRCAttribute: Hashable, Sendable {
  /// The source.
  public var ssrc: UInt32
  /// `cname`, `msid`, ...
  public var name: String
  /// What stands behind the second colon.
  public var value: String?

  /// Makes a source attribute.
  public init(ssrc: UInt32, name: String, value: String? = nil) {
    self.ssrc = ssrc
    self.name = name
    self.value = value
  }
}

/// Sources that belong together: `a=ssrc-group` (RFC 5576 §4.2); `FID` couples media with its retransmissions.
public struct SSRCGroup: Hashable, Sendable {
  /// `FID`, `SIM`, `FEC-FR`, ...
  public var semantics: String
  /// The sources, in an order that matters; at least one.
  public var ssrcs: [UInt32]

  /// Makes a group.
  public init(semantics: String, ssrcs: [UInt32]) {
    self.semantics = semantics
    self.ssrcs = ssrcs
  }
}

/// Which stream and track a section belongs to: `a=msid` (RFC 8830 §2).
public struct MediaStreamIdentifier: Hashable, Sendable {
  /// The stream; `-` for none.
  public var streamID: String
  /// The track, where given.
  public var trackID: String?

  /// Makes an identifier.
  public init(streamID: String, trackID: String? = nil) {
    self.streamID = streamID
    self.trackID = trackID
  }
}
