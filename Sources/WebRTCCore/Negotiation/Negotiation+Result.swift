// SPDX-License-Identifier: Apache-2.0

public import DTLS
internal import ICE
public import SDP
internal import SansIO

extension Negotiation {
  /// What an offer and its answer agree upon (RFC 9429 §5.11), for either side.
  ///
  /// The peer is not trusted to have answered what we offered: everything is the intersection of both texts.
  ///
  /// - Parameters:
  ///   - localIsOffer: whether `local` is the offer and `remote` the answer, or the other way round.
  ///   - transceivers: ours, matched with the sections as by ``matchTransceivers(_:with:)``.
  ///   - establishedRole: our part in a DTLS association that exists already: it stays, whatever the peer's setup
  ///     attribute says (RFC 8842 §5.5).
  /// - Throws: ``NegotiationError`` if either contradicts itself, the answer does not fit the offer, or the peer
  ///   gives no usable fingerprint, ICE credentials or setup role for what is accepted.
  public static func negotiate(
    local: SessionDescription, remote: SessionDescription, localIsOffer: Bool,
    transceivers: [TransceiverDescription], establishedRole: DTLSRole? = nil
  ) throws(NegotiationError) -> NegotiatedSession {
    let pair = DescriptionPair(
      local: local, remote: remote, localIsOffer: localIsOffer, establishedRole: establishedRole)
    try DescriptionCheck.verify(remote)
    try pair.verify()
    // Sections of ours carry the identifiers by which transceivers are found, or those of the peer's offer.
    let matches = matchTransceivers(transceivers, with: localIsOffer ? local : remote)
    var media: [NegotiatedMedia] = []
    for section in pair.answer.media.indices {
      media.append(try pair.media(section, transceiverIndex: matches[section]))
    }
    return try pair.session(media)
  }
}

/// An offer and its answer, and which of them is the peer's.
private struct DescriptionPair {
  let local: SessionDescription
  let remote: SessionDescription
  let localIsOffer: Bool
  let establishedRole: DTLSRole?

  var offer: SessionDescription { localIsOffer ? local : remote }
  var answer: SessionDescription { localIsOffer ? remote : local }

  /// The answer's accepted sections.
  var accepted: [Int] { answer.media.indices.filter { !answer.media[$0].isRejected } }

  /// The section whose transport is used: the first of the answer's bundle (RFC 9143 §7.3.1), else the only one.
  var transportSection: Int? {
    let accepted = accepted
    for group in answer.bundleGroups {
      for mid in group {
        if let index = answer.mediaIndex(mid: mid), accepted.contains(index) { return index }
      }
    }
    return accepted.first
  }

  /// Checks that the answer is one to this offer (RFC 3264 §6, RFC 9143 §7.3).
  func verify() throws(NegotiationError) {
    guard offer.media.count == answer.media.count else {
      throw .mediaCountMismatch(offered: offer.media.count, answered: answer.media.count)
    }
    for section in answer.media.indices { try verify(section: section) }
    let mids = accepted.map { answer.media[$0].mid }
    guard accepted.count > 1 else { return }
    for (section, mid) in zip(accepted, mids) {
      let isBundled = answer.bundleGroups.contains { group in
        guard let mid, let first = mids[0] else { return false }
        return group.contains(mid) && group.contains(first)
      }
      guard isBundled else { throw .notBundled(section: section) }
    }
  }

  private func verify(section: Int) throws(NegotiationError) {
    let offered = offer.media[section]
    let answered = answer.media[section]
    guard offered.kind == answered.kind, answered.mid == nil || answered.mid == offered.mid else {
      throw .mediaMismatch(section: section)
    }
    guard !answered.isRejected else { return }
    guard offered.protocolName == answered.protocolName else { throw .mediaMismatch(section: section) }
    guard !offered.isRejected else { throw .rejectedSectionAccepted(section: section) }
    if let mid = answered.mid, answer.bundleGroups.contains(where: { $0.contains(mid) }) {
      let isOffered = offer.bundleGroups.contains { $0.contains(mid) }
      guard isOffered else { throw .invalidBundle }
    }
    if answered.isRTP || answered.kind == .audio || answered.kind == .video {
      for media in [offered, answered] {
        guard DescriptionCheck.isSecureMedia(media) else { throw .insecureMedia(section: section) }
        guard media.rtcpMux else { throw .missingRTCPMux(section: section) }
      }
    } else if !DescriptionCheck.isData(answered) {
      throw .mediaMismatch(section: section)
    }
  }

  // MARK: Media

  func media(_ section: Int, transceiverIndex: Int?) throws(NegotiationError) -> NegotiatedMedia {
    let answered = answer.media[section]
    let peer = remote.media[section]
    let codecs = codecs(section)
    if !answered.isRejected, answered.isRTP, codecs.isEmpty { throw .noCommonCodec(section: section) }
    let sources = sources(of: peer)
    return NegotiatedMedia(
      mid: mid(of: section), kind: answered.kind, transceiverIndex: transceiverIndex,
      isRejected: answered.isRejected, direction: direction(section), codecs: codecs,
      headerExtensions: headerExtensions(section), remoteSSRCs: sources.media,
      remoteRTXSSRCs: sources.retransmissions, remoteStreamIDs: streamIDs(of: peer))
  }

  private func mid(of section: Int) -> String {
    answer.media[section].mid ?? offer.media[section].mid ?? String(section)
  }

  /// What both allow, seen from us.
  private func direction(_ section: Int) -> MediaDirection {
    guard !answer.media[section].isRejected else { return .inactive }
    return local.direction(ofMedia: section).intersection(remote.direction(ofMedia: section).reversed)
  }

