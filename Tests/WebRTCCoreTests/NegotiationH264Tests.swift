// SPDX-License-Identifier: Apache-2.0

import SDP
import Testing
import WebRTCCore

@Suite("H.264 is matched by profile and packetisation, RFC 6184 §8")
struct NegotiationH264Tests {
  /// The answer's parameters to an offer of these payload types, or `nil` if the section is refused.
  private func answer(
    _ offered: [String?], direction: MediaDirection = .sendonly,
    own: String? = RTPCodec.h264ConstrainedBaseline.formatParameters
  ) throws -> (payloadType: String, parameters: String?)? {
    let offer = try Given.chromium { offer in
      offer.media[1].direction = .sendrecv
      offer.media[1].formats = offered.indices.map { String(96 + $0) }
      offer.media[1].rtpMaps = offered.indices.map {
        RTPMap(payloadType: UInt8(96 + $0), encodingName: "h264", clockRateHertz: 90_000)
      }
      offer.media[1].fmtp = offered.enumerated().compactMap { index, text in
        text.map { FormatParameters(payloadType: UInt8(96 + index), text: $0) }
      }
      offer.media[1].rtcpFeedback = []
    }
    let codec = RTPCodec(mimeType: "video/H264", clockRateHertz: 90_000, formatParameters: own)
    let section = try Given.answer(offer, [Given.video(direction, codecs: [codec])]).media[1]
    guard !section.isRejected else { return nil }
    return (section.formats[0], section.formatParameters(of: section.payloadTypes[0]))
  }

  @Test("The same profile in other bytes matches, packetisation must be the same")
  func profiles() throws {
    #expect(try answer(["profile-level-id=4DF01F;packetization-mode=1"], direction: .sendrecv) != nil)
    #expect(try answer(["profile-level-id=42f01f; packetization-mode=1"], direction: .sendrecv) != nil)
    #expect(try answer(["profile-level-id=42e01f;packetization-mode=0"]) == nil)
    #expect(try answer(["profile-level-id=42e01f"]) == nil)
    #expect(try answer([nil]) == nil)
    #expect(try answer(["profile-level-id=42e0;packetization-mode=1"]) == nil)
    #expect(try answer(["profile-level-id=42e01g;packetization-mode=1"]) == nil)
    #expect(try answer(["profile-level-id=+2e01f;packetization-mode=1"]) == nil)
    #expect(try answer(["profile-level-id=42e01f;packetization-mode=99999999999"]) == nil)
  }

  @Test("The exact profile goes before one that shows the stream as well")
  func exactFirst() throws {
    let main = "profile-level-id=4d001f;packetization-mode=1"
    let constrained = "profile-level-id=42e01f;packetization-mode=1"
    #expect(try answer([main, constrained])?.payloadType == "97")
    #expect(try answer([main])?.payloadType == "96")
    // What we would receive under Main we could not show.
    #expect(try answer([main], direction: .sendrecv) == nil)
  }

  @Test(
    "The level is ours with asymmetry on both sides, else the lower one; the profile bytes are the offer's")
  func levels() throws {
    let asymmetric = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="
    let symmetric = "packetization-mode=1;profile-level-id="
    #expect(try answer([asymmetric + "42e00a"])?.parameters == asymmetric + "42e01f")
    #expect(try answer([asymmetric + "42c034"])?.parameters == asymmetric + "42c01f")
    #expect(try answer([symmetric + "42e00a"])?.parameters == symmetric + "42e00a")
    #expect(try answer([symmetric + "42e034"])?.parameters == symmetric + "42e01f")
    #expect(
      try answer([asymmetric + "42e034"], own: symmetric + "42e01f")?.parameters == symmetric + "42e01f")
    // Level 1b is level 11 with constraint_set3, and lower than 1.1.
    #expect(try answer([symmetric + "42f00b"], own: symmetric + "42e00b")?.parameters == symmetric + "42f00b")
    #expect(try answer([symmetric + "42e00b"], own: symmetric + "42f00b")?.parameters == symmetric + "42f00b")
  }
}
