// SPDX-License-Identifier: Apache-2.0

import ICE
import RTP
import SDP
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// ICE restarts of running calls by offer and answer (RFC 8445 §9, RFC 8839 §4.4.1.1.1): media goes on, keys stay.
@Suite("ICE restarts of a call")
struct RestartTests {
  enum Side: CaseIterable { case viewer, master }

  private func peer(_ side: Side, of call: Call) -> SimulatedPeer {
    side == .viewer ? call.viewer : call.master
  }

  /// Whether everything that was sent arrived, in order and unchanged.
  private func expectAll(_ call: Call, pictures: Int, _ comment: Comment) {
    let video = call.viewer.frames(of: call.viewerVideo).map(\.bytes)
    let audio = call.viewer.frames(of: call.viewerAudio).map(\.bytes)
    #expect(video.count == pictures, comment)
    #expect(audio.count == 2 * pictures, comment)
    let isIntact =
      video == (0..<pictures).map { Call.accessUnit($0, byteCount: 6000) }
      && audio == (0..<(2 * pictures)).map(Call.opusPacket)
    #expect(isIntact, comment)
  }

  private func dtlsConnectedCount(_ peer: SimulatedPeer) -> Int {
    peer.events.count { if case .dtlsConnected = $0 { true } else { false } }
  }

  // MARK: Over a path that works

  @Test(
    "Either side restarts: new credentials on both, no frame lost, no state left", arguments: Side.allCases)
  func restartsWithoutLoss(side: Side) throws {
    let call = try Call(seed: 400)
    let isConnected = try call.connect()
    #expect(isConnected)
    let before = [call.viewer, call.master].map(\.usernameFragment)
    let negotiator = Negotiator(call.run)
    call.sendMedia(pictures: 150)
    negotiator.run(atMost: .seconds(1))
    peer(side, of: call).core.restartICE(at: call.run.now)
    negotiator.run(atMost: .seconds(6))
    expectAll(call, pictures: 150, "\(side)")
    // The old credentials are welcome for some seconds more.
    negotiator.run(atMost: .seconds(10))
    #expect(negotiator.completedCount == 1)
    #expect(negotiator.errors.isEmpty)
    let after = [call.viewer, call.master].map(\.usernameFragment)
    #expect(Set(before + after).count == 4)
    for peer in [call.viewer, call.master] {
      #expect(peer.connectionStates == [.connecting, .connected])
      #expect(dtlsConnectedCount(peer) == 1)
      let fragments = peer.core.localUsernameFragments
      #expect(fragments == [peer.core.localUsernameFragment])
    }
    for (index, peer) in [call.viewer, call.master].enumerated() {
      let transport = peer.core.statistics(at: call.run.now).transport
      // Roles stay, whoever restarts (RFC 8445 §6.1.1).
      #expect(transport.iceRole == (peer === call.viewer ? "controlling" : "controlled"))
      #expect(transport.iceLocalUsernameFragment == after[index])
    }
  }

  @Test("T42: over thirty restarts from both sides no source and index is encrypted twice, no frame is lost")
  func keepsNoncesUnique() throws {
    let call = try Call(seed: 401)
    let isConnected = try call.connect()
    #expect(isConnected)
    let wire = Wiretap(call.run)
    let negotiator = Negotiator(call.run)
    call.sendMedia(pictures: 400)
    for round in 0..<30 {
      negotiator.offer(from: round % 3 == 0 ? call.master : call.viewer, iceRestart: true)
      negotiator.run(atMost: .milliseconds(500))
    }
    negotiator.run(atMost: .seconds(3))
    #expect(negotiator.completedCount == 30)
    #expect(negotiator.errors.isEmpty)
    expectAll(call, pictures: 400, "after thirty restarts")
    for address in [TransportAddress.simulated(host: 1), .simulated(host: 2)] {
      let (all, _) = wire.nonces(from: address)
      #expect(Set(all).count == all.count)
    }
    #expect(Set(wire.nonces(from: .simulated(host: 2)).all.map(\.ssrc)).count <= 3)
    #expect(call.run.isConnected)
  }

