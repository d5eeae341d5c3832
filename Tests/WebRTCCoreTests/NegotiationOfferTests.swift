// SPDX-License-Identifier: Apache-2.0

import DTLS
import ICE
import SDP
import Testing
import WebRTCCore

@Suite("Offers and their answers, RFC 9429 §5.2")
struct NegotiationOfferTests {
  private func offer(
    _ transceivers: [TransceiverDescription], previous: SessionDescription? = nil
  ) throws -> SessionDescription {
    try Negotiation.makeOffer(transceivers: transceivers, local: try Given.local(), previous: previous)
  }

  private let full = [
    Given.video(codecs: [.h264ConstrainedBaseline, .vp8]), Given.audio(codecs: [.opus, .pcmu, .pcma]),
  ]

  @Test("All codecs are offered in their order, with repair, in one bundle")
  func first() throws {
    let offer = try offer(full)
    #expect(offer.media.map(\.kind) == [.video, .audio])
    #expect(offer.media.map(\.mid) == ["0", "1"])
    #expect(offer.bundleGroups == [["0", "1"]])
    #expect(offer.media[0].formats == ["96", "97", "98", "99"])
    #expect(offer.media[0].rtpMaps.map(\.encodingName) == ["H264", "rtx", "VP8", "rtx"])
    #expect(offer.media[1].formats == ["100", "0", "8"])
    #expect(offer.media.allSatisfy { $0.setup == .actpass && $0.rtcpMux && $0.port == 9 })
    #expect(offer.media.map(\.candidates.count) == [1, 0])
    #expect(offer.origin.sessionID == 77)
    #expect(offer.extmapAllowMixed)
    #expect(try SessionDescription(parsing: offer.serialized()) == offer)
  }

  @Test("Both sides of a call come to the same result")
  func call() throws {
    let viewer = [Given.audio(.sendrecv, codecs: [.pcmu, .opus]), Given.video(.recvonly, rtxSSRC: nil)]
    let offered = try offer(viewer)
    let answered = try Given.answer(offered, full)
    let atViewer = try Negotiation.negotiate(
      local: offered, remote: answered, localIsOffer: true, transceivers: viewer)
    let atCamera = try Negotiation.negotiate(
      local: answered, remote: offered, localIsOffer: false, transceivers: full)
    #expect(atViewer.localRole == .client)
    #expect(atCamera.localRole == .server)
    #expect(atViewer.media.map(\.codecs) == atCamera.media.map(\.codecs))
    #expect(atViewer.media.map(\.direction) == [.sendrecv, .recvonly])
    #expect(atCamera.media.map(\.direction) == [.sendrecv, .sendonly])
    #expect(atViewer.media[1].codecs[0].rtxPayloadType != nil)
    #expect(atViewer.media[1].remoteSSRCs == [1001])
    #expect(atViewer.media[1].remoteRTXSSRCs == [1001: 1002])
    #expect(atViewer.media[1].remoteStreamIDs == ["stream"])
    #expect(atViewer.media[1].headerExtensions == atCamera.media[1].headerExtensions)
    #expect(atViewer.media.map(\.transceiverIndex) == [0, 1])
    #expect(atCamera.media.map(\.transceiverIndex) == [1, 0])
    // An answer of Opus under the camera's preference, not the viewer's.
    #expect(atViewer.media[0].codecs.map(\.codec.mimeType) == ["audio/opus"])
  }

  @Test("An answer may leave sections and codecs out")
  func partialAnswer() throws {
    let offered = try offer(full)
    let answered = try Given.answer(offered, [Given.audio(.recvonly, codecs: [.pcma])])
    let session = try Negotiation.negotiate(
      local: offered, remote: answered, localIsOffer: true, transceivers: full)
    #expect(session.media.map(\.isRejected) == [true, false])
    #expect(session.transportMid == "1")
    #expect(session.media[1].codecs.map(\.payloadType) == [8])
    #expect(session.media[1].direction == .sendonly)
  }

  @Test("Later offers keep places, identifiers and numbers, whichever side made the description before")
  func renegotiation() throws {
    let remote = try Given.chromium()
    let answered = try Given.answer(remote)
    let tied = [Given.video(mid: "1"), Given.audio(mid: "0"), Given.video()]
    let again = try offer(tied, previous: answered)
    // The refused data section's place is taken up by the new transceiver, under a new identifier.
    #expect(again.media.map(\.mid) == ["0", "1", "3"])
    #expect(again.media.map(\.kind) == [.audio, .video, .video])
    #expect(again.media[0].formats == ["111"])
    #expect(again.media[1].formats == ["108", "109"])
    #expect(again.media[2].formats == ["108", "109"])
    #expect(again.media[1].extmaps.map(\.id) == [4])
    #expect(again.media[2].extmaps.map(\.id) == [4])
    #expect(again.bundleGroups == [["0", "1", "3"]])
  }

  @Test("A stopped transceiver's section stays with port 0, and is recycled later")
  func stopped() throws {
    let first = try offer(full)
    let stopped = [Given.video(mid: "0", isStopped: true), Given.audio(mid: "1")]
    let second = try offer(stopped, previous: first)
    #expect(second.media.map(\.isRejected) == [true, false])
    #expect(second.media.map(\.mid) == ["0", "1"])
    #expect(second.bundleGroups == [["1"]])
    #expect(second.media[1].candidates.count == 1)
    let third = try offer(stopped + [Given.video()], previous: second)
    #expect(third.media.map(\.mid) == ["2", "1"])
    #expect(third.media.map(\.isRejected) == [false, false])
  }

  @Test("Transceivers without codecs cannot be offered, nor more codecs than there are numbers")
  func unusable() throws {
    #expect(throws: NegotiationError.unusableTransceiver(index: 0)) { try offer([Given.video(codecs: [])]) }
    let many = (0..<80).map { RTPCodec(mimeType: "video/X\($0)", clockRateHertz: 90_000) }
    #expect(throws: NegotiationError.payloadTypesExhausted) { try offer([Given.video(codecs: many)]) }
  }

  @Test("Payload types stay clear of those that look like RTCP, RFC 5761 §4")
  func numbers() throws {
    let many = (0..<25).map { RTPCodec(mimeType: "video/X\($0)", clockRateHertz: 90_000) }
    let offer = try offer([Given.video(codecs: many)])
    #expect(offer.media[0].payloadTypes.count == 50)
    #expect(offer.media[0].payloadTypes.allSatisfy { !(64...95).contains($0) })
  }

  @Test("T28 a label, stream or cname with a line end is refused when the description is made")
  func injection() throws {
    var video = Given.video()
    video.trackID = "x\r\na=setup:active"
    #expect(throws: NegotiationError.self) { try offer([video]) }
    video = Given.video()
    video.streamID = "a b"
    #expect(throws: NegotiationError.self) { try Given.answer(try Given.chromium(), [video]) }
    let local = try Given.local(cname: "x\ny")
    #expect(throws: NegotiationError.description(.controlCharacter(line: nil))) {
      try Negotiation.makeOffer(transceivers: [Given.video()], local: local, previous: nil)
    }
    video = Given.video(mid: "0\u{0}")
    #expect(throws: NegotiationError.self) { try offer([video]) }
  }
}
