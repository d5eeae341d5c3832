// SPDX-License-Identifier: Apache-2.0

public import SDP

extension Negotiation {
  /// Offers all transceivers that are not stopped, and data channels if there are to be any (RFC 9429 §5.2).
  ///
  /// - Parameter previous: our description in force, whose sections keep their place, identifier and numbers
  ///   (RFC 9429 §5.2.2): a section whose transceiver is stopped gets port 0, and a section with port 0 is taken
  ///   up by the next transceiver that has none.
  /// - Throws: ``NegotiationError`` if a transceiver has no codec, the payload types do not suffice, or a text of
  ///   ours holds a control character.
  public static func makeOffer(
    transceivers: [TransceiverDescription], local: LocalTransportDescription, previous: SessionDescription?,
    options: NegotiationOptions = NegotiationOptions()
  ) throws(NegotiationError) -> SessionDescription {
    var writer = OfferWriter(local: local, options: options, previous: previous)
    writer.reserve(mids: transceivers.compactMap(\.mid))
    var pending = transceivers.indices.filter { !transceivers[$0].isStopped && transceivers[$0].mid == nil }[
      ...]
    var offer = newDescription(local)
    offer.extmapAllowMixed = true
    let hasData = previous?.media.contains { DescriptionCheck.isData($0) && !$0.isRejected } ?? false
    var isDataMissing = options.offersDataChannels && !hasData
    for media in previous?.media ?? [] {
      let owner = transceivers.indices.first {
        media.mid != nil && transceivers[$0].mid == media.mid && !transceivers[$0].isStopped
      }
      if let owner {
        offer.media.append(try writer.section(for: transceivers[owner], index: owner, mid: media.mid ?? ""))
      } else if DescriptionCheck.isData(media), !media.isRejected, options.acceptsDataChannels {
        offer.media.append(writer.dataSection(mid: media.mid, protocolName: media.protocolName))
      } else if media.isRejected, media.kind == .application, isDataMissing {
        offer.media.append(writer.dataSection())
        isDataMissing = false
      } else if media.isRejected, let next = pending.popFirst() {
        let mid = writer.nextMid()
        offer.media.append(try writer.section(for: transceivers[next], index: next, mid: mid))
      } else {
        offer.media.append(rejectedSection(like: media, local: local, setup: .actpass))
      }
    }
    for index in transceivers.indices
    where isUnplaced(transceivers[index], in: offer, pending: pending, index) {
      let mid = transceivers[index].mid ?? writer.nextMid()
      offer.media.append(try writer.section(for: transceivers[index], index: index, mid: mid))
    }
    if isDataMissing { offer.media.append(writer.dataSection()) }
    try finish(&offer, local: local)
    return offer
  }

  /// Whether a transceiver still needs a section: it has none, or one that the previous description lacks.
  private static func isUnplaced(
    _ transceiver: TransceiverDescription, in offer: SessionDescription, pending: ArraySlice<Int>,
    _ index: Int
  ) -> Bool {
    guard !transceiver.isStopped else { return false }
    guard let mid = transceiver.mid else { return pending.contains(index) }
    return offer.mediaIndex(mid: mid) == nil
  }
}

/// Writes the sections of one offer.
private struct OfferWriter {
  let local: LocalTransportDescription
  let options: NegotiationOptions
  private var payloadTypes: PayloadTypeTable
  private var usedMids: Set<String>
  private var lastMid = 0
  private var extensions: [HeaderExtensionMap]

  init(local: LocalTransportDescription, options: NegotiationOptions, previous: SessionDescription?) {
    self.local = local
    self.options = options
    payloadTypes = PayloadTypeTable(previous)
    usedMids = Set((previous?.media ?? []).compactMap(\.mid))
    extensions = Self.extensions(previous, wanted: options.wantedHeaderExtensions)
  }

  /// The extensions that we want under the numbers that they have, else under free ones.
  private static func extensions(_ previous: SessionDescription?, wanted: [String]) -> [HeaderExtensionMap] {
    let known = (previous?.media ?? []).flatMap(\.extmaps) + (previous?.extmaps ?? [])
    var used = Set(known.map(\.id))
    var result: [HeaderExtensionMap] = []
    for uri in wanted {
      if let map = known.first(where: { $0.uri == uri && $0.id <= Negotiation.oneByteExtensionIDMax }) {
        result.append(HeaderExtensionMap(id: map.id, uri: uri))
      } else if let id = (1...Negotiation.oneByteExtensionIDMax).first(where: { !used.contains($0) }) {
        used.insert(id)
        result.append(HeaderExtensionMap(id: id, uri: uri))
      }
    }
    return result
  }

  /// Keeps identifiers from being given out again.
  mutating func reserve(mids: [String]) { usedMids.formUnion(mids) }

  /// The smallest number that no section has or had.
  mutating func nextMid() -> String {
    while !usedMids.insert(String(lastMid)).inserted { lastMid += 1 }
    return String(lastMid)
  }

  mutating func section(
    for transceiver: TransceiverDescription, index: Int, mid: String
  ) throws(NegotiationError) -> MediaDescription {
    guard !transceiver.codecs.isEmpty, transceiver.kind == .audio || transceiver.kind == .video else {
      throw .unusableTransceiver(index: index)
    }
    let isVideo = transceiver.kind == .video
    let sends = transceiver.direction.sends
    let wantsRetransmission = isVideo && (!sends || transceiver.rtxSSRC != nil)
    let feedback = CodecMatching.feedback(
      for: transceiver.kind, usesCongestionFeedback: options.usesCongestionFeedback)
    var section = MediaDescription(
      kind: transceiver.kind, port: 9, protocolName: "UDP/TLS/RTP/SAVPF", formats: [])
    section.mid = mid
    section.direction = transceiver.direction
    section.rtcpMux = true
    section.rtcpRsize = true
    section.extmaps = extensions
    for codec in transceiver.codecs {
      let entry = try payloadTypes.entry(for: codec, wantsRetransmission: wantsRetransmission)
      let payloadType = entry.map.payloadType
      guard !section.formats.contains(String(payloadType)) else { continue }
      section.formats.append(String(payloadType))
      section.rtpMaps.append(entry.map)
      section.rtcpFeedback += feedback.map { RTCPFeedback(payloadType: payloadType, value: $0) }
      if let parameters = codec.formatParameters {
        section.fmtp.append(FormatParameters(payloadType: payloadType, text: parameters))
      }
      guard wantsRetransmission, let rtx = entry.rtxPayloadType else { continue }
      section.formats.append(String(rtx))
      section.rtpMaps.append(
        RTPMap(payloadType: rtx, encodingName: "rtx", clockRateHertz: codec.clockRateHertz))
      section.fmtp.append(FormatParameters(payloadType: rtx, text: "apt=\(payloadType)"))
    }
    if sends {
      Negotiation.writeSources(
        of: transceiver, cname: local.cname, hasRetransmission: wantsRetransmission, to: &section)
    }
    Negotiation.writeTransport(local, setup: .actpass, to: &section)
    return section
  }

  /// The section of data channels (RFC 8841 §5), under an identifier that it has already or a new one.
  mutating func dataSection(
    mid: String? = nil, protocolName: String = "UDP/DTLS/SCTP"
  ) -> MediaDescription {
    var section = MediaDescription(
      kind: .application, port: 9, protocolName: protocolName, formats: ["webrtc-datachannel"])
    section.mid = mid ?? nextMid()
    section.sctpPort = Negotiation.defaultSCTPPort
    section.maxMessageSize = options.maxMessageSize
    Negotiation.writeTransport(local, setup: .actpass, to: &section)
    return section
  }
}
