// SPDX-License-Identifier: Apache-2.0

import DTLS
import ICE
import SDP
import SansIO
import WebRTCCore

/// Descriptions and transceivers for the tests of negotiation.
enum Given {
  static func local(
    candidates: [String] = ["candidate:1 1 udp 2130706431 192.0.2.2 5000 typ host"], cname: String = "camera"
  ) throws -> LocalTransportDescription {
    let digest = (0..<32).map { _ in "AB" }.joined(separator: ":")
    var random = RandomSource(seed: 5)
    return LocalTransportDescription(
      credentials: .generate(using: &random),
      fingerprint: try CertificateFingerprint(parsing: "sha-256 " + digest),
      cname: cname, candidates: try candidates.map { try ICECandidate(parsing: $0) }, sessionID: 77,
      sessionVersion: 2)
  }

  static func video(
    _ direction: MediaDirection = .sendonly, mid: String? = nil,
    codecs: [RTPCodec] = [.h264ConstrainedBaseline],
    rtxSSRC: UInt32? = 1002, isStopped: Bool = false
  ) -> TransceiverDescription {
    TransceiverDescription(
      kind: .video, mid: mid, direction: direction, codecs: codecs, streamID: "stream", trackID: "video",
      ssrc: 1001, rtxSSRC: rtxSSRC, isStopped: isStopped)
  }

  static func audio(
    _ direction: MediaDirection = .sendrecv, mid: String? = nil, codecs: [RTPCodec] = [.opus]
  ) -> TransceiverDescription {
    TransceiverDescription(
      kind: .audio, mid: mid, direction: direction, codecs: codecs, streamID: "stream", trackID: "audio",
      ssrc: 2001)
  }

  static let camera = [video(), audio()]

  static func parse(_ text: String) throws -> SessionDescription { try SessionDescription(parsing: text) }

  /// Chromium's offer after a change to it.
  static func chromium(_ change: (inout SessionDescription) -> Void = { _ in }) throws -> SessionDescription {
    var offer = try parse(SampleOffers.chromium)
    change(&offer)
    return offer
  }

  static func answer(
    _ offer: SessionDescription, _ transceivers: [TransceiverDescription] = camera, rejectAll: Bool = false,
    options: NegotiationOptions = NegotiationOptions()
  ) throws -> SessionDescription {
    try Negotiation.makeAnswer(
      to: offer, transceivers: transceivers, local: try local(), rejectAll: rejectAll, options: options)
  }

  static func error(answering offer: SessionDescription, _ transceivers: [TransceiverDescription] = camera)
    -> NegotiationError?
  {
    do {
      _ = try answer(offer, transceivers)
      return nil
    } catch { return error as? NegotiationError }
  }

  static func error(
    negotiating local: SessionDescription, _ remote: SessionDescription, localIsOffer: Bool
  ) -> NegotiationError? {
    do {
      _ = try Negotiation.negotiate(
        local: local, remote: remote, localIsOffer: localIsOffer, transceivers: [])
      return nil
    } catch { return error }
  }
}
