// SPDX-License-Identifier: Apache-2.0

import SDP
import SansIO
import Testing

/// The error that parsing gives, or `nil`.
func errorParsing(_ text: String) -> SDPError? {
  do throws(SDPError) {
    _ = try SessionDescription(parsing: text)
    return nil
  } catch {
    return error
  }
}

/// A description of one section, with the attributes given.
func description(session: [String] = [], media: [String] = [], format: String = "96") -> String {
  let lines =
    ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0"] + session.map { "a=" + $0 }
    + ["m=video 9 UDP/TLS/RTP/SAVPF " + format, "c=IN IP4 0.0.0.0"] + media.map { "a=" + $0 }
  return lines.map { $0 + "\r\n" }.joined()
}

@Suite("Session descriptions are read and written, RFC 8866")
struct SessionDescriptionTests {
  @Test("What peers offer reads back equal after it was written", arguments: SampleOffers.all.map(\.text))
  func roundTrip(text: String) throws {
    let first = try SessionDescription(parsing: text)
    let written = try first.serialized()
    let second = try SessionDescription(parsing: written)
    #expect(second == first)
    #expect(try second.serialized() == written)
    let attributeCount = { (text: String) in text.split(separator: "\n").count { $0.hasPrefix("a=") } }
    #expect(attributeCount(written.replacing("\r\n", with: "\n")) == attributeCount(text))
  }

  @Test("CRLF, LF and a missing last line end read the same")
  func lineEnds() throws {
    let text = SampleOffers.firefox
    let plain = try SessionDescription(parsing: text)
    #expect(try SessionDescription(parsing: SampleOffers.withCRLF(text)) == plain)
    #expect(try SessionDescription(parsing: SampleOffers.withCRLF(text) + "\r\n") == plain)
    #expect(try SessionDescription(parsing: text + "\n") == plain)
  }

  @Test("Chromium's offer is understood")
  func chromium() throws {
    let offer = try SessionDescription(parsing: SampleOffers.chromium)
    #expect(offer.origin.sessionVersion == 2)
    #expect(offer.bundleGroups == [["0", "1", "2"]])
    #expect(offer.extmapAllowMixed)
    #expect(offer.media.map(\.kind) == [.audio, .video, .application])
    let video = offer.media[1]
    #expect(video.payloadTypes.count == 34)
    #expect(video.direction == .recvonly)
    #expect(video.rtcpMux && video.rtcpRsize && !video.isRejected)
    #expect(video.rtpMap(of: 108)?.encodingName == "H264")
    #expect(video.formatParameters(of: 109) == "apt=108")
    #expect(video.hasFeedback("nack pli", of: 108))
    #expect(!video.hasFeedback("nack pli", of: 109))
    #expect(video.extmaps.contains { $0.uri.hasSuffix("sdes:mid") && $0.id == 4 })
    #expect(video.candidates.count == 2)
    #expect(video.candidates[0].hasPrefix("candidate:3625793090 1 udp"))
    #expect(offer.media[0].rtpMap(of: 111)?.channels == 2)
    #expect(offer.media[2].sctpPort == 5000)
    #expect(offer.media[2].maxMessageSize == 262_144)
    #expect(offer.media[2].formats == ["webrtc-datachannel"])
    #expect(offer.media[0].attributes.contains(Attribute(name: "rtcp-xr", value: "rcvr-rtt=all")))
  }

  @Test(
    "Firefox's fingerprint at session level holds for every section, its sorted attributes are no hindrance")
  func firefox() throws {
    let offer = try SessionDescription(parsing: SampleOffers.firefox)
    #expect(offer.media.allSatisfy { $0.fingerprints.isEmpty })
    for index in offer.media.indices {
      let transport = offer.transportAttributes(ofMedia: index)
      #expect(transport.fingerprints.map(\.hashFunction) == ["sha-256"])
      #expect(transport.iceUsernameFragment == "c4e81f0a")
      #expect(transport.iceOptions == ["trickle"])
      #expect(transport.setup == .actpass)
    }
    let extmap = offer.media[1].extmaps.first { $0.id == 6 }
    #expect(extmap?.direction == .recvonly)
    #expect(offer.media[2].maxMessageSize == 1_073_741_823)
  }

