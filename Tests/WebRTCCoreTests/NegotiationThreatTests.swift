// SPDX-License-Identifier: Apache-2.0

import DTLS
import SDP
import SansIO
import Testing
import WebRTCCore

@Suite("Negotiation with peers that err or deceive")
struct NegotiationThreatTests {
  private let strong = FingerprintAttribute(
    hashFunction: "sha-256", value: (0..<32).map { _ in "0f" }.joined(separator: ":"))
  private let weak = FingerprintAttribute(
    hashFunction: "sha-1", value: (0..<20).map { _ in "0F" }.joined(separator: ":"))

  private func offer(_ fingerprints: [FingerprintAttribute]) throws -> SessionDescription {
    try Given.chromium { $0.media[0].fingerprints = fingerprints }
  }

  @Test("T12 no fingerprint, weak, unknown and malformed ones are refused with a reason")
  func fingerprints() throws {
    #expect(Given.error(answering: try offer([])) == .missingFingerprint(section: 0))
    #expect(Given.error(answering: try offer([weak])) == .unsupportedFingerprint(section: 0))
    let unknown = FingerprintAttribute(hashFunction: "md5", value: "00:11")
    #expect(Given.error(answering: try offer([unknown])) == .unsupportedFingerprint(section: 0))
    for value in ["", "00", "00:11", strong.value + ":00", strong.value.replacing("0f", with: "zz")] {
      let malformed = FingerprintAttribute(hashFunction: "sha-256", value: value)
      #expect(Given.error(answering: try offer([malformed])) == .malformedFingerprint(section: 0))
      #expect(Given.error(answering: try offer([strong, malformed])) == .malformedFingerprint(section: 0))
    }
  }

  @Test(
    "T12 case does not matter, and a strong fingerprint beside weak and unknown ones is the one that counts")
  func fingerprintsBeside() throws {
    let upper = FingerprintAttribute(hashFunction: "SHA-256", value: strong.value.uppercased())
    let unknown = FingerprintAttribute(hashFunction: "sha-1024", value: "00")
    let remote = try offer([weak, unknown, upper])
    let session = try Negotiation.negotiate(
      local: try Given.answer(remote), remote: remote, localIsOffer: false, transceivers: Given.camera)
    #expect(session.remoteFingerprints.map(\.digest) == [[UInt8](repeating: 0x0f, count: 32)])
  }

  @Test("T12 the answerer's fingerprint is judged alike")
  func answererFingerprint() throws {
    let offered = try Negotiation.makeOffer(
      transceivers: Given.camera, local: try Given.local(), previous: nil)
    var answered = try Given.answer(offered)
    for (fingerprints, error) in [
      ([], NegotiationError.missingFingerprint(section: 0)), ([weak], .unsupportedFingerprint(section: 0)),
    ] {
      answered.media[0].fingerprints = fingerprints
      #expect(Given.error(negotiating: offered, answered, localIsOffer: true) == error)
    }
  }