  @Test("Both sides restart at once: the polite one follows, and one restart does for both")
  func restartsCross() throws {
    let call = try Call(seed: 402, configureMaster: { $0.isPolite = true })
    let isConnected = try call.connect()
    #expect(isConnected)
    let before = [call.viewer, call.master].map(\.usernameFragment)
    let negotiator = Negotiator(call.run)
    call.sendMedia(pictures: 100)
    negotiator.run(atMost: .seconds(1))
    for peer in [call.viewer, call.master] { peer.core.restartICE(at: call.run.now) }
    negotiator.run(atMost: .seconds(5))
    #expect(negotiator.collisionCount == 1)
    #expect(negotiator.completedCount == 1)
    #expect(negotiator.errors.isEmpty)
    let after = [call.viewer, call.master].map(\.usernameFragment)
    #expect(Set(before + after).count == 4)
    expectAll(call, pictures: 100, "crossing restarts")
  }

  @Test(
    "Restarts at any moment from both sides, over signaling of any speed, end in one session; no frame is lost",
    arguments: UInt64(420)..<440)
  func restartsAtRandom(seed: UInt64) throws {
    var random = RandomSource(seed: seed)
    let viewerIsPolite = Bool.random(using: &random)
    let call = try Call(
      seed: seed, configureViewer: { $0.isPolite = viewerIsPolite },
      configureMaster: { $0.isPolite = !viewerIsPolite })
    let isConnected = try call.connect()
    #expect(isConnected)
    let negotiator = Negotiator(call.run)
    call.sendMedia(pictures: 250)
    for _ in 0..<20 {
      call.run.signalingDelay = .milliseconds(Int64.random(in: 1...300, using: &random))
      let peer = Bool.random(using: &random) ? call.viewer : call.master
      peer.core.restartICE(at: call.run.now)
      negotiator.run(atMost: .milliseconds(Int64.random(in: 0...800, using: &random)))
    }
    negotiator.run(atMost: .seconds(12))
    #expect(negotiator.errors.isEmpty, "seed \(seed): \(negotiator.errors)")
    expectAll(call, pictures: 250, "seed \(seed)")
    for peer in [call.viewer, call.master] {
      #expect(peer.core.signalingState == .stable, "seed \(seed)")
      #expect(peer.connectionStates == [.connecting, .connected], "seed \(seed)")
    }
  }

  @Test(
    "An exchange that does not restart keeps the credentials; new candidates in it are taken",
    arguments: Side.allCases)
  func keepsCredentials(side: Side) throws {
    let call = try Call(seed: 403)
    let isConnected = try call.connect()
    #expect(isConnected)
    let before = [call.viewer, call.master].map(\.usernameFragment)
    let negotiator = Negotiator(call.run)
    negotiator.alter = { description in
      description.replacingLines { line in
        line.hasPrefix("a=candidate:")
          ? line + "\r\na=candidate:77 1 udp 1 198.18.0.77 7700 typ host" : line
      }
    }
    negotiator.offer(from: peer(side, of: call))
    negotiator.run(atMost: .seconds(1))
    #expect(negotiator.completedCount == 1)
    #expect([call.viewer, call.master].map(\.usernameFragment) == before)
    for peer in [call.viewer, call.master] {
      let remotes = peer.core.statistics(at: call.run.now).ice.remoteCandidates
      #expect(remotes.contains { $0.port == 7700 })
    }
  }

  // MARK: Over a path that broke

  /// A peer with an interface that is not up yet, at host 11 for the viewer and 12 for the master.
  private func makeRoamingCall(
    seed: UInt64, restartsAutomatically: Bool
  ) throws -> (call: Call, spare: [LocalSocket]) {
    let run = try Simulation(
      seed: seed, offererAddresses: [.simulated(host: 1), .simulated(host: 11)],
      answererAddresses: [.simulated(host: 2), .simulated(host: 12)],
      configureOfferer: { $0.restartsICEAutomatically = restartsAutomatically },
      configureAnswerer: {
        $0.restartsICEAutomatically = restartsAutomatically
        $0.isPolite = true
      })
    let spare = [run.offerer.sockets[1], run.answerer.sockets[1]]
    run.offerer.core.removeLocalSocket(id: spare[0].id, at: run.now)
    run.answerer.core.removeLocalSocket(id: spare[1].id, at: run.now)
    return (Call(run), spare)
  }

