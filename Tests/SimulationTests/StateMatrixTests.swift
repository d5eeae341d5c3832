// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// T11: every kind of datagram in every state of a connection has one asserted outcome. Nothing ever traps.
@Suite("What arrives too early, too late or not at all fitting")
struct StateMatrixTests {
  enum Stage: CaseIterable {
    case new, haveLocalOffer, haveRemoteOffer, checking, handshaking, connected, failed, closed
  }

  /// A connection in a stage, and the peer that is looked at; datagrams come from the other one's address.
  private func prepare(_ stage: Stage) throws -> (call: Call, peer: SimulatedPeer, source: TransportAddress) {
    let call = try Call(seed: 60)
    let (viewer, master) = (TransportAddress.simulated(host: 1), TransportAddress.simulated(host: 2))
    switch stage {
    case .new: call.run.run(atMost: .zero)
    case .haveLocalOffer:
      try call.run.negotiate()
    case .haveRemoteOffer:
      let offer = try call.viewer.core.createOffer(at: call.run.now)
      try call.master.core.setRemoteDescription(offer, at: call.run.now)
      call.run.run(atMost: .zero)
      return (call, call.master, viewer)
    case .checking, .failed:
      call.run.network.isOpen = { _, _ in false }
      try call.run.negotiate()
      call.run.run(atMost: stage == .failed ? .seconds(60) : .milliseconds(500))
    case .handshaking:
      call.run.network.tap = { bytes, _, _ in bytes[0] < 4 ? [bytes] : [] }
      try call.run.negotiate()
      call.run.run(atMost: .seconds(1))
    case .connected, .closed:
      let isConnected = try call.connect()
      #expect(isConnected)
      call.run.run(atMost: .milliseconds(500))
      if stage == .closed { call.viewer.core.close(at: call.run.now) }
      call.run.run(atMost: .milliseconds(500))
    }
    return (call, call.viewer, master)
  }

  /// The counter that has to grow by one; `nil` where nothing is to be counted.
  private func expectedDrop(_ kind: Forgery, in stage: Stage) -> String? {
    switch (stage, kind) {
    case (.closed, _): nil
    // SCTP has no place outside of DTLS: its packets are not even looked at.
    case (_, .garbage), (_, .sctp): "unknownKind"
    case (.failed, .stun): "ice.inactive"
    case (_, .stun): "ice.wrongUsername"
    case (.new, .dtls), (.haveLocalOffer, .dtls), (.haveRemoteOffer, .dtls): "dtlsBeforeDescription"
    case (.checking, .dtls), (.failed, .dtls): "dtlsFromUnauthenticatedAddress"
    // OpenSSL takes it: connected, it says nothing (RFC 6347 §4.1.2.7).
    case (.handshaking, .dtls), (.connected, .dtls): nil
    case (.connected, _): "srtp"
    case (.handshaking, _): "mediaBeforeHandshake"
    case (_, .rtp), (_, .rtcp): "mediaFromInvalidPath"
    }
  }

  @Test(
    "T11: each kind in each state is counted under its cause, and changes nothing", arguments: Stage.allCases)
  func matrix(stage: Stage) throws {
    var random = RandomSource(seed: 61)
    for kind in Forgery.allCases {
      let (call, peer, source) = try prepare(stage)
      let (before, state) = (peer.core.statistics(at: call.run.now), peer.connectionState)
      let eventCount = peer.events.count
      let target = try #require(peer.sockets.first).address
      call.run.inject(kind.datagram(random: &random), from: source, to: target)
      let after = peer.core.statistics(at: call.run.now)
      // A handshake has no keys yet: whoever can forge the peer's very address can spoil it, as any DTLS.
      if (stage, kind) != (.handshaking, .dtls) {
        #expect(peer.connectionState == state, "\(kind) in \(stage)")
        #expect(peer.events.count == eventCount, "\(kind) in \(stage)")
      }
      let grown = after.transport.drops.filter { before.transport.drops[$0.key] != $0.value }
      let expected = expectedDrop(kind, in: stage)
      #expect(Set(grown.keys) == Set(expected.map { [$0] } ?? []), "\(kind) in \(stage): \(grown)")
      #expect(after.dropCount - before.dropCount == (expected == nil ? 0 : 1), "\(kind) in \(stage)")
    }
  }

  @Test(
    "T11: a thousand datagrams of every length and first byte trap in no state", arguments: Stage.allCases)
  func survivesNoise(stage: Stage) throws {
    let (call, peer, source) = try prepare(stage)
    var random = RandomSource(seed: 62)
    let target = try #require(peer.sockets.first).address
    for number in 0..<1000 {
      var bytes = random.bytes(Int(random.next() % 300))
      if !bytes.isEmpty { bytes[0] = UInt8(truncatingIfNeeded: number) }
      call.run.inject(bytes, from: number % 2 == 0 ? source : .attacker, to: target)
    }
    call.run.inject([], from: source, to: target)
    call.run.run(atMost: .seconds(1))
    if stage == .connected { #expect(call.run.isConnected) }
  }

  @Test("After closing nothing wakes, leaves, is counted or said", arguments: [true, false])
  func staysClosed(byPeer: Bool) throws {
    let call = try Call(seed: 63)
    let isConnected = try call.connect()
    #expect(isConnected)
    call.sendMedia(pictures: 10)
    call.run.run(atMost: .milliseconds(100))
    let leaver = byPeer ? call.viewer : call.master
    leaver.core.close(at: call.run.now)
    call.run.run(atMost: .seconds(1))
    let (sent, events) = (call.run.network.sentCount, call.master.events.count)
    var random = RandomSource(seed: 64)
    for kind in Forgery.allCases {
      call.run.inject(
        kind.datagram(random: &random), from: .simulated(host: 1), to: .simulated(host: 2))
    }
    call.master.core.handleTimeout(at: call.run.now)
    call.master.core.requestKeyFrame(call.masterVideo, at: call.run.now)
    call.master.core.addLocalSocket(
      LocalSocket(id: 9, address: .simulated(host: 2, port: 5009)), at: call.run.now)
    call.sendMedia(pictures: 5)
    call.run.run(atMost: .seconds(60))
    let deadline = call.master.core.nextDeadline
    #expect(deadline == nil)
    #expect(call.run.network.sentCount == sent)
    #expect(call.master.events.count == events)
    let closings = call.master.events.filter {
      if case .iceConnectionStateChanged(.closed) = $0 { true } else { false }
    }
    #expect(closings.count == 1)
  }

  @Test("Not a byte of media follows the peer's goodbye")
  func sendsNoMediaAfterGoodbye() throws {
    let call = try Call(seed: 65)
    let isConnected = try call.connect()
    #expect(isConnected)
    call.sendMedia(pictures: 60, byteCount: 30_000)
    call.run.run(atMost: .seconds(1))
    call.viewer.core.close(at: call.run.now)
    var mediaAfterwards = 0
    call.run.network.tap = { [master = call.master] bytes, source, _ in
      if source == .simulated(host: 2), bytes[0] >= 128, master.core.isClosed { mediaAfterwards += 1 }
      return [bytes]
    }
    call.run.run(atMost: .seconds(1))
    #expect(call.master.connectionState == .closed)
    #expect(mediaAfterwards == 0)
  }
}
