// SPDX-License-Identifier: Apache-2.0

import SDP
import SansIO
import Testing

@Suite("Session descriptions that break the rules are refused")
struct SDPRefusalTests {
  @Test("The first lines must be v=0, o= and s=; t= must be there")
  func start() {
    #expect(errorParsing("") == .missingLine("v="))
    #expect(errorParsing("v=1\n") == .invalid("version", line: 1))
    #expect(errorParsing("v=0\ns=-\n") == .missingLine("o="))
    #expect(errorParsing("v=0\no=- 1 1 IN IP4 0.0.0.0\nt=0 0\n") == .missingLine("s="))
    #expect(errorParsing("v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\n") == .missingLine("t="))
    #expect(errorParsing("v=0\no=- 1 IN IP4 0.0.0.0\ns=-\n") == .invalid("origin", line: 2))
    #expect(errorParsing("v=0\n\no=- 1 1 IN IP4 0.0.0.0\n") == .malformedLine(line: 2))
  }

  @Test(
    "Malformed attributes are refused, with their line",
    arguments: [
      "rtpmap:96", "rtpmap:96 H264", "rtpmap:96 H264/", "rtpmap:96 H264/x", "rtpmap:128 H264/90000",
      "rtpmap:96 opus/48000/2/3", "fmtp:x a=b", "rtcp-fb:96", "rtcp-fb:* ", "mid:", "mid:a b", "ice-ufrag:",
      "ice-pwd:a b", "fingerprint:sha-256", "fingerprint:", "setup:both", "setup:", "extmap:0 urn:x",
      "extmap:256 urn:x", "extmap:1", "extmap:1/sideways urn:x", "ssrc:4294967296 cname:x", "ssrc:1",
      "ssrc-group:FID", "ssrc-group:FID x", "msid:", "msid:a b c", "sctp-port:65536", "max-message-size:-1",
      "candidate:", "sendrecv:1", "mid", "rtpmap", ":x",
    ])
  func malformed(attribute: String) {
    guard case .invalid(_, let line) = errorParsing(description(media: [attribute])) else {
      Issue.record("\(attribute) was not refused")
      return
    }
    #expect(line == 7)
  }

  @Test("Contradictions are refused, repetitions are not")
  func contradictions() {
    for pair in [
      ["mid:0", "mid:1"], ["ice-ufrag:abcd", "ice-ufrag:abce"], ["sendonly", "recvonly"],
      ["rtpmap:96 VP8/90000", "rtpmap:96 VP9/90000"], ["setup:active", "setup:passive"],
      ["sctp-port:1", "sctp-port:2"],
    ] {
      guard case .duplicate = errorParsing(description(media: pair)) else {
        Issue.record("\(pair) was not refused")
        continue
      }
      #expect(errorParsing(description(media: [pair[0], pair[0]])) == nil)
    }
    #expect(errorParsing(description(format: "96 97 96")) == .duplicate("payload type", line: 5))
  }

  @Test("T28 control characters are refused on reading", arguments: Array(UInt8(0)..<0x20) + [0x7f])
  func controlCharactersRead(byte: UInt8) {
    let text = description(media: ["mid:a\(Character(UnicodeScalar(byte)))b"])
    let error = errorParsing(text)
    // A line end makes a second line, which is no line of a description.
    #expect(error == .controlCharacter(line: 7) || (byte == 0x0a && error == .malformedLine(line: 8)))
  }

