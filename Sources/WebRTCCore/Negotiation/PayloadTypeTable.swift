// SPDX-License-Identifier: Apache-2.0

internal import SDP

/// Which number each codec has in our offers: one meaning per number on the whole transport (RFC 9143 §9.1), and
/// the same number as in descriptions before (RFC 9429 §5.2.2).
struct PayloadTypeTable {
  /// A codec and its retransmission format.
  struct Entry {
    let map: RTPMap
    let parameters: String?
    var rtxPayloadType: UInt8?
  }

  private var entries: [Entry] = []
  private var isUsed = InlineArray<128, Bool>(repeating: false)
  /// Dynamic numbers first (RFC 3551 §6), then those unassigned below 64 that browsers use too. 64 to 95 would be
  /// taken for RTCP (RFC 5761 §4).
  private var free: ArraySlice<UInt8> = (Array(96...127) + Array(35...63))[...]

  /// Starts with the numbers of a description before.
  init(_ previous: SessionDescription?) {
    for media in previous?.media ?? [] {
      for payloadType in media.payloadTypes {
        isUsed[Int(payloadType)] = true
        guard !media.isRejected, let map = media.rtpMap(of: payloadType), CodecMatching.isMedia(map),
          !entries.contains(where: { $0.map.payloadType == payloadType })
        else { continue }
        entries.append(
          Entry(
            map: map, parameters: media.formatParameters(of: payloadType),
            rtxPayloadType: CodecMatching.retransmissionType(of: payloadType, in: media)))
      }
    }
  }

  /// The number of a codec, and of its retransmissions if wanted.
  mutating func entry(
    for codec: RTPCodec, wantsRetransmission: Bool
  ) throws(NegotiationError) -> Entry {
    let map = CodecMatching.map(codec, payloadType: 0)
    let known = entries.firstIndex {
      CodecMatching.isSameEncoding($0.map, map)
        && CodecMatching.isSameConfiguration(map.encodingName, $0.parameters, codec.formatParameters)
    }
    let index: Int
    if let known {
      index = known
    } else {
      let payloadType = if let fixed = staticType(of: map) { fixed } else { try next() }
      let own = CodecMatching.map(codec, payloadType: payloadType)
      entries.append(Entry(map: own, parameters: codec.formatParameters))
      index = entries.count - 1
    }
    if wantsRetransmission, entries[index].rtxPayloadType == nil {
      entries[index].rtxPayloadType = try next()
    }
    return entries[index]
  }

  /// RFC 3551 §6 fixes the numbers of G.711 and G.722; taken if free.
  private mutating func staticType(of map: RTPMap) -> UInt8? {
    let payloadType: UInt8
    switch map.encodingName.lowercased() {
    case "pcmu" where map.clockRateHertz == 8_000: payloadType = 0
    case "pcma" where map.clockRateHertz == 8_000: payloadType = 8
    case "g722" where map.clockRateHertz == 8_000: payloadType = 9
    default: return nil
    }
    guard !isUsed[Int(payloadType)] else { return nil }
    isUsed[Int(payloadType)] = true
    return payloadType
  }

  private mutating func next() throws(NegotiationError) -> UInt8 {
    while let candidate = free.popFirst() {
      guard !isUsed[Int(candidate)] else { continue }
      isUsed[Int(candidate)] = true
      return candidate
    }
    throw .payloadTypesExhausted
  }
}
