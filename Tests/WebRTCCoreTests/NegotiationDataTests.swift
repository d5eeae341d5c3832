// SPDX-License-Identifier: Apache-2.0

import DTLS
import ICE
import SDP
import Testing
import WebRTCCore

/// The application section in offers and answers (RFC 8841, RFC 9429 §5.2.1), without a connection.
@Suite("Negotiation of data channels, RFC 8841")
struct NegotiationDataTests {
  private static var wanted: NegotiationOptions {
    var options = NegotiationOptions()
    options.acceptsDataChannels = true
    options.offersDataChannels = true
    return options
  }

  private func offer(
    _ transceivers: [TransceiverDescription] = Given.camera, previous: SessionDescription? = nil,
    options: NegotiationOptions = wanted
  ) throws -> SessionDescription {
    try Negotiation.makeOffer(
      transceivers: transceivers, local: try Given.local(), previous: previous, options: options)
  }

  private func isData(_ media: MediaDescription) -> Bool { media.kind == .application }

  @Test("Data channels are offered behind the media, in its bundle, with port and size")
  func offered() throws {
    var options = Self.wanted
    options.maxMessageSize = 1_000_000
    let description = try offer(options: options)
    #expect(description.media.map(\.kind) == [.video, .audio, .application])
    let data = description.media[2]
    #expect(data.protocolName == "UDP/DTLS/SCTP" && data.formats == ["webrtc-datachannel"])
    #expect(data.port == 9 && data.sctpPort == 5000 && data.maxMessageSize == 1_000_000)
    #expect(data.setup == .actpass && data.fingerprints.count == 1 && data.iceUsernameFragment != nil)
    #expect(data.mid == "2" && description.bundleGroups == [["0", "1", "2"]])
    #expect(data.declaredDirection == nil && !data.rtcpMux)
    let without = try offer(options: NegotiationOptions())
    #expect(without.media.count == 2)
  }

  @Test("Data channels alone make a whole description, and the candidates stand in it")
  func dataOnly() throws {
    let description = try offer([])
    #expect(description.media.map(\.kind) == [.application])
    #expect(description.bundleGroups == [["0"]])
    #expect(description.media[0].candidates.count == 1)
    let answer = try Given.answer(description, [], options: Self.wanted)
    #expect(answer.media[0].port == 9 && answer.media[0].setup == .passive)
    let session = try Negotiation.negotiate(
      local: description, remote: answer, localIsOffer: true, transceivers: [])
    #expect(session.transportMid == "0" && session.localRole == .client)
    #expect(session.remoteSCTPPort == 5000 && session.remoteMaxMessageSize == 262_144)
  }

  @Test("Later offers keep the section at its place, also where media came behind it")
  func keepsItsPlace() throws {
    let first = try offer([])
    let second = try offer(Given.camera, previous: first)
    #expect(second.media.map(\.kind) == [.application, .video, .audio])
    #expect(second.media.map(\.mid) == ["0", "1", "2"])
    // Nobody needs to want it again for it to stay.
    var options = NegotiationOptions()
    options.acceptsDataChannels = true
    let third = try offer([], previous: first, options: options)
    #expect(third.media.map(\.port) == [9])
  }

  @Test("A section that was refused stays refused until channels are wanted again, then it serves anew")
  func recycles() throws {
    var refused = try offer()
    refused.media[2].port = 0
    refused.groups = [MediaGroup(semantics: "BUNDLE", mids: ["0", "1"])]
    let transceivers = [Given.video(mid: "0"), Given.audio(mid: "1")]
    let idle = try offer(transceivers, previous: refused, options: NegotiationOptions())
    #expect(idle.media.count == 3 && idle.media[2].isRejected)
    let again = try offer(transceivers, previous: refused)
    #expect(again.media.count == 3 && !again.media[2].isRejected)
    // RFC 9429 §5.2.2: what serves anew has another identifier.
    #expect(again.media[2].mid == "3" && again.bundleGroups == [["0", "1", "3"]])
    // A refused section of media is no place for data if there is one of data.
    var both = refused
    both.media[1].port = 0
    let placed = try offer([Given.video(mid: "0"), Given.audio()], previous: both)
    #expect(placed.media.map(\.kind) == [.video, .audio, .application])
    #expect(placed.media.allSatisfy { !$0.isRejected })
  }

  @Test(
    "The peer's size: as it says, 65,536 where it says nothing, 0 for any", arguments: [nil, 0, 1, 100_000])
  func sizes(size: UInt64?) throws {
    let offer = try Given.chromium { $0.media[2].maxMessageSize = size }
    var options = Self.wanted
    options.maxMessageSize = 77_777
    let answer = try Given.answer(offer, options: options)
    #expect(answer.media[2].maxMessageSize == 77_777)
    let session = try Negotiation.negotiate(
      local: answer, remote: offer, localIsOffer: false, transceivers: Given.camera)
    #expect(session.remoteMaxMessageSize == size ?? 65_536)
  }

  @Test("The peer's SCTP port may be another one; ours stays")
  func port() throws {
    let offer = try Given.chromium { $0.media[2].sctpPort = 6001 }
    let answer = try Given.answer(offer, options: Self.wanted)
    #expect(answer.media[2].sctpPort == 5000)
    let session = try Negotiation.negotiate(
      local: answer, remote: offer, localIsOffer: false, transceivers: Given.camera)
    #expect(session.remoteSCTPPort == 6001)
    let closing = try Given.chromium { $0.media[2].sctpPort = 0 }
    let refusal = try Given.answer(closing, options: Self.wanted)
    #expect(refusal.media[2].isRejected && !refusal.media[0].isRejected)
  }

  @Test("Of two application sections one is taken: a transport carries one SCTP association")
  func twoSections() throws {
    let offer = try Given.chromium { offer in
      var second = offer.media[2]
      second.mid = "more"
      offer.media.append(second)
      offer.groups[0].mids.append("more")
    }
    let answer = try Given.answer(offer, options: Self.wanted)
    #expect(answer.media.map(\.isRejected) == [false, false, false, true])
  }

  @Test("The syntax of old drafts is read and refused: section by section, the rest of the offer is taken")
  func oldSyntax() throws {
    let lines = SampleOffers.chromium.split(whereSeparator: \.isNewline).map { line in
      switch line {
      case "m=application 9 UDP/DTLS/SCTP webrtc-datachannel": "m=application 9 DTLS/SCTP 5000"
      case "a=sctp-port:5000": "a=sctpmap:5000 webrtc-datachannel 1024"
      default: String(line)
      }
    }
    let offer = try Given.parse(lines.joined(separator: "\r\n") + "\r\n")
    #expect(offer.media[2].protocolName == "DTLS/SCTP")
    let answer = try Given.answer(offer, options: Self.wanted)
    let text = try answer.serialized()
    #expect(text.contains("m=application 0 DTLS/SCTP 5000\r\n"))
    #expect(answer.media.map(\.isRejected) == [false, false, true])
    let session = try Negotiation.negotiate(
      local: answer, remote: offer, localIsOffer: false, transceivers: Given.camera)
    #expect(session.remoteSCTPPort == nil && session.remoteMaxMessageSize == nil)
  }

  @Test("Media is refused on a transport without keys for it, data is not")
  func withoutKeys() throws {
    var options = Self.wanted
    options.acceptsMedia = false
    let answer = try Given.answer(try Given.chromium(), options: options)
    #expect(answer.media.map(\.isRejected) == [true, true, false])
    #expect(answer.media[2].candidates.count == 1)
  }
}
