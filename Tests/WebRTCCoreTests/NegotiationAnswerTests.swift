// SPDX-License-Identifier: Apache-2.0

import DTLS
import ICE
import SDP
import Testing
import WebRTCCore

@Suite("Answers to what peers offer, RFC 9429 §5.3")
struct NegotiationAnswerTests {
  @Test("A camera answers a viewer with one codec per section and refuses data", arguments: SampleOffers.all)
  func camera(name: String, text: String) throws {
    let offer = try Given.parse(text)
    let answer = try Given.answer(offer)
    #expect(answer.media.map(\.mid) == offer.media.map(\.mid))
    #expect(answer.media.map(\.kind) == offer.media.map(\.kind))
    #expect(answer.media.map(\.isRejected) == offer.media.map { $0.kind == .application })
    #expect(answer.bundleGroups == [offer.media.prefix(2).compactMap(\.mid)])
    #expect(answer.media.allSatisfy { $0.setup == .passive })
    #expect(answer.media.prefix(2).allSatisfy { $0.rtcpMux && $0.fingerprints.count == 1 })
    #expect(answer.media[0].candidates.count == 1)
    #expect(answer.media[1].candidates.isEmpty)
    #expect(try SessionDescription(parsing: answer.serialized()) == answer)

    let session = try Negotiation.negotiate(
      local: answer, remote: offer, localIsOffer: false, transceivers: Given.camera)
    #expect(session.localRole == .server)
    #expect(session.media[1].codecs.map(\.codec.mimeType) == ["video/H264"])
    #expect(session.media[1].transceiverIndex == 0)
    #expect(session.media[0].transceiverIndex == 1)
    #expect(session.media[0].codecs.count == 1)
    #expect(session.media[0].codecs[0].codec.mimeType.lowercased() == "audio/opus")
    #expect(session.transportMid == offer.media[0].mid)
    #expect(session.remoteFingerprints.count == (name == "aiortc" ? 3 : 1))
    #expect(
      session.remoteCredentials.usernameFragment == offer.transportAttributes(ofMedia: 0).iceUsernameFragment)
  }

  @Test("H.264 Constrained Baseline is taken under Chromium's own numbers, with repair")
  func chromium() throws {
    let offer = try Given.chromium()
    let answer = try Given.answer(offer)
    let video = answer.media[1]
    #expect(video.formats == ["108", "109"])
    #expect(
      video.formatParameters(of: 108)
        == "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f")
    #expect(video.formatParameters(of: 109) == "apt=108")
    #expect(video.rtcpFeedback.map(\.value).sorted() == ["ccm fir", "nack", "nack pli"])
    #expect(video.direction == .sendonly)
    #expect(video.extmaps.map(\.uri) == [NegotiationOptions.midExtension])
    #expect(video.msids == [MediaStreamIdentifier(streamID: "stream", trackID: "video")])
    #expect(video.ssrcGroups == [SSRCGroup(semantics: "FID", ssrcs: [1001, 1002])])
    #expect(video.ssrcs.map(\.ssrc) == [1001, 1002])
    #expect(video.rtcpRsize)
    #expect(answer.extmapAllowMixed)
    #expect(answer.transport.iceOptions == ["trickle"])

    let session = try Negotiation.negotiate(
      local: answer, remote: offer, localIsOffer: false, transceivers: Given.camera)
    let codec = session.media[1].codecs[0]
    #expect(codec.payloadType == 108 && codec.rtxPayloadType == 109)
    #expect(codec.hasNACK && codec.hasPLI && codec.hasFIR && !codec.hasTransportCC)
    #expect(
      session.media[1].headerExtensions == [
        NegotiatedHeaderExtension(id: 4, uri: NegotiationOptions.midExtension)
      ])
    #expect(session.remoteCandidates.count == 2)
    #expect(!session.remoteEndOfCandidates)
  }

  @Test("An answer is small: below 3,000 bytes for Chromium")
  func size() throws {
    let text = try Given.answer(try Given.chromium()).serialized()
    #expect(text.utf8.count < 3_000)
  }

  @Test("Our order of preference decides, and formats that only repair are never chosen")
  func preference() throws {
    let offer = try Given.chromium()
    let vp8 = try Given.answer(offer, [Given.video(codecs: [.vp8, .h264ConstrainedBaseline])])
    #expect(vp8.media[1].formats == ["96", "97"])
    let high = RTPCodec(
      mimeType: "video/h264", clockRateHertz: 90_000,
      formatParameters: "profile-level-id=f4001f;packetization-mode=0")
    #expect(try Given.answer(offer, [Given.video(codecs: [high])]).media[1].formats == ["43", "44"])
    let pcma = try Given.answer(offer, [Given.audio(codecs: [.pcma])])
    #expect(pcma.media[0].formats == ["8"])
    let rtx = RTPCodec(mimeType: "video/rtx", clockRateHertz: 90_000)
    #expect(try Given.answer(offer, [Given.video(codecs: [rtx])]).media[1].isRejected)
  }

  @Test("Without a retransmission source of ours there is no rtx in what we send")
  func noRetransmission() throws {
    let answer = try Given.answer(try Given.chromium(), [Given.video(rtxSSRC: nil)])
    #expect(answer.media[1].formats == ["108"])
    #expect(answer.media[1].ssrcGroups.isEmpty)
  }

  @Test("G.711 without rtpmap is known by its number, RFC 3551")
  func staticPayloadType() throws {
    let offer = try Given.chromium { $0.media[0].rtpMaps.removeAll { $0.payloadType == 0 } }
    #expect(try Given.answer(offer, [Given.audio(codecs: [.pcmu])]).media[0].formats == ["0"])
  }

  @Test(
    "Directions are ours, limited by the offer, RFC 3264 §6.1",
    arguments: [
      (MediaDirection.recvonly, MediaDirection.sendonly, MediaDirection.sendonly),
      (.sendrecv, .sendonly, .sendonly), (.sendrecv, .sendrecv, .sendrecv), (.recvonly, .sendrecv, .sendonly),
      (.sendonly, .sendonly, .inactive), (.sendonly, .sendrecv, .recvonly), (.inactive, .sendrecv, .inactive),
      (.sendrecv, .recvonly, .recvonly),
    ])
  func directions(offered: MediaDirection, own: MediaDirection, answered: MediaDirection) throws {
    let offer = try Given.chromium { $0.media[1].direction = offered }
    let transceivers = [Given.video(own)]
    let answer = try Given.answer(offer, transceivers)
    #expect(answer.media[1].direction == answered)
    #expect(answer.media[1].ssrcs.isEmpty == !answered.sends)
    #expect(answer.media[1].msids.isEmpty == !answered.sends)
    let session = try Negotiation.negotiate(
      local: answer, remote: offer, localIsOffer: false, transceivers: transceivers)
    #expect(session.media[1].direction == answered)
  }

  @Test("Sections without transceiver are refused, and the bundle's first is the first that is taken")
  func unmatched() throws {
    let offer = try Given.chromium()
    let answer = try Given.answer(offer, [Given.video()])
    #expect(answer.media.map(\.isRejected) == [true, false, true])
    #expect(answer.bundleGroups == [["1"]])
    #expect(answer.media[1].candidates.count == 1)
    let session = try Negotiation.negotiate(
      local: answer, remote: offer, localIsOffer: false, transceivers: [Given.video()])
    #expect(session.transportMid == "1")
    // Each section of an offer that is not bundled yet has candidates of its own.
    #expect(session.remoteCandidates.map(\.port) == [38382, 57725])
  }

  @Test("A second section of a kind takes the second transceiver, and none a stopped one")
  func matching() throws {
    let offer = try Given.chromium { offer in
      var second = offer.media[1]
      second.mid = "7"
      offer.media.append(second)
      offer.groups[0].mids.append("7")
    }
    let transceivers = [Given.video(isStopped: true), Given.video(), Given.audio(), Given.video()]
    #expect(Negotiation.matchTransceivers(transceivers, with: offer) == [2, 1, nil, 3])
    let tied = [Given.video(mid: "7"), Given.video()]
    #expect(Negotiation.matchTransceivers(tied, with: offer) == [nil, 1, nil, 0])
  }

  @Test("A full camera refuses every section, and the answer is valid")
  func rejectAll() throws {
    for (_, text) in SampleOffers.all {
      let offer = try Given.parse(text)
      let answer = try Given.answer(offer, rejectAll: true)
      #expect(answer.media.count == offer.media.count)
      #expect(answer.media.allSatisfy { $0.isRejected })
      #expect(answer.bundleGroups.isEmpty)
      let session = try Negotiation.negotiate(
        local: answer, remote: offer, localIsOffer: false, transceivers: Given.camera)
      #expect(session.media.allSatisfy { $0.isRejected })
      #expect(session.localRole == nil && session.transportMid == nil)
    }
  }

  @Test("Data sections are taken when asked for")
  func data() throws {
    var options = NegotiationOptions()
    options.acceptsDataChannels = true
    for (name, text) in SampleOffers.all where name != "aiortc" {
      let offer = try Given.parse(text)
      let answer = try Given.answer(offer, options: options)
      #expect(answer.media[2].sctpPort == 5000)
      let session = try Negotiation.negotiate(
        local: answer, remote: offer, localIsOffer: false, transceivers: Given.camera)
      let expected: [String: UInt64] = ["Chromium": 262_144, "Firefox": 1_073_741_823, "GStreamer": 65_536]
      #expect(session.remoteMaxMessageSize == expected[name])
    }
  }

  @Test("Congestion feedback comes with its header extension, when asked for")
  func congestionFeedback() throws {
    var options = NegotiationOptions()
    options.usesCongestionFeedback = true
    let offer = try Given.chromium()
    let answer = try Given.answer(offer, options: options)
    #expect(answer.media[1].rtcpFeedback.map(\.value).contains("transport-cc"))
    #expect(answer.media[1].extmaps.map(\.id) == [3, 4])
    #expect(answer.media[0].rtcpFeedback.map(\.value) == ["transport-cc"])
  }

  @Test("Extensions with a direction are answered turned, RFC 8285 §5")
  func extensionDirection() throws {
    var options = NegotiationOptions()
    options.headerExtensions.append("http://www.webrtc.org/experiments/rtp-hdrext/playout-delay")
    let answer = try Given.answer(try Given.parse(SampleOffers.firefox), options: options)
    #expect(answer.media[1].extmaps.map(\.direction) == [nil, .sendonly])
  }

  @Test(
    "The handshake's roles, RFC 8842 §5",
    arguments: [
      (SetupRole.actpass, SetupRole.passive, DTLSRole.server), (.active, .passive, .server),
      (.passive, .active, .client),
    ])
  func setup(offered: SetupRole, answered: SetupRole, role: DTLSRole) throws {
    let offer = try Given.chromium { offer in
      for index in offer.media.indices { offer.media[index].setup = offered }
    }
    let answer = try Given.answer(offer)
    #expect(answer.media.allSatisfy { $0.setup == answered })
    let session = try Negotiation.negotiate(
      local: answer, remote: offer, localIsOffer: false, transceivers: Given.camera)
    #expect(session.localRole == role)
  }

  @Test(
    "A DTLS role that exists is kept, whatever the peer's setup says",
    arguments: [SetupRole.actpass, .active, .passive])
  func establishedRole(offered: SetupRole) throws {
    let offer = try Given.chromium { offer in
      for index in offer.media.indices { offer.media[index].setup = offered }
    }
    for (role, answered) in [(DTLSRole.client, SetupRole.active), (.server, .passive)] {
      var options = NegotiationOptions()
      options.establishedRole = role
      let answer = try Given.answer(offer, options: options)
      #expect(answer.media[0].setup == answered)
      let session = try Negotiation.negotiate(
        local: answer, remote: offer, localIsOffer: false, transceivers: Given.camera, establishedRole: role)
      #expect(session.localRole == role)
    }
  }

  @Test("An answer whose setup contradicts the offer's is refused where no role exists")
  func refusesContradictingSetup() throws {
    let offer = try Given.chromium()
    let answer = try Given.answer(offer)
    let active = try Given.chromium { offer in
      for index in offer.media.indices { offer.media[index].setup = .passive }
    }
    #expect(
      Given.error(negotiating: answer, active, localIsOffer: false) == .invalidSetup(section: 0))
  }

  @Test("Without a BUNDLE group only the first section can be taken, since there is one transport")
  func unbundled() throws {
    let offer = try Given.chromium { $0.groups = [] }
    let answer = try Given.answer(offer)
    #expect(answer.media.map(\.isRejected) == [false, true, true])
    _ = try Negotiation.negotiate(
      local: answer, remote: offer, localIsOffer: false, transceivers: Given.camera)
  }
}
