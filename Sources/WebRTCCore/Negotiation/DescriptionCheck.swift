// SPDX-License-Identifier: Apache-2.0

internal import SDP

/// The rules that hold for a description by itself, before it is matched with another.
enum DescriptionCheck {
  /// Protocols of media keyed by DTLS (RFC 5764 §8, RFC 7850); RTP/SAVPF stands in offers of old peers that key
  /// by DTLS all the same (RFC 9429 §5.1.2).
  private static let mediaProtocols: Set<String> = [
    "UDP/TLS/RTP/SAVPF", "TCP/TLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVPF", "RTP/SAVPF",
  ]

  /// Protocols of data channels (RFC 8841 §4.1).
  private static let dataProtocols: Set<String> = ["UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"]

  /// Whether a section of audio or video is protected by DTLS-SRTP.
  static func isSecureMedia(_ media: MediaDescription) -> Bool {
    mediaProtocols.contains(media.protocolName) && !media.attributes.contains { $0.name == "crypto" }
  }

  /// Whether a section is of data channels.
  static func isData(_ media: MediaDescription) -> Bool {
    media.kind == .application && dataProtocols.contains(media.protocolName)
      && media.formats.contains("webrtc-datachannel")
  }

  /// Refuses identifiers, payload types and header extensions that collide (RFC 5888, RFC 9143 §9, §12).
  static func verify(_ description: SessionDescription) throws(NegotiationError) {
    var indexes: [String: Int] = [:]
    for (index, media) in description.media.enumerated() {
      guard let mid = media.mid else { continue }
      guard indexes.updateValue(index, forKey: mid) == nil else { throw .duplicateMid(section: index) }
    }
    var bundled: Set<String> = []
    for group in description.bundleGroups {
      var sections: [Int] = []
      for mid in group {
        guard let index = indexes[mid], bundled.insert(mid).inserted else { throw .invalidBundle }
        if !description.media[index].isRejected { sections.append(index) }
      }
      try verifyTransport(of: description, sections: sections)
    }
    for (index, media) in description.media.enumerated() where !media.isRejected {
      if let mid = media.mid, bundled.contains(mid) { continue }
      try verifyTransport(of: description, sections: [index])
    }
  }

  /// Sections that share a transport may give each number one meaning only.
  private static func verifyTransport(
    of description: SessionDescription, sections: [Int]
  ) throws(NegotiationError) {
    var payloadTypes: [UInt8: (map: RTPMap, parameters: String?)] = [:]
    var extensions: [UInt16: String] = [:]
    for index in sections {
      let media = description.media[index]
      for payloadType in media.payloadTypes {
        guard let map = media.rtpMap(of: payloadType) else { continue }
        let parameters = media.formatParameters(of: payloadType)
        if let known = payloadTypes[payloadType] {
          guard CodecMatching.isSameEncoding(known.map, map),
            CodecMatching.isSameConfiguration(map.encodingName, known.parameters, parameters)
          else { throw .payloadTypeConflict(payloadType: payloadType) }
        } else {
          payloadTypes[payloadType] = (map, parameters)
        }
      }
      for map in description.extmaps(ofMedia: index) {
        if let known = extensions[map.id], known != map.uri { throw .headerExtensionConflict(id: map.id) }
        extensions[map.id] = map.uri
      }
    }
  }
}
