// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// An attacker who can send to both peers from an address of its own, and may have seen what they sent.
@Suite("Attacks from a third address")
struct OffPathAttackTests {
  private let viewerAddress = TransportAddress.simulated(host: 1)
  private let masterAddress = TransportAddress.simulated(host: 2)

  /// Fires one datagram of every kind at both peers each `interval`, for `duration` from now.
  private func bombard(_ call: Call, for duration: TimeDelta, each interval: TimeDelta, seed: UInt64) {
    var random = RandomSource(seed: seed)
    for number in 0..<(duration.nanoseconds / interval.nanoseconds) {
      let datagrams = [call.viewer, call.master].flatMap { peer in
        let username = "\(peer.core.localUsernameFragment):whoever"
        let target = peer === call.viewer ? viewerAddress : masterAddress
        return Forgery.allCases.map { ($0.datagram(username: username, random: &random), target) }
      }
      call.run.schedule(after: interval * number) { run in
        for (bytes, target) in datagrams { run.inject(bytes, from: .attacker, to: target) }
      }
    }
  }

  @Test(
    "T7: forged STUN, DTLS, RTP and RTCP at every stage never move a connection", arguments: UInt64(50)...54)
  func neverMoves(seed: UInt64) throws {
    let call = try Call(seed: seed)
    let wire = Wiretap(call.run)
    bombard(call, for: .seconds(3), each: .milliseconds(2), seed: seed)
    let isConnected = try call.connect()
    #expect(isConnected, "seed \(seed)")
    call.sendMedia(pictures: 50)
    call.run.run(atMost: .seconds(3))
    #expect(call.viewer.core.selectedRoute?.remote == masterAddress)
    #expect(call.master.core.selectedRoute?.remote == viewerAddress)
    #expect(call.viewer.frames(of: call.viewerVideo).count == 50)
    let toAttacker = wire.datagrams.filter { $0.destination == .attacker }
    // A wrong password is answered 401 (RFC 8489 §9.1.3), at most ten times a second for each agent.
    let allAreErrors = toAttacker.allSatisfy { $0.bytes.starts(with: [0x01, 0x11]) }
    #expect(allAreErrors)
    #expect(toAttacker.count <= 2 * 10 * 4, "\(toAttacker.count) error responses")
  }

  @Test(
    "T7: what peers really sent, replayed from elsewhere, gets nothing but a few checks", arguments: [55, 56])
  func replayedFromElsewhere(seed: UInt64) throws {
    let call = try Call(seed: seed)
    let viewerAddress = viewerAddress
    var toAttacker: [[UInt8]] = []
    // Each datagram arrives twice: first from the attacker, then from where it comes from.
    call.run.network.tap = { [run = call.run] bytes, _, destination in
      if destination == .attacker {
        toAttacker.append(bytes)
      } else {
        run.schedule(after: .zero) { $0.inject(bytes, from: .attacker, to: destination) }
      }
      return [bytes]
    }
    let isConnected = try call.connect()
    #expect(isConnected, "seed \(seed)")
    call.sendMedia(pictures: 50)
    call.run.run(atMost: .seconds(20))
    call.run.network.tap = nil
    #expect(call.viewer.core.selectedRoute?.remote == masterAddress)
    #expect(call.master.core.selectedRoute?.remote == viewerAddress)
    #expect(call.viewer.frames(of: call.viewerVideo).count == 50)
    let allAreSTUN = toAttacker.allSatisfy { $0[0] < 4 }
    #expect(allAreSTUN)
    // Seven requests for each of two pairs (RFC 8445 §14), and one answer for each check that was replayed.
    #expect(toAttacker.count <= 60, "\(toAttacker.count) STUN messages")
  }

  @Test(
    "T10: ten thousand ClientHellos before, during and after ICE do not disturb the handshake",
    arguments: [57])
  func survivesClientHelloRace(seed: UInt64) throws {
    let call = try Call(seed: seed)
    var random = RandomSource(seed: seed)
    for number in 0..<1000 {
      let hellos = (0..<5).map { _ in Forgery.clientHello(random: &random) }
      call.run.schedule(after: TimeDelta(nanoseconds: Int64(number) * 250_000)) { run in
        for hello in hellos {
          run.inject(hello, from: .attacker, to: .simulated(host: 1))
          run.inject(hello, from: .attacker, to: .simulated(host: 2))
        }
      }
    }
    let isConnected = try call.connect()
    #expect(isConnected)
    #expect((call.run.now - .zero) < .milliseconds(150), "as fast as without: \(call.run.now)")
    call.run.run(atMost: .seconds(1))
    for peer in [call.viewer, call.master] {
      let counters = peer.core.dropCounters
      #expect(counters[.dtlsBeforeDescription] + counters[.dtlsFromUnauthenticatedAddress] == 5000)
      #expect(counters[.heldDTLSOverflow] == 0)
    }
  }

  @Test("T10: DTLS from an authenticated address is held until its pair is valid, then used")
  func holdsEarlyDTLS() throws {
    let call = try Call(seed: 58)
    let (viewer, master) = (viewerAddress, masterAddress)
    var (hellos, masterHasSpoken, isHeldBack) = (0, false, true)
    call.run.network.tap = { bytes, source, _ in
      let isDTLS = (20...63).contains(bytes[0])
      if source == master, isDTLS { masterHasSpoken = true }
      // The master's own checks are lost for a while: it has authenticated the viewer, but no valid pair.
      if source == master, bytes.starts(with: [0, 1]), isHeldBack { return [] }
      // One ClientHello arrives; if the master did not keep it, there is no other.
      if source == viewer, isDTLS, !masterHasSpoken {
        hellos += 1
        return hellos == 1 ? [bytes] : []
      }
      return [bytes]
    }
    call.run.schedule(after: .milliseconds(300)) { _ in isHeldBack = false }
    let isConnected = try call.connect()
    #expect(isConnected)
    #expect(hellos > 1)
    #expect(call.run.now > .zero + .milliseconds(300))
    call.run.network.tap = nil
  }
}