  /// The answer's codecs that the offer has under the same number.
  private func codecs(_ section: Int) -> [NegotiatedCodec] {
    let offered = offer.media[section]
    let answered = answer.media[section]
    var result: [NegotiatedCodec] = []
    for payloadType in answered.payloadTypes where offered.formats.contains(String(payloadType)) {
      guard let map = answered.rtpMap(of: payloadType), CodecMatching.isMedia(map),
        let offeredMap = offered.rtpMap(of: payloadType), CodecMatching.isSameEncoding(map, offeredMap)
      else { continue }
      let parameters = answered.formatParameters(of: payloadType)
      guard
        CodecMatching.isSameConfiguration(
          map.encodingName, parameters, offered.formatParameters(of: payloadType))
      else { continue }
      func hasFeedback(_ value: String) -> Bool {
        answered.hasFeedback(value, of: payloadType) && offered.hasFeedback(value, of: payloadType)
      }
      let retransmission = CodecMatching.retransmissionType(of: payloadType, in: answered)
      let isOffered = retransmission == CodecMatching.retransmissionType(of: payloadType, in: offered)
      result.append(
        NegotiatedCodec(
          codec: RTPCodec(
            mimeType: "\(answered.kind.name)/\(map.encodingName)", clockRateHertz: map.clockRateHertz,
            channels: answered.kind == .audio ? map.channels ?? 1 : nil, formatParameters: parameters),
          payloadType: payloadType, rtxPayloadType: isOffered ? retransmission : nil,
          hasNACK: hasFeedback("nack"), hasPLI: hasFeedback("nack pli"), hasFIR: hasFeedback("ccm fir"),
          hasTransportCC: hasFeedback("transport-cc")))
    }
    return result
  }

  /// The answer's extensions that the offer has under the same number (RFC 8285 §5).
  private func headerExtensions(_ section: Int) -> [NegotiatedHeaderExtension] {
    let offered = offer.extmaps(ofMedia: section)
    var result: [NegotiatedHeaderExtension] = []
    for map in answer.extmaps(ofMedia: section) where map.id <= Negotiation.oneByteExtensionIDMax {
      guard map.direction != .inactive, offered.contains(where: { $0.id == map.id && $0.uri == map.uri })
      else {
        continue
      }
      let negotiated = NegotiatedHeaderExtension(id: UInt8(map.id), uri: map.uri)
      if !result.contains(negotiated) { result.append(negotiated) }
    }
    return result
  }

  /// The peer's sources in their order, and those that repeat them by FID groups (RFC 4588 §8.8).
  private func sources(of media: MediaDescription) -> (media: [UInt32], retransmissions: [UInt32: UInt32]) {
    var retransmissions: [UInt32: UInt32] = [:]
    for group in media.ssrcGroups where group.semantics == "FID" && group.ssrcs.count == 2 {
      retransmissions[group.ssrcs[0]] = group.ssrcs[1]
    }
    var seen = Set(retransmissions.values)
    var result: [UInt32] = []
    for attribute in media.ssrcs where seen.insert(attribute.ssrc).inserted { result.append(attribute.ssrc) }
    return (result, retransmissions)
  }

  /// Streams by `a=msid`, or by the older form behind `a=ssrc`.
  private func streamIDs(of media: MediaDescription) -> [String] {
    var candidates = media.msids.map(\.streamID)
    if candidates.isEmpty {
      candidates = media.ssrcs.filter { $0.name == "msid" }
        .compactMap { $0.value?.split(separator: " ").first.map { String($0) } }
    }
    var seen: Set<String> = ["-"]
    return candidates.filter { seen.insert($0).inserted }
  }

  // MARK: Transport

  func session(_ media: [NegotiatedMedia]) throws(NegotiationError) -> NegotiatedSession {
    var result = NegotiatedSession(
      media: media, transportMid: nil, transportMediaIndex: nil,
      remoteCredentials: ICECredentials(usernameFragment: "", password: Secret("")), remoteFingerprints: [],
      localRole: nil, remoteCandidates: [], remoteIsICELite: remote.isICELite, remoteEndOfCandidates: false,
      remoteMaxMessageSize: nil, remoteSCTPPort: nil)
    guard let section = transportSection else { return result }
    let transport = try RemoteTransport(of: remote, section: section)
    result.transportMid = media[section].mid
    result.transportMediaIndex = section
    result.remoteCredentials = transport.credentials
    result.remoteFingerprints = transport.fingerprints
    result.localRole = try role(transport.setup, section: section)
    result.remoteCandidates = remote.media[section].candidates.compactMap { try? ICECandidate(parsing: $0) }
    result.remoteEndOfCandidates = remote.media[section].endOfCandidates || remote.endOfCandidates
    if let data = accepted.first(where: { DescriptionCheck.isData(answer.media[$0]) }) {
      // RFC 8841 §6.1: without the attribute 64 KiB, and no fewer are assumed.
      result.remoteMaxMessageSize = remote.media[data].maxMessageSize ?? 65_536
      result.remoteSCTPPort = remote.media[data].sctpPort ?? Negotiation.defaultSCTPPort
    }
    return result
  }

  /// Our part, which our answer has settled already if the answer is ours.
  private func role(_ remoteSetup: SetupRole?, section: Int) throws(NegotiationError) -> DTLSRole {
    let own = local.transportAttributes(ofMedia: section).setup
    if localIsOffer {
      return try SetupNegotiation.offererRole(
        offer: own, answer: remoteSetup, established: establishedRole, section: section)
    }
    return try SetupNegotiation.role(
      answered: own, offer: remoteSetup, established: establishedRole, section: section)
  }
}
