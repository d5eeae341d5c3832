// SPDX-License-Identifier: Apache-2.0

internal import DTLS
public import SDP

extension Negotiation {
  /// Answers an offer (RFC 9429 §5.3).
  ///
  /// Each section that cannot be taken keeps its place with port 0: one without a transceiver of its kind, with
  /// none of the transceiver's codecs, not keyed by DTLS, without `rtcp-mux`, or outside the first bundle.
  /// A section that is taken gets one codec, our most preferred of those offered, under the offer's payload type.
  ///
  /// - Parameter rejectAll: refuses every section, so that the peer learns at once that nothing will come.
  /// - Throws: ``NegotiationError`` if the offer contradicts itself, a section to be taken has no usable
  ///   fingerprint or ICE credentials, or a text of ours holds a control character.
  public static func makeAnswer(
    to offer: SessionDescription, transceivers: [TransceiverDescription], local: LocalTransportDescription,
    rejectAll: Bool, options: NegotiationOptions = NegotiationOptions()
  ) throws(NegotiationError) -> SessionDescription {
    try DescriptionCheck.verify(offer)
    let plan = rejectAll ? nil : plan(for: offer, transceivers: transceivers, options: options)
    var role = options.establishedRole ?? .server
    if let transport = plan?.transportSection {
      let remote = try RemoteTransport(of: offer, section: transport)
      role = try SetupNegotiation.answererRole(
        offer: remote.setup, established: options.establishedRole, section: transport)
    }
    let setup = SetupNegotiation.attribute(role)

    var answer = newDescription(local)
    answer.extmapAllowMixed = offer.extmapAllowMixed
    for (index, media) in offer.media.enumerated() {
      switch plan?.sections[index] ?? .reject {
      case .reject: answer.media.append(rejectedSection(like: media, local: local, setup: setup))
      case .data:
        answer.media.append(dataSection(answering: media, local: local, setup: setup, options: options))
      case .media(let choice):
        var section = mediaSection(
          answering: offer, index: index, choice: choice, transceiver: transceivers[choice.transceiver],
          cname: local.cname, options: options)
        writeTransport(local, setup: setup, to: &section)
        answer.media.append(section)
      }
    }
    try finish(&answer, local: local, offered: Set(offer.bundleGroups.joined()))
    return answer
  }

  /// What is done with a section.
  private enum SectionPlan {
    case reject
    case data
    case media(MediaChoice)
  }

  /// What a section is answered with.
  private struct MediaChoice {
    let transceiver: Int
    let direction: MediaDirection
    let payloadType: UInt8
    let codec: RTPCodec
  }

  /// What is done with all sections, and which carries the transport; `nil` if none is taken.
  private struct AnswerPlan {
    var sections: [SectionPlan] = []
    var transportSection: Int?
    var hasData = false
  }

  /// Takes the first section that can be taken, and all others that can and share its bundle.
  private static func plan(
    for offer: SessionDescription, transceivers: [TransceiverDescription], options: NegotiationOptions
  ) -> AnswerPlan {
    let matches = matchTransceivers(transceivers, with: offer)
    var result = AnswerPlan()
    for (index, media) in offer.media.enumerated() {
      let section = planSection(
        media, direction: offer.direction(ofMedia: index), match: matches[index], transceivers: transceivers,
        options: options)
      if case .reject = section {
        result.sections.append(.reject)
        continue
      }
      if let transport = result.transportSection {
        guard areBundled(offer, transport, index) else {
          result.sections.append(.reject)
          continue
        }
      } else {
        result.transportSection = index
      }
      if case .data = section {
        // One SCTP association is all that a DTLS association carries (RFC 8841 §9.2).
        guard !result.hasData else {
          result.sections.append(.reject)
          continue
        }
        result.hasData = true
      }
      result.sections.append(section)
    }
    return result
  }