  /// The longest time without a picture after `start`.
  private func longestGap(_ call: Call, from start: Instant) -> TimeDelta {
    var last = start
    var longest = TimeDelta.zero
    for frame in call.viewer.frames where frame.transceiver == call.viewerVideo && frame.arrival > start {
      longest = max(longest, frame.arrival - last)
      last = frame.arrival
    }
    return max(longest, call.run.now - last)
  }

  @Test(
    "An address changes in the middle of a call: media is back within three seconds", arguments: Side.allCases
  )
  func survivesAddressChange(side: Side) throws {
    let (call, spare) = try makeRoamingCall(seed: 404, restartsAutomatically: true)
    let isConnected = try call.connect()
    #expect(isConnected)
    let negotiator = Negotiator(call.run)
    call.sendMedia(pictures: 250)
    negotiator.run(atMost: .seconds(2))
    let change = call.run.now
    let roamer = peer(side, of: call)
    let new = spare[side == .viewer ? 0 : 1]
    let gone = roamer.sockets[0].address
    call.run.network.isOpen = { source, destination in source != gone && destination != gone }
    roamer.core.removeLocalSocket(id: roamer.sockets[0].id, at: change)
    roamer.core.addLocalSocket(new, at: change)
    // Ends with the last picture's sending, so that the end of media is no gap.
    negotiator.run(atMost: .seconds(7))
    #expect(
      longestGap(call, from: change) <= .seconds(3), "\(longestGap(call, from: change).inMilliseconds) ms")
    #expect(call.run.isConnected)
    #expect(roamer.core.selectedRoute?.socket == new)
    for peer in [call.viewer, call.master] {
      let transport = peer.core.statistics(at: call.run.now).transport
      #expect(transport.selectedCandidatePairChanges >= 2)
    }
    let other = negotiator.other(than: roamer)
    #expect(other.core.selectedRoute?.remote == new.address)
    #expect(negotiator.errors.isEmpty)
  }

  @Test(
    "The path dies without a word and a new one comes up: the next restart brings media back",
    arguments: Side.allCases)
  func restartsOverDeadPath(side: Side) throws {
    let (call, spare) = try makeRoamingCall(seed: 405, restartsAutomatically: false)
    let isConnected = try call.connect()
    #expect(isConnected)
    let negotiator = Negotiator(call.run)
    call.sendMedia(pictures: 1000)
    negotiator.run(atMost: .seconds(2))
    call.run.network.isOpen = { source, destination in
      !Set([source, destination]).isSubset(of: [.simulated(host: 1), .simulated(host: 2)])
    }
    let isNoticed = negotiator.run(atMost: .seconds(15)) { _ in
      peer(side, of: call).connectionState == .disconnected
    }
    #expect(isNoticed)
    for (peer, socket) in zip([call.viewer, call.master], spare) {
      peer.core.addLocalSocket(socket, at: call.run.now)
    }
    let back = call.run.now
    peer(side, of: call).core.restartICE(at: back)
    let isBack = negotiator.run(atMost: .seconds(3)) { run in
      run.isConnected && (call.viewer.frames.last?.arrival ?? .zero) > back
    }
    #expect(isBack)
    negotiator.run(atMost: .seconds(5))
    let pictures = call.viewer.frames.filter { $0.transceiver == call.viewerVideo && $0.arrival > back }
    #expect(pictures.count > 75)
    #expect(negotiator.errors.isEmpty)
  }

  @Test("Consent is lost, both have failed; a restart revives the same session with a key frame first")
  func revivesAfterConsentLoss() throws {
    let call = try Call(
      seed: 406, configureViewer: { $0.restartsICEAutomatically = false },
      configureMaster: { $0.restartsICEAutomatically = false })
    let isConnected = try call.connect()
    #expect(isConnected)
    let wire = Wiretap(call.run)
    let negotiator = Negotiator(call.run)
    let start = call.run.now
    call.sendMedia(pictures: 25 * 60)
    negotiator.run(atMost: .seconds(2))
    call.run.network.isOpen = { _, _ in false }
    let isFailed = negotiator.run(atMost: .seconds(90)) {
      $0.offerer.connectionState == .failed && $0.answerer.connectionState == .failed
    }
    #expect(isFailed)
    #expect(negotiator.completedCount == 0)
    call.run.network.isOpen = { _, _ in true }
    let (back, requests) = (call.run.now, call.master.keyFrameRequestCount)
    call.viewer.core.restartICE(at: back)
    let isBack = negotiator.run(atMost: .seconds(2)) { $0.isConnected }
    #expect(isBack)
    negotiator.run(atMost: .seconds(3))
    for peer in [call.viewer, call.master] {
      #expect(peer.connectionStates.suffix(3) == [.failed, .connecting, .connected])
      #expect(dtlsConnectedCount(peer) == 1)
    }
    #expect(call.master.keyFrameRequestCount > requests)
    let pictures = call.viewer.frames.filter { $0.transceiver == call.viewerVideo && $0.arrival > back }
    #expect(pictures.first?.frame.isKeyFrame == true)
    #expect(pictures.count > 25)
    // Sound that waited for a path is not played late.
    let sound = try #require(
      call.viewer.frames.first { $0.transceiver == call.viewerAudio && $0.arrival > back }
    ).frame.bytes
    let number = Int64(sound[1]) | Int64(sound[2]) << 8
    #expect(start + .milliseconds(20 * number) >= back)
    let (all, _) = wire.nonces(from: .simulated(host: 2))
    #expect(Set(all).count == all.count)
  }

  @Test(
    "An outage heals by itself once the network is back, with both sides offering", arguments: [12, 25, 35])
  func healsByItself(outage: Int) throws {
    let call = try Call(seed: 407, configureMaster: { $0.isPolite = true })
    let isConnected = try call.connect()
    #expect(isConnected)
    let negotiator = Negotiator(call.run)
    call.sendMedia(pictures: 25 * 60)
    negotiator.run(atMost: .seconds(2))
    call.run.network.isOpen = { _, _ in false }
    negotiator.run(atMost: .seconds(Int64(outage)))
    call.run.network.isOpen = { _, _ in true }
    let back = call.run.now
    let isBack = negotiator.run(atMost: .seconds(10)) { run in
      run.isConnected && (call.viewer.frames.last?.arrival ?? .zero) > back
    }
    #expect(isBack, "\(call.viewer.connectionStates), \(call.master.connectionStates)")
    #expect(negotiator.errors.isEmpty)
  }

  @Test("A call that never found a path finds it after a restart")
  func restartsWhatNeverStood() throws {
    let call = try Call(seed: 408)
    call.run.network.isOpen = { _, _ in false }
    try call.run.negotiate()
    let isFailed = call.run.run(atMost: .seconds(90)) {
      $0.offerer.connectionState == .failed && $0.answerer.connectionState == .failed
    }
    #expect(isFailed)
    call.run.network.isOpen = { _, _ in true }
    let negotiator = Negotiator(call.run)
    negotiator.offer(from: call.viewer, iceRestart: true)
    let isConnected = negotiator.run(atMost: .seconds(3)) { $0.isConnected }
    #expect(isConnected)
    call.sendMedia(pictures: 10)
    call.run.run(atMost: .seconds(1))
    #expect(call.viewer.frames(of: call.viewerVideo).count == 10)
  }

  // MARK: What is refused

  @Test("T12: a handshake that failed stays failed, whatever restarts")
  func doesNotReviveFailedHandshake() throws {
    let call = try Call(seed: 409)
    let other = "a=fingerprint:sha-256 " + Array(repeating: "AB", count: 32).joined(separator: ":")
    func forge(_ description: SessionDescriptionInit) -> SessionDescriptionInit {
      description.replacingLines { $0.hasPrefix("a=fingerprint:") ? other : $0 }
    }
    try call.run.negotiate(alteringAnswer: { forge(SessionDescriptionInit(type: .answer, sdp: $0)).sdp })
    let isFailed = call.run.run(atMost: .seconds(5)) { $0.offerer.connectionState == .failed }
    #expect(isFailed)
    let negotiator = Negotiator(call.run)
    negotiator.alter = { $0.type == .answer ? forge($0) : $0 }
    negotiator.offer(from: call.viewer, iceRestart: true)
    negotiator.run(atMost: .seconds(10))
    #expect(negotiator.completedCount == 1)
    #expect(call.viewer.connectionState == .failed)
    #expect(call.viewer.connectionStates.filter { $0 == .failed }.count == 1)
  }

  @Test("An answer that does not fit the offer's restart is refused, and the call goes on")
  func refusesMismatch() throws {
    let call = try Call(seed: 410)
    let isConnected = try call.connect()
    #expect(isConnected)
    call.sendMedia(pictures: 50)
    let now = call.run.now
    let plain = try call.viewer.core.createOffer(at: now)
    try call.master.core.setRemoteDescription(plain, at: now)
    let old = try call.master.core.createAnswer(at: now)
    try call.master.core.setLocalDescription(old, at: now)
    let restarting = try call.viewer.core.createOffer(iceRestart: true, at: now)
    let forged:
      [(SessionDescriptionInit, (SessionDescriptionInit) -> SessionDescriptionInit, PeerConnectionError)] = [
        (restarting, { $0 }, .iceRestartNotAnswered),
        (
          plain,
          { answer in
            answer.replacingLines { line in
              if line.hasPrefix("a=ice-ufrag:") { return "a=ice-ufrag:fresh" }
              return line.hasPrefix("a=ice-pwd:") ? "a=ice-pwd:" + String(repeating: "y", count: 24) : line
            }
          }, .iceRestartNotOffered
        ),
        (
          restarting, { $0.replacingLines { $0.hasPrefix("a=ice-ufrag:") ? "a=ice-ufrag:fresh" : $0 } },
          .incompleteICERestart
        ),
      ]
    for (offer, forge, refusal) in forged {
      let own = try call.viewer.core.createOffer(iceRestart: offer == restarting, at: now)
      try call.viewer.core.setLocalDescription(own, at: now)
      #expect(throws: refusal) { try call.viewer.core.setRemoteDescription(forge(old), at: now) }
      #expect(call.viewer.core.signalingState == .haveLocalOffer)
      try call.viewer.core.setLocalDescription(.rollback, at: now)
    }
    call.run.run(atMost: .seconds(3))
    #expect(call.run.isConnected)
    #expect(call.viewer.frames(of: call.viewerVideo).count == 50)
  }

  @Test("A restart that brings another certificate or tls-id is refused: the association stays")
  func refusesNewAssociation() throws {
    let call = try Call(seed: 411)
    func named(_ id: String, _ description: SessionDescriptionInit) -> SessionDescriptionInit {
      description.replacingLines { $0.hasPrefix("a=setup:") ? $0 + "\r\na=tls-id:\(id)" : $0 }
    }
    try call.run.negotiate(alteringOffer: {
      named("first", SessionDescriptionInit(type: .offer, sdp: $0)).sdp
    })
    let isConnected = call.run.run(atMost: .seconds(5)) { $0.isConnected }
    #expect(isConnected)
    let now = call.run.now
    let offer = try call.viewer.core.createOffer(iceRestart: true, at: now)
    try call.viewer.core.setLocalDescription(offer, at: now)
    let other = "a=fingerprint:sha-256 " + Array(repeating: "AB", count: 32).joined(separator: ":")
    for forged in [
      named("second", offer), offer.replacingLines { $0.hasPrefix("a=fingerprint:") ? other : $0 },
    ] {
      #expect(throws: PeerConnectionError.dtlsAssociationChanged) {
        try call.master.core.setRemoteDescription(forged, at: now)
      }
      #expect(call.master.core.signalingState == .stable)
    }
    // The same association by its name, with other words on who began it.
    let same = named("first", offer).replacingLines { $0.hasPrefix("a=setup:") ? "a=setup:active" : $0 }
    try call.master.core.setRemoteDescription(same, at: now)
    let answer = try call.master.core.createAnswer(at: now)
    try call.master.core.setLocalDescription(answer, at: now)
    let swapped = answer.replacingLines { $0.hasPrefix("a=setup:") ? "a=setup:active" : $0 }
    try call.viewer.core.setRemoteDescription(swapped, at: now)
    call.sendMedia(pictures: 25)
    call.run.run(atMost: .seconds(3))
    #expect(call.run.isConnected)
    #expect(call.viewer.frames(of: call.viewerVideo).count == 25)
  }
}
