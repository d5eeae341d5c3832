// SPDX-License-Identifier: Apache-2.0

/// A media format: W3C `RTCRtpCodec`.
public struct RTPCodec: Hashable, Sendable {
  /// Kind and format, `video/H264`; compared without regard to case when descriptions are matched.
  public var mimeType: String
  /// Clock of the RTP timestamps.
  public var clockRateHertz: UInt32
  /// Audio channels; `nil` for video.
  public var channels: Int?
  /// The value of `a=fmtp`, in the format's own syntax.
  public var formatParameters: String?

  /// Makes a codec.
  public init(mimeType: String, clockRateHertz: UInt32, channels: Int? = nil, formatParameters: String? = nil)
  {
    self.mimeType = mimeType
    self.clockRateHertz = clockRateHertz
    self.channels = channels
    self.formatParameters = formatParameters
  }

  /// H.264 Constrained Baseline, level 3.1, cut in fragments: what RFC 7742 §6.2 makes every browser speak.
  public static let h264ConstrainedBaseline = RTPCodec(
    mimeType: "video/H264", clockRateHertz: 90_000,
    formatParameters: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f")

  /// Opus (RFC 7587), with in-band error correction.
  public static let opus = RTPCodec(
    mimeType: "audio/opus", clockRateHertz: 48_000, channels: 2,
    formatParameters: "minptime=10;useinbandfec=1")

  /// VP8 (RFC 7741).
  public static let vp8 = RTPCodec(mimeType: "video/VP8", clockRateHertz: 90_000)

  /// G.711 mu-law (RFC 3551 §4.5.14).
  public static let pcmu = RTPCodec(mimeType: "audio/PCMU", clockRateHertz: 8_000, channels: 1)

  /// G.711 A-law (RFC 3551 §4.5.14).
  public static let pcma = RTPCodec(mimeType: "audio/PCMA", clockRateHertz: 8_000, channels: 1)

  /// The format's name, without the kind before the slash.
  public var encodingName: String {
    String(mimeType.split(separator: "/", maxSplits: 1).last ?? "")
  }
}

/// A codec on which both sides agree, with the numbers it has on the wire.
public struct NegotiatedCodec: Hashable, Sendable {
  /// The codec, with the parameters of the answer.
  public var codec: RTPCodec
  /// Payload type of its packets, 0 to 127.
  public var payloadType: UInt8
  /// Payload type of its retransmissions (RFC 4588), where agreed.
  public var rtxPayloadType: UInt8?
  /// Whether lost packets are asked for (RFC 4585 §6.2.1).
  public var hasNACK: Bool
  /// Whether key frames are asked for by PLI (RFC 4585 §6.3.1).
  public var hasPLI: Bool
  /// Whether key frames are asked for by FIR (RFC 5104 §4.3.1).
  public var hasFIR: Bool
  /// Whether transport-wide feedback is sent.
  public var hasTransportCC: Bool

  /// Makes a negotiated codec.
  public init(
    codec: RTPCodec, payloadType: UInt8, rtxPayloadType: UInt8? = nil, hasNACK: Bool = false,
    hasPLI: Bool = false, hasFIR: Bool = false, hasTransportCC: Bool = false
  ) {
    self.codec = codec
    self.payloadType = payloadType
    self.rtxPayloadType = rtxPayloadType
    self.hasNACK = hasNACK
    self.hasPLI = hasPLI
    self.hasFIR = hasFIR
    self.hasTransportCC = hasTransportCC
  }
}
