// SPDX-License-Identifier: Apache-2.0

internal import DTLS
internal import ICE
public import SDP

/// Offers, answers and what follows from them (RFC 3264 as RFC 9429 profiles it), for peers with one transport:
/// all sections are bundled, RTCP is multiplexed, DTLS keys everything.
public enum Negotiation {
  /// Finds the transceiver of each section: by media identifier, else the first of the kind that has none yet.
  ///
  /// The result has one entry per section: an index into `transceivers`, or `nil`. A section that the
  /// description refuses takes no transceiver but by its identifier.
  public static func matchTransceivers(
    _ transceivers: [TransceiverDescription], with description: SessionDescription
  ) -> [Int?] {
    var result = [Int?](repeating: nil, count: description.media.count)
    var isTaken = [Bool](repeating: false, count: transceivers.count)
    for (section, media) in description.media.enumerated() {
      guard let mid = media.mid else { continue }
      let found = transceivers.indices.first {
        !isTaken[$0] && !transceivers[$0].isStopped && transceivers[$0].mid == mid
          && transceivers[$0].kind == media.kind
      }
      if let found {
        result[section] = found
        isTaken[found] = true
      }
    }
    for (section, media) in description.media.enumerated() {
      guard result[section] == nil, !media.isRejected, media.kind == .audio || media.kind == .video else {
        continue
      }
      let found = transceivers.indices.first {
        !isTaken[$0] && !transceivers[$0].isStopped && transceivers[$0].mid == nil
          && transceivers[$0].kind == media.kind
      }
      if let found {
        result[section] = found
        isTaken[found] = true
      }
    }
    return result
  }

  /// The section whose transport an offer means: the first of its bundle that it does not refuse (RFC 9143 §7.2),
  /// without a bundle the first; `nil` if it refuses all.
  static func transportSection(of offer: SessionDescription) -> Int? {
    for mid in offer.bundleGroups.first ?? [] {
      if let index = offer.mediaIndex(mid: mid), !offer.media[index].isRejected { return index }
    }
    return offer.media.firstIndex { !$0.isRejected }
  }

  /// A section that is refused: port 0, nothing but what identifies it.
  ///
  /// ICE credentials, setup and rtcp-mux mean nothing here, but aiortc insists on them in every section.
  static func rejectedSection(
    like media: MediaDescription, local: LocalTransportDescription, setup: SetupRole
  ) -> MediaDescription {
    var section = MediaDescription(
      kind: media.kind, port: 0, protocolName: media.protocolName, formats: Array(media.formats.prefix(1)))
    section.connections = [ConnectionData()]
    section.mid = media.mid
    section.iceUsernameFragment = local.credentials.usernameFragment
    section.icePassword = local.credentials.password
    section.setup = setup
    if media.isRTP {
      section.direction = .inactive
      section.rtcpMux = true
      if let first = media.payloadTypes.first,
        let map = media.rtpMaps.first(where: { $0.payloadType == first })
      {
        section.rtpMaps = [map]
      }
    }
    return section
  }

  /// Fills in the transport's attributes (RFC 9429 §5.2.1). They stand in every section: aiortc and others look
  /// at each by itself.
  static func writeTransport(
    _ local: LocalTransportDescription, setup: SetupRole, to section: inout MediaDescription
  ) {
    let value = local.fingerprint.attributeValue.split(separator: " ", maxSplits: 1)
    section.connections = [ConnectionData()]
    section.iceUsernameFragment = local.credentials.usernameFragment
    section.icePassword = local.credentials.password
    section.fingerprints = [
      FingerprintAttribute(hashFunction: String(value[0]), value: String(value[value.count - 1]))
    ]
    section.setup = setup
  }

  /// Announces what a transceiver sends (RFC 8830 §2, RFC 5576 §4, RFC 4588 §8.8).
  static func writeSources(
    of transceiver: TransceiverDescription, cname: String, hasRetransmission: Bool,
    to section: inout MediaDescription
  ) {
    section.msids = [MediaStreamIdentifier(streamID: transceiver.streamID, trackID: transceiver.trackID)]
    section.ssrcs = [SSRCAttribute(ssrc: transceiver.ssrc, name: "cname", value: cname)]
    guard hasRetransmission, let rtxSSRC = transceiver.rtxSSRC else { return }
    section.ssrcGroups = [SSRCGroup(semantics: "FID", ssrcs: [transceiver.ssrc, rtxSSRC])]
    section.ssrcs.append(SSRCAttribute(ssrc: rtxSSRC, name: "cname", value: cname))
  }

  /// An empty description of ours.
  static func newDescription(_ local: LocalTransportDescription) -> SessionDescription {
    var description = SessionDescription(
      origin: Origin(sessionID: local.sessionID, sessionVersion: local.sessionVersion))
    description.transport.iceOptions = ["trickle"]
    return description
  }

  /// Bundles the accepted sections, gives the first the candidates, and makes sure that the text can be written:
  /// a label with a line end is refused here and not when it is sent.
  ///
  /// - Parameter offered: identifiers that the offer bundles, outside of which an answer may bundle none
  ///   (RFC 9143 §7.3); `nil` in an offer.
  static func finish(
    _ description: inout SessionDescription, local: LocalTransportDescription, offered: Set<String>? = nil
  ) throws(NegotiationError) {
    let accepted = description.media.indices.filter { !description.media[$0].isRejected }
    let mids = accepted.compactMap { description.media[$0].mid }
    let isBundled = offered.map { $0.isSuperset(of: mids) } ?? true
    if mids.count == accepted.count, !mids.isEmpty, isBundled {
      description.groups = [MediaGroup(semantics: "BUNDLE", mids: mids)]
    }
    if let first = accepted.first {
      description.media[first].candidates = local.candidates.map(\.attributeValue)
      description.media[first].endOfCandidates = local.hasAllCandidates
    }
    do throws(SDPError) {
      _ = try description.serialized()
    } catch {
      throw .description(error)
    }
  }
}
