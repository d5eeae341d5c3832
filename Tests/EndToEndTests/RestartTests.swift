// SPDX-License-Identifier: Apache-2.0

import SDP
import Testing
import WebRTC
import WebRTCCore

@testable import KVSApplications

@Suite("A viewer's session outlives the path that it began with", .timeLimit(.minutes(3)))
struct RestartTests {
  @Test("A viewer that looks for a new path is answered on the connection that it has")
  func viewerRestarts() async throws {
    try await Stage.use { stage in
      try await stage.withMaster(viewersMax: 1) { _ in
        let viewer = try await TestViewer("viewer-1", on: stage)
        let receiver = try await viewer.connect()
        _ = try await receiver.frames(10, of: receiver.video)
        for _ in 0..<2 {
          let before = try #require(receiver.connection.remoteDescription).sdp
          let offer = try await receiver.connection.createOffer(iceRestart: true)
          try await receiver.connection.setLocalDescription(offer)
          viewer.send(offer: offer.sdp)
          let answer = try await viewer.nextAnswer()
          #expect(Self.usernameFragment(of: answer) != Self.usernameFragment(of: before))
          #expect(SessionIdentity(of: answer) == SessionIdentity(of: before))
          try await receiver.take(answer: answer)
          _ = try await receiver.frames(25, of: receiver.video)
        }
        #expect(receiver.connection.connectionState == .connected)
        #expect(stage.log.count(of: "the viewer is connected") == 1)
        #expect(stage.log.count(of: "the viewer is gone") == 0)
        await receiver.connection.close()
        try await stage.departure(of: "viewer-1")
      }
    }
  }

  private static func usernameFragment(of sdp: String) -> Substring? {
    sdp.split(whereSeparator: \.isNewline).first { $0.hasPrefix("a=ice-ufrag:") }
  }

  @Test("Another connection of the same viewer is not taken for the one that stands")
  func identities() async throws {
    try await Stage.use { stage in
      let first = try await TestReceiver(on: stage.viewerLoop, startingWith: .video)
      let second = try await TestReceiver(on: stage.viewerLoop, startingWith: .video)
      let again = try await first.connection.createOffer()
      #expect(SessionIdentity(of: first.offer) != nil)
      #expect(SessionIdentity(of: first.offer) == SessionIdentity(of: again.sdp))
      #expect(SessionIdentity(of: first.offer) != SessionIdentity(of: second.offer))
      // The same certificate in another session, and another certificate in the same session.
      let origin = try #require(first.offer.split(whereSeparator: \.isNewline).first { $0.hasPrefix("o=") })
      let otherOrigin = first.offer.replacing(origin, with: "o=- 1 1 IN IP4 127.0.0.1")
      #expect(SessionIdentity(of: otherOrigin) != SessionIdentity(of: first.offer))
      let fingerprint = try #require(
        second.offer.split(whereSeparator: \.isNewline).first { $0.hasPrefix("a=fingerprint:") })
      let own = try #require(
        first.offer.split(whereSeparator: \.isNewline).first { $0.hasPrefix("a=fingerprint:") })
      let otherCertificate = first.offer.replacing(own, with: fingerprint)
      #expect(SessionIdentity(of: otherCertificate) != SessionIdentity(of: first.offer))
      for text in ["", "v=0", "nonsense"] { #expect(SessionIdentity(of: text) == nil) }
      await first.connection.close()
      await second.connection.close()
    }
  }
}
