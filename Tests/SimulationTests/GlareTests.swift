// SPDX-License-Identifier: Apache-2.0

import SDP
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// Offers that cross, and offers that are taken back (RFC 8829 §4.1.10.2, W3C WebRTC §10.7).
@Suite("Crossing offers and rollback")
struct GlareTests {
  /// A call in which the viewer yields.
  private func makeCall(seed: UInt64) throws -> Call {
    try Call(seed: seed, configureViewer: { $0.isPolite = true })
  }

  @Test("Two first offers that cross end in one session: the polite side's is taken back")
  func firstOffersCross() throws {
    let call = try makeCall(seed: 300)
    let negotiator = Negotiator(call.run)
    // Each has transceivers that the other does not know of, and offers them at once.
    let isConnected = negotiator.run(atMost: .seconds(5)) { $0.isConnected }
    #expect(isConnected)
    #expect(negotiator.collisionCount == 1)
    #expect(negotiator.completedCount == 1)
    #expect(negotiator.errors.isEmpty, "\(negotiator.errors)")
    // The master's offer had a place for each of the viewer's transceivers.
    #expect(call.viewer.core.transceiverCount == 2)
    call.sendMedia(pictures: 10)
    call.run.run(atMost: .seconds(1))
    #expect(call.viewer.frames(of: call.viewerVideo).count == 10)
  }

  @Test("What the polite side's offer was about is asked for again", arguments: [true, false])
  func asksAgain(viewerIsPolite: Bool) throws {
    let call = try Call(
      seed: 301, configureViewer: { $0.isPolite = viewerIsPolite },
      configureMaster: { $0.isPolite = !viewerIsPolite })
    let isConnected = try call.connect()
    #expect(isConnected)
    let negotiator = Negotiator(call.run)
    let fromViewer = call.viewer.core.addTransceiver(.video, Call.video(.sendonly))
    let fromMaster = call.master.core.addTransceiver(.audio, Call.audio(.sendonly))
    negotiator.run(atMost: .seconds(1))
    #expect(negotiator.collisionCount == 1)
    #expect(negotiator.completedCount == 2)
    #expect(negotiator.errors.isEmpty, "\(negotiator.errors)")
    for (peer, id) in [(call.viewer, fromViewer), (call.master, fromMaster)] {
      let media = peer.core.negotiatedMedia(of: id)
      #expect(media?.isRejected == false)
      #expect(peer.core.signalingState == .stable)
    }
  }