  @Test("T28 control characters and line ends are refused on writing, in any field")
  func controlCharactersWritten() throws {
    let base = try SessionDescription(parsing: description(media: ["mid:0"]))
    let evil = "x\r\na=setup:active"
    let changes: [(inout SessionDescription) -> Void] = [
      { $0.name = evil }, { $0.origin.username = evil }, { $0.origin.address = "\u{0}" },
      { $0.media[0].mid = evil }, { $0.groups = [MediaGroup(semantics: "BUNDLE", mids: [evil])] },
      { $0.media[0].msids = [MediaStreamIdentifier(streamID: evil)] },
      { $0.media[0].msids = [MediaStreamIdentifier(streamID: "s", trackID: "t\n")] },
      { $0.media[0].ssrcs = [SSRCAttribute(ssrc: 1, name: "cname", value: evil)] },
      { $0.media[0].candidates = ["candidate:" + evil] },
      { $0.media[0].attributes = [Attribute(name: "x", value: evil)] },
      { $0.media[0].attributes = [Attribute(name: evil)] },
      { $0.media[0].fmtp = [FormatParameters(payloadType: 96, text: evil)] },
      { $0.media[0].iceUsernameFragment = evil }, { $0.media[0].icePassword = Secret(evil) },
      { $0.media[0].protocolName = evil }, { $0.media[0].information = "\t" },
    ]
    for change in changes {
      var session = base
      change(&session)
      #expect(throws: SDPError.self) { try session.serialized() }
    }
  }

  @Test("Values that would not read back as they are cannot be written")
  func notCanonical() throws {
    let base = try SessionDescription(parsing: description(media: ["mid:0"]))
    let changes: [(inout SessionDescription) -> Void] = [
      { $0.media[0].mid = "a b" }, { $0.media[0].mid = "" },
      { $0.media[0].attributes = [Attribute(name: "mid", value: "1")] },
      { $0.media[0].attributes = [Attribute(name: "a:b")] },
      { $0.attributes = [Attribute(name: "group", value: "BUNDLE 0")] },
      { $0.media[0].formats = [] }, { $0.media[0].formats = ["128"] }, { $0.media[0].formats = ["096"] },
      { $0.media[0].kind = .other("audio") }, { $0.timings = [] },
      { $0.media[0].fmtp = [FormatParameters(payloadType: 96, text: " a")] },
      { $0.media[0].candidates = ["1 1 udp"] },
      { $0.media[0].extmaps = [HeaderExtensionMap(id: 0, uri: "x")] },
    ]
    for change in changes {
      var session = base
      change(&session)
      #expect(throws: SDPError.self) { try session.serialized() }
    }
  }

  @Test("T29 attributes, sections and bytes beyond the limits are errors, never cut")
  func limits() throws {
    let many = (0..<10_000).map { "x\($0)" }
    #expect(
      errorParsing(description(media: many))
        == .tooManyAttributes(line: 7 + SDPLimits.attributesPerSectionMax))
    let most = Array(many.prefix(SDPLimits.attributesPerSectionMax))
    let session = try SessionDescription(parsing: description(media: most))
    #expect(session.media[0].attributes.count == SDPLimits.attributesPerSectionMax)

    let section = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"
    let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
    #expect(errorParsing(head + String(repeating: section, count: 1_000)) == .tooManyMediaSections)
    #expect(errorParsing(head + String(repeating: section, count: SDPLimits.mediaSectionsMax)) == nil)

    let long = description(media: ["x:" + String(repeating: "y", count: 1 << 20)])
    #expect(errorParsing(long) == .textTooLong(byteCount: long.utf8.count))
    let bearable = description(media: ["x:" + String(repeating: "y", count: 100_000)])
    #expect(errorParsing(bearable) == nil)
  }

  @Test(
    "T29 numbers that do not fit are refused",
    arguments: ["128", "256", "4294967296", "99999999999999999999", "-1", "0x60", "96.", ""])
  func payloadTypes(format: String) {
    let expected: SDPError = format.isEmpty ? .invalid("format", line: 5) : .invalid("payload type", line: 5)
    #expect(errorParsing(description(format: format)) == expected)
  }

  @Test("T29 the limits hold for writing too")
  func limitsWritten() throws {
    var session = try SessionDescription(parsing: description())
    session.media[0].attributes = (0..<5_000).map { Attribute(name: "x\($0)") }
    #expect(throws: SDPError.tooManyAttributes(line: nil)) { try session.serialized() }
    session.media = Array(repeating: session.media[0], count: 65)
    #expect(throws: SDPError.tooManyMediaSections) { try session.serialized() }
  }
}