  @Test("A section with port 0 is rejected, unless it is bundle-only")
  func bundleOnly() throws {
    let offer = try SessionDescription(parsing: SampleOffers.gstreamer)
    #expect(offer.media.map(\.port) == [9, 0, 0])
    #expect(offer.media.map(\.isRejected) == [false, false, false])
    #expect(offer.media[0].rtpMap(of: 96)?.encodingName == "OPUS")
    var video = offer.media[1]
    video.isBundleOnly = false
    #expect(video.isRejected)
  }

  @Test("Directions are turned and intersected, RFC 3264 §6.1")
  func directions() {
    #expect(MediaDirection.sendonly.reversed == .recvonly)
    #expect(MediaDirection.sendrecv.reversed == .sendrecv)
    #expect(MediaDirection.sendrecv.intersection(.sendonly) == .sendonly)
    #expect(MediaDirection.recvonly.intersection(.sendonly) == .inactive)
  }

  @Test("A section without direction takes the session's")
  func sessionDirection() throws {
    let text = description(session: ["recvonly"])
    let session = try SessionDescription(parsing: text)
    #expect(session.direction(ofMedia: 0) == .recvonly)
    #expect(try SessionDescription(parsing: description()).direction(ofMedia: 0) == .sendrecv)
  }

  @Test("Lines other than attributes are kept, k= is discarded")
  func otherLines() throws {
    let text = """
      v=0
      o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1
      s=Call to John Smith
      i=SDP Offer #1
      u=http://www.jdoe.example.com/home.html
      e=Jane Doe <jane@jdoe.example.com>
      p=+1 617 555-6011
      c=IN IP4 198.51.100.1
      b=AS:128
      t=0 0
      r=7d 1h 0 25h
      z=3730928400 -1h
      k=clear:secret
      m=audio 49170/2 RTP/AVP 0
      i=a title
      c=IN IP4 198.51.100.2
      b=TIAS:64000
      k=prompt
      a=X-own
      m=message 2855 TCP/MSRP *
      a=path:msrp://198.51.100.1:2855/x;tcp
      a=fmtp:any is not RTP
      """
    let session = try SessionDescription(parsing: text)
    #expect(session.bandwidths == [Bandwidth(type: "AS", value: 128)])
    #expect(session.timings[0].repeats == ["7d 1h 0 25h"])
    #expect(session.media[0].portCount == 2)
    #expect(session.media[0].rtpMap(of: 0)?.encodingName == "PCMU")
    #expect(session.media[1].kind == .other("message"))
    #expect(session.media[1].attributes.count == 2)
    let written = try session.serialized()
    #expect(!written.contains("secret"))
    #expect(try SessionDescription(parsing: written) == session)
  }

  @Test(
    "Every prefix of every offer is read or refused, none of them traps",
    arguments: SampleOffers.all.map(\.text))
  func prefixes(text: String) {
    let bytes = Array(SampleOffers.withCRLF(text).utf8)
    for count in stride(from: 0, to: bytes.count, by: 3) {
      let prefix = String(decoding: bytes[..<count], as: UTF8.self)
      guard let session = try? SessionDescription(parsing: prefix) else { continue }
      #expect((try? session.serialized()) != nil)
    }
  }

  @Test("Damaged offers are read or refused; what is read can be written and reads back equal")
  func damage() {
    var random = RandomSource(seed: 11)
    let sources = SampleOffers.all.map { Array($0.text.utf8) }
    for _ in 0..<1_200 {
      var bytes = sources[Int.random(in: 0..<sources.count, using: &random)]
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let index = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.remove(at: index)
        default: bytes.insert(Array(" :/=09\n*".utf8).randomElement(using: &random) ?? 0, at: index)
        }
      }
      guard let session = try? SessionDescription(parsing: String(decoding: bytes, as: UTF8.self)) else {
        continue
      }
      let written = try? session.serialized()
      #expect(written != nil)
      #expect(written.flatMap { try? SessionDescription(parsing: $0) } == session)
    }
  }

  @Test("Passwords are not shown in descriptions of the value")
  func redaction() throws {
    let offer = try SessionDescription(parsing: SampleOffers.gstreamer)
    #expect(!"\(offer)".contains("u7KxP2bQe9VnJ4mTs6wLzR1cHd8fGy3A"))
    #expect(try offer.serialized().contains("a=ice-pwd:u7KxP2bQe9VnJ4mTs6wLzR1cHd8fGy3A"))
  }
}