  @Test(
    "T15 media in the clear or keyed by signaling is refused",
    arguments: ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "UDP/TLS/RTP/SAVP", "udp", "UDP/TLS/RTP/SAVPF/x"])
  func insecure(protocolName: String) throws {
    let remote = try Given.chromium { $0.media[1].protocolName = protocolName }
    let answer = try Given.answer(remote)
    #expect(answer.media.map(\.isRejected) == [false, true, true])

    let offered = try Negotiation.makeOffer(
      transceivers: Given.camera, local: try Given.local(), previous: nil)
    var answered = try Given.answer(offered)
    answered.media[0].protocolName = protocolName
    #expect(Given.error(negotiating: offered, answered, localIsOffer: true) != nil)
  }

  @Test("T15 a section with a=crypto is refused, and one without rtcp-mux")
  func crypto() throws {
    let crypto = Attribute(name: "crypto", value: "1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0")
    let keyed = try Given.chromium { $0.media[0].attributes.append(crypto) }
    #expect(try Given.answer(keyed).media.map(\.isRejected) == [true, false, true])
    let unmixed = try Given.chromium { $0.media[1].rtcpMux = false }
    #expect(try Given.answer(unmixed).media.map(\.isRejected) == [false, true, true])

    let offered = try Negotiation.makeOffer(
      transceivers: Given.camera, local: try Given.local(), previous: nil)
    var answered = try Given.answer(offered)
    answered.media[1].attributes = [crypto]
    #expect(Given.error(negotiating: offered, answered, localIsOffer: true) == .insecureMedia(section: 1))
    answered.media[1].attributes = []
    answered.media[1].rtcpMux = false
    #expect(Given.error(negotiating: offered, answered, localIsOffer: true) == .missingRTCPMux(section: 1))
  }

  @Test("ICE credentials must be there, of allowed length and characters, RFC 8839 §5.4")
  func credentials() throws {
    let password = String(repeating: "p", count: 22)
    let cases: [(String?, String?, NegotiationError?)] = [
      ("abcd", password, nil), (nil, password, .missingICECredentials(section: 0)),
      ("abcd", nil, .missingICECredentials(section: 0)),
      ("abc", password, .invalidICECredentials(section: 0)),
      ("abcd", "short", .invalidICECredentials(section: 0)),
      ("ab:cd", password, .invalidICECredentials(section: 0)),
      (String(repeating: "u", count: 257), password, .invalidICECredentials(section: 0)),
    ]
    for (fragment, password, error) in cases {
      let remote = try Given.chromium {
        $0.media[0].iceUsernameFragment = fragment
        $0.media[0].icePassword = password.map { Secret($0) }
      }
      #expect(Given.error(answering: remote) == error)
    }
  }

  @Test("T30 identifiers that collide, and bundles that name nothing or one twice")
  func mids() throws {
    #expect(Given.error(answering: try Given.chromium { $0.media[1].mid = "0" }) == .duplicateMid(section: 1))
    for groups in [[["0", "1", "9"]], [["0", "0"]], [["0", "1"], ["1", "2"]]] {
      let remote = try Given.chromium { offer in
        offer.groups = groups.map { MediaGroup(semantics: "BUNDLE", mids: $0) }
      }
      #expect(Given.error(answering: remote) == .invalidBundle)
    }
  }

  @Test("T30 a payload type with two meanings in one bundle")
  func payloadTypes() throws {
    let other = try Given.chromium { offer in
      offer.media[0].formats.append("96")
      offer.media[0].rtpMaps.append(RTPMap(payloadType: 96, encodingName: "G729", clockRateHertz: 8_000))
    }
    #expect(Given.error(answering: other) == .payloadTypeConflict(payloadType: 96))
    let twoVideos = try Given.chromium { offer in
      var second = offer.media[1]
      second.mid = "7"
      second.fmtp.removeAll { $0.payloadType == 108 }
      second.fmtp.append(
        FormatParameters(payloadType: 108, text: "profile-level-id=640c1f;packetization-mode=1"))
      offer.media.append(second)
      offer.groups[0].mids.append("7")
    }
    #expect(Given.error(answering: twoVideos) == .payloadTypeConflict(payloadType: 108))
    let apart = try Given.chromium { offer in
      offer = twoVideos
      offer.groups[0].mids.removeLast()
    }
    #expect(Given.error(answering: apart) == nil)
  }

  @Test("T30 a header extension number with two meanings, in one section and in one bundle")
  func headerExtensions() throws {
    for section in [0, 1] {
      let remote = try Given.chromium {
        $0.media[section].extmaps.append(HeaderExtensionMap(id: 4, uri: "urn:x"))
      }
      #expect(Given.error(answering: remote) == .headerExtensionConflict(id: 4))
    }
    let remote = try Given.chromium { $0.media[0].extmaps = [HeaderExtensionMap(id: 14, uri: "urn:x")] }
    #expect(Given.error(answering: remote) == .headerExtensionConflict(id: 14))
  }

  @Test("T30 answers that do not belong to the offer")
  func answers() throws {
    let offered = try Negotiation.makeOffer(
      transceivers: Given.camera, local: try Given.local(), previous: nil)
    let good = try Given.answer(offered)
    let changes: [(NegotiationError, (inout SessionDescription) -> Void)] = [
      (
        .mediaCountMismatch(offered: 2, answered: 1),
        {
          $0.groups = []; $0.media.removeLast()
        }
      ),
      (
        .mediaMismatch(section: 0),
        {
          $0.groups = []; $0.media.swapAt(0, 1)
        }
      ),
      (
        .mediaMismatch(section: 0),
        {
          $0.groups[0].mids[0] = "x"; $0.media[0].mid = "x"
        }
      ),
      (.notBundled(section: 0), { $0.groups = [] }),
      (.notBundled(section: 1), { $0.groups[0].mids.removeLast() }),
      (.noCommonCodec(section: 0), { $0.media[0].formats = ["120"] }),
      (.noCommonCodec(section: 0), { $0.media[0].rtpMaps[0].encodingName = "VP9" }),
      (.invalidSetup(section: 0), { $0.media[0].setup = .actpass }),
      (.invalidSetup(section: 0), { $0.media[0].setup = nil }),
    ]
    for (error, change) in changes {
      var answered = good
      change(&answered)
      #expect(Given.error(negotiating: offered, answered, localIsOffer: true) == error)
    }
    #expect(Given.error(negotiating: offered, good, localIsOffer: true) == nil)
  }

  @Test("T30 an answer may not take up a section that was offered with port 0")
  func recycled() throws {
    let first = try Negotiation.makeOffer(
      transceivers: Given.camera, local: try Given.local(), previous: nil)
    let good = try Given.answer(first)
    let second = try Negotiation.makeOffer(
      transceivers: [Given.video(mid: "0"), Given.audio(mid: "9")], local: try Given.local(), previous: first)
    #expect(second.media.map(\.isRejected) == [false, true, false])
    var answered = try Given.answer(second)
    #expect(Given.error(negotiating: second, answered, localIsOffer: true) == nil)
    answered.media[1] = good.media[1]
    #expect(
      Given.error(negotiating: second, answered, localIsOffer: true) == .rejectedSectionAccepted(section: 1))
  }

  @Test("Candidates that cannot be read are passed over, those of the transport in use are taken")
  func candidates() throws {
    let remote = try Given.parse(SampleOffers.gstreamer)
    let session = try Negotiation.negotiate(
      local: try Given.answer(remote), remote: remote, localIsOffer: false, transceivers: Given.camera)
    #expect(session.remoteCandidates.count == 4)
    let broken = try Given.chromium { $0.media[0].candidates.append("candidate:nonsense") }
    let other = try Negotiation.negotiate(
      local: try Given.answer(broken), remote: broken, localIsOffer: false, transceivers: Given.camera)
    #expect(other.remoteCandidates.count == 2)
  }

  @Test("Damaged offers are answered validly or refused")
  func damage() throws {
    var random = RandomSource(seed: 12)
    let sources = SampleOffers.all.map { Array($0.text.utf8) }
    for _ in 0..<600 {
      var bytes = sources[Int.random(in: 0..<sources.count, using: &random)]
      for _ in 0..<Int.random(in: 1...5, using: &random) {
        let index = Int.random(in: 0..<bytes.count, using: &random)
        bytes[index] = Array("0123456789 :;=/abcx\n".utf8).randomElement(using: &random) ?? 0
      }
      guard let offer = try? SessionDescription(parsing: String(decoding: bytes, as: UTF8.self)),
        let answer = try? Given.answer(offer)
      else { continue }
      #expect(answer.media.count == offer.media.count)
      let error = Given.error(negotiating: answer, offer, localIsOffer: false)
      #expect(error == nil)
    }
  }
}