  private static func planSection(
    _ media: MediaDescription, direction: MediaDirection, match: Int?, transceivers: [TransceiverDescription],
    options: NegotiationOptions
  ) -> SectionPlan {
    guard !media.isRejected else { return .reject }
    if DescriptionCheck.isData(media) {
      // RFC 8841 §5.2: port 0 asks for the end of the association.
      return options.acceptsDataChannels && media.sctpPort != 0 ? .data : .reject
    }
    guard let match, options.acceptsMedia, DescriptionCheck.isSecureMedia(media), media.rtcpMux else {
      return .reject
    }
    let transceiver = transceivers[match]
    let direction = direction.reversed.intersection(transceiver.direction)
    guard
      let found = CodecMatching.choose(
        from: media, codecs: transceiver.codecs, isReceiving: direction.receives)
    else { return .reject }
    return .media(
      MediaChoice(
        transceiver: match, direction: direction, payloadType: found.payloadType, codec: found.codec))
  }

  private static func areBundled(_ offer: SessionDescription, _ first: Int, _ second: Int) -> Bool {
    guard let first = offer.media[first].mid, let second = offer.media[second].mid else { return false }
    return offer.bundleGroups.contains { $0.contains(first) && $0.contains(second) }
  }

  private static func mediaSection(
    answering offer: SessionDescription, index: Int, choice: MediaChoice, transceiver: TransceiverDescription,
    cname: String, options: NegotiationOptions
  ) -> MediaDescription {
    let media = offer.media[index]
    let payloadType = choice.payloadType
    let sends = choice.direction.sends
    var section = MediaDescription(
      kind: media.kind, port: 9, protocolName: media.protocolName, formats: [String(payloadType)])
    section.mid = media.mid
    section.direction = choice.direction
    section.rtcpMux = true
    section.rtcpRsize = media.rtcpRsize
    section.extmapAllowMixed = media.extmapAllowMixed
    section.extmaps = answeredExtensions(offer.extmaps(ofMedia: index), options: options)
    if let map = media.rtpMap(of: payloadType) { section.rtpMaps = [map] }
    let wanted = CodecMatching.feedback(
      for: media.kind, usesCongestionFeedback: options.usesCongestionFeedback)
    section.rtcpFeedback =
      wanted
      .filter { media.hasFeedback($0, of: payloadType) }
      .map { RTCPFeedback(payloadType: payloadType, value: $0) }
    let parameters = CodecMatching.answerParameters(
      for: choice.codec, offered: media.formatParameters(of: payloadType))
    if let parameters { section.fmtp = [FormatParameters(payloadType: payloadType, text: parameters)] }

    let retransmission = CodecMatching.retransmissionType(of: payloadType, in: media)
    if let retransmission, let map = media.rtpMap(of: retransmission), !sends || transceiver.rtxSSRC != nil {
      section.formats.append(String(retransmission))
      section.rtpMaps.append(map)
      section.fmtp.append(FormatParameters(payloadType: retransmission, text: "apt=\(payloadType)"))
    }
    if sends {
      writeSources(
        of: transceiver, cname: cname, hasRetransmission: section.formats.count > 1, to: &section)
    }
    return section
  }

  /// Those extensions that we want, in the offer's order, each once, with the direction turned (RFC 8285 §5).
  private static func answeredExtensions(
    _ offered: [HeaderExtensionMap], options: NegotiationOptions
  ) -> [HeaderExtensionMap] {
    let wanted = options.wantedHeaderExtensions
    var seen: Set<String> = []
    var result: [HeaderExtensionMap] = []
    for map in offered where map.id <= oneByteExtensionIDMax && wanted.contains(map.uri) {
      guard map.direction != .inactive, seen.insert(map.uri).inserted else { continue }
      result.append(HeaderExtensionMap(id: map.id, direction: map.direction?.reversed, uri: map.uri))
    }
    return result
  }

  private static func dataSection(
    answering media: MediaDescription, local: LocalTransportDescription, setup: SetupRole,
    options: NegotiationOptions
  ) -> MediaDescription {
    var section = MediaDescription(
      kind: .application, port: 9, protocolName: media.protocolName, formats: ["webrtc-datachannel"])
    section.mid = media.mid
    section.sctpPort = defaultSCTPPort
    section.maxMessageSize = options.maxMessageSize
    writeTransport(local, setup: setup, to: &section)
    return section
  }

  /// The largest number of a one-byte header extension (RFC 8285 §4.2), the form that we write.
  static var oneByteExtensionIDMax: UInt16 { 14 }
  /// RFC 8841 §5.3.
  static var defaultSCTPPort: UInt16 { 5_000 }
}