  @Test("Without a polite side an offer that crosses is refused, and everything stays as it was")
  func refusesCollision() throws {
    let call = try Call(seed: 302)
    let now = call.run.now
    let offers = try [call.viewer, call.master].map { peer in
      let offer = try peer.core.createOffer(at: now)
      try peer.core.setLocalDescription(offer, at: now)
      return offer
    }
    #expect(throws: PeerConnectionError.offerCollision) {
      try call.viewer.core.setRemoteDescription(offers[1], at: now)
    }
    #expect(call.viewer.core.signalingState == .haveLocalOffer)
    // Either application can still give way by hand.
    try call.master.core.setLocalDescription(.rollback, at: now)
    try call.master.core.setRemoteDescription(offers[0], at: now)
    let answer = try call.master.core.createAnswer(at: now)
    try call.master.core.setLocalDescription(answer, at: now)
    try call.viewer.core.setRemoteDescription(answer, at: now)
    let isConnected = call.run.run(atMost: .seconds(5)) { $0.isConnected }
    #expect(isConnected)
  }

  @Test("An offer that a polite side cannot accept does not cost it its own")
  func keepsOfferWhenOtherIsBad() throws {
    let call = try makeCall(seed: 303)
    let isConnected = try call.connect()
    #expect(isConnected)
    let now = call.run.now
    let own = try call.viewer.core.createOffer(iceRestart: true, at: now)
    try call.viewer.core.setLocalDescription(own, at: now)
    let bad = try call.master.core.createOffer(at: now).replacingLines {
      $0.hasPrefix("a=ice-ufrag:") ? "a=ice-ufrag:another" : $0
    }
    #expect(throws: PeerConnectionError.incompleteICERestart) {
      try call.viewer.core.setRemoteDescription(bad, at: now)
    }
    #expect(call.viewer.core.signalingState == .haveLocalOffer)
    try call.master.core.setRemoteDescription(own, at: now)
    let answer = try call.master.core.createAnswer(at: now)
    try call.master.core.setLocalDescription(answer, at: now)
    try call.viewer.core.setRemoteDescription(answer, at: now)
    #expect(own.values(of: "ice-ufrag").first == call.viewer.core.localUsernameFragment)
  }

  @Test("An offer that is taken back leaves the session as it was: states, credentials, media")
  func rollsBack() throws {
    let call = try Call(seed: 304)
    let isConnected = try call.connect()
    #expect(isConnected)
    let now = call.run.now
    let before = try call.viewer.core.createOffer(at: now)
    let restarting = try call.viewer.core.createOffer(iceRestart: true, at: now)
    try call.viewer.core.setLocalDescription(restarting, at: now)
    try call.viewer.core.setLocalDescription(.rollback, at: now)
    #expect(call.viewer.core.signalingState == .stable)
    #expect(throws: PeerConnectionError.unknownLocalDescription) {
      try call.viewer.core.setLocalDescription(restarting, at: now)
    }
    let after = try call.viewer.core.createOffer(at: now)
    #expect(after.values(of: "ice-ufrag") == before.values(of: "ice-ufrag"))
    let fragments = call.viewer.core.localUsernameFragments
    #expect(fragments == [call.viewer.core.localUsernameFragment])
    call.sendMedia(pictures: 50)
    call.run.run(atMost: .seconds(3))
    #expect(call.viewer.frames(of: call.viewerVideo).count == 50)
  }

  @Test("A transceiver that came with an offer taken back is not offered, and serves the next offer")
  func withdrawsTransceivers() throws {
    let call = try Call(seed: 305)
    let now = call.run.now
    _ = call.viewer.core.addTransceiver(.video, Call.video(.sendonly))
    let offer = try call.viewer.core.createOffer(at: now)
    for _ in 0..<40 {
      try call.master.core.setRemoteDescription(offer, at: now)
      #expect(call.master.core.transceiverCount == 3)
      try call.master.core.setRemoteDescription(.rollback, at: now)
    }
    #expect(call.master.core.signalingState == .stable)
    let own = try SessionDescription(parsing: try call.master.core.createOffer(at: now).sdp)
    #expect(own.media.count == 2)
    let isConnected = try call.connect()
    #expect(isConnected)
    #expect(call.master.core.transceiverCount == 3)
    let media = call.master.core.negotiatedMedia(of: TransceiverID(rawValue: 2))
    #expect(media?.isRejected == false)
  }

  @Test("There is nothing to take back in a stable or a closed connection")
  func refusesRollback() throws {
    let call = try Call(seed: 306)
    let now = call.run.now
    #expect(throws: PeerConnectionError.wrongSignalingState(.stable)) {
      try call.viewer.core.setLocalDescription(.rollback, at: now)
    }
    call.viewer.core.close(at: now)
    #expect(throws: PeerConnectionError.closed) {
      try call.viewer.core.setRemoteDescription(.rollback, at: now)
    }
  }

  @Test("An offer is asked for once, not during an exchange, and again if the exchange did not do it")
  func asksOnce() throws {
    let call = try Call(seed: 307)
    call.run.run(atMost: .zero)
    #expect(call.viewer.negotiationNeededCount == 1)
    let isConnected = try call.connect()
    #expect(isConnected)
    #expect(call.viewer.negotiationNeededCount == 1)
    let now = call.run.now
    let offer = try call.viewer.core.createOffer(at: now)
    try call.viewer.core.setLocalDescription(offer, at: now)
    _ = call.viewer.core.addTransceiver(.audio, Call.audio(.sendonly))
    call.viewer.core.restartICE(at: now)
    call.run.run(atMost: .zero)
    #expect(call.viewer.negotiationNeededCount == 1)
    try call.viewer.core.setLocalDescription(.rollback, at: now)
    call.run.run(atMost: .zero)
    #expect(call.viewer.negotiationNeededCount == 2)
  }
}
