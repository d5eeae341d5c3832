// SPDX-License-Identifier: Apache-2.0

internal import SDP

/// Whether payload types and codecs mean the same (RFC 3264 §6.1, RFC 9429 §5.3.1).
enum CodecMatching {
  /// Formats that protect or repeat others; never chosen as media.
  private static let auxiliaryNames: Set<String> = [
    "rtx", "red", "ulpfec", "flexfec", "flexfec-03", "cn", "telephone-event",
  ]

  /// Whether the mapping is of media.
  static func isMedia(_ map: RTPMap) -> Bool { !auxiliaryNames.contains(map.encodingName.lowercased()) }

  /// Whether name, clock and channels agree; names without regard to case (RFC 8866 §6.6).
  static func isSameEncoding(_ one: RTPMap, _ other: RTPMap) -> Bool {
    one.clockRateHertz == other.clockRateHertz && (one.channels ?? 1) == (other.channels ?? 1)
      && one.encodingName.lowercased() == other.encodingName.lowercased()
  }

  /// The mapping that a codec has under a payload type.
  static func map(_ codec: RTPCodec, payloadType: UInt8) -> RTPMap {
    RTPMap(
      payloadType: payloadType, encodingName: codec.encodingName, clockRateHertz: codec.clockRateHertz,
      channels: codec.channels.flatMap { $0 > 1 ? $0 : nil })
  }

  /// Whether two parameter lists of one encoding describe the same configuration.
  static func isSameConfiguration(_ encodingName: String, _ one: String?, _ other: String?) -> Bool {
    let one = FormatParameterList(one)
    let other = FormatParameterList(other)
    func agrees(_ name: String, default value: String) -> Bool {
      (one[name] ?? value) == (other[name] ?? value)
    }
    switch encodingName.lowercased() {
    case "h264":
      guard let one = H264Format(one), let other = H264Format(other) else { return false }
      return one.hasSameConfiguration(as: other)
    // draft-ietf-payload-vp9 §6, RTP payload format for AV1 §7.2, RFC 7798 §7.1.
    case "vp9": return agrees("profile-id", default: "0")
    case "av1": return agrees("profile", default: "0")
    case "h265": return agrees("profile-id", default: "1") && agrees("tx-mode", default: "SRST")
    case "rtx": return agrees("apt", default: "")
    default: return true
    }
  }

  /// How well a payload type of an offer serves one of our codecs: 2 the same, 1 the peer shows what we send.
  /// `nil`: not at all.
  static func quality(
    of payloadType: UInt8, in media: MediaDescription, for codec: RTPCodec, isReceiving: Bool
  ) -> Int? {
    guard let map = media.rtpMap(of: payloadType), isMedia(map),
      isSameEncoding(map, Self.map(codec, payloadType: payloadType))
    else { return nil }
    let offered = media.formatParameters(of: payloadType)
    if isSameConfiguration(map.encodingName, offered, codec.formatParameters) { return 2 }
    // A stream of ours that the offered profile's decoder shows; ours need not show theirs if none comes.
    guard !isReceiving, map.encodingName.lowercased() == "h264",
      let theirs = H264Format(FormatParameterList(offered)),
      let own = H264Format(FormatParameterList(codec.formatParameters)),
      theirs.packetizationMode == own.packetizationMode, theirs.profile.decodes(own.profile)
    else { return nil }
    return 1
  }

  /// The payload type of a section that serves best, by our order of preference.
  static func choose(
    from media: MediaDescription, codecs: [RTPCodec], isReceiving: Bool
  ) -> (payloadType: UInt8, codec: RTPCodec)? {
    let payloadTypes = media.payloadTypes
    for codec in codecs {
      var best: (payloadType: UInt8, quality: Int)?
      for payloadType in payloadTypes {
        let found = quality(of: payloadType, in: media, for: codec, isReceiving: isReceiving)
        if let found, found > best?.quality ?? 0 { best = (payloadType, found) }
      }
      if let best { return (best.payloadType, codec) }
    }
    return nil
  }

  /// The payload type that repeats another (RFC 4588 §8.6).
  static func retransmissionType(of payloadType: UInt8, in media: MediaDescription) -> UInt8? {
    media.payloadTypes.first { candidate in
      guard let map = media.rtpMap(of: candidate), map.encodingName.lowercased() == "rtx" else {
        return false
      }
      return FormatParameterList(media.formatParameters(of: candidate))["apt"] == String(payloadType)
    }
  }

  /// The parameters that an answer gives for a codec (RFC 6184 §8.2.2 for H.264; ours elsewhere).
  static func answerParameters(for codec: RTPCodec, offered: String?) -> String? {
    guard codec.encodingName.lowercased() == "h264" else { return codec.formatParameters }
    guard let offer = H264Format(FormatParameterList(offered)),
      let own = H264Format(FormatParameterList(codec.formatParameters))
    else { return codec.formatParameters }
    return H264Format.answerParameters(offer: offer, own: own)
  }

  /// Feedback that we speak, per kind of media.
  static func feedback(for kind: MediaKind, usesCongestionFeedback: Bool) -> [String] {
    let repair = kind == .video ? ["nack", "nack pli", "ccm fir"] : ["nack"]
    return usesCongestionFeedback ? repair + ["transport-cc", "goog-remb"] : repair
  }
}
