// SPDX-License-Identifier: Apache-2.0

import DTLS
import ICE
import SDP
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// Whole connections between two cores in virtual time: ICE, real DTLS, SRTP, no sockets.
@Suite("Connections in the simulator")
struct ConnectionTests {
  @Test("Two cores connect in the round trips that the protocols need and no more")
  func connectsQuickly() throws {
    let call = try Call(seed: 1, conditions: LinkConditions(delay: .milliseconds(10)))
    let isConnected = try call.connect()
    #expect(isConnected)
    // Signaling 40 ms; one round trip for the check, two for DTLS 1.2, half a one of slack for the last flight.
    let elapsed = (call.run.now - .zero).inMilliseconds
    #expect(elapsed <= 40 + 3.5 * 20 + 10, "connected after \(elapsed) ms")
  }

  @Test("They connect over links that lose, double, delay and reorder", arguments: UInt64(1)...20)
  func connectsOverBadLinks(seed: UInt64) throws {
    let conditions = LinkConditions(
      delay: .milliseconds(30), jitter: .milliseconds(20), lossProbability: 0.2, duplicationProbability: 0.05,
      reorderingProbability: 0.1)
    let call = try Call(seed: seed, conditions: conditions)
    let isConnected = try call.connect(within: .seconds(30))
    #expect(isConnected, "seed \(seed)")
  }

  @Test("The same seed gives the same run, datagram by datagram", arguments: [3, 4] as [UInt64])
  func repeats(seed: UInt64) throws {
    func trace() throws -> [Int64] {
      let call = try Call(
        seed: seed, conditions: LinkConditions(jitter: .milliseconds(5), lossProbability: 0.1))
      _ = try call.connect(within: .seconds(20))
      call.sendMedia(pictures: 50)
      call.run.run(atMost: .seconds(3))
      return [
        call.viewer.connectedAt?.nanoseconds ?? -1, Int64(call.run.network.sentCount),
        Int64(call.run.network.lostCount), Int64(call.viewer.frames.count),
      ]
    }
    let (first, second) = (try trace(), try trace())
    #expect(first == second)
  }

  @Test("IPv6 and IPv4 side by side connect")
  func connectsDualStack() throws {
    let run = try Simulation(
      seed: 5, offererAddresses: [.simulated(host: 1), .simulatedIPv6(host: 1)],
      answererAddresses: [.simulatedIPv6(host: 2), .simulated(host: 2)])
    _ = run.offerer.core.addTransceiver(.audio, Call.audio(.sendrecv))
    _ = run.answerer.core.addTransceiver(.audio, Call.audio(.sendrecv))
    try run.negotiate()
    let isConnected = run.run(atMost: .seconds(10)) { $0.isConnected }
    #expect(isConnected)
  }

  @Test("T12: another certificate than the description's ends the handshake; not a byte of media passes")
  func refusesWrongFingerprint() throws {
    let call = try Call(seed: 6)
    try call.run.negotiate(alteringAnswer: { sdp in
      // What a man in the middle would have to do: put his own fingerprint in.
      let lines = sdp.split(separator: "\r\n", omittingEmptySubsequences: false).map(String.init)
      return lines.map { line in
        guard line.hasPrefix("a=fingerprint:") else { return line }
        return "a=fingerprint:sha-256 " + Array(repeating: "AB", count: 32).joined(separator: ":")
      }.joined(separator: "\r\n")
    })
    let isOver = call.run.run(atMost: .seconds(5)) { $0.offerer.connectionState == .failed }
    #expect(isOver)
    call.sendMedia(pictures: 10)
    call.run.run(atMost: .seconds(2))
    #expect(call.viewer.frames.isEmpty)
    #expect(call.master.connectionState != .connected)
  }

  @Test("Closing says goodbye: the other side is closed within a round trip", arguments: [true, false])
  func closes(byMaster: Bool) throws {
    let call = try Call(seed: 7)
    let isConnected = try call.connect()
    #expect(isConnected)
    let (leaver, other) = byMaster ? (call.master, call.viewer) : (call.viewer, call.master)
    leaver.core.close(at: call.run.now)
    let isClosed = call.run.run(atMost: .milliseconds(50)) { _ in other.connectionState == .closed }
    #expect(isClosed)
  }

  @Test("T6: a peer that vanished is noticed, and nothing is sent to it after consent ran out")
  func losesConsent() throws {
    let call = try Call(seed: 8)
    let isConnected = try call.connect()
    #expect(isConnected)
    call.sendMedia(pictures: 25 * 60, byteCount: 200)
    call.run.run(atMost: .seconds(2))
    let (viewerAddress, vanishedAt) = (TransportAddress.simulated(host: 1), call.run.now)
    call.run.network.isOpen = { source, _ in source != viewerAddress }
    let isDisconnected = call.run.run(atMost: .seconds(15)) { _ in
      call.master.connectionState == .disconnected
    }
    #expect(isDisconnected)
    let isFailed = call.run.run(atMost: .seconds(40)) { _ in call.master.connectionState == .failed }
    #expect(isFailed)
    #expect((call.run.now - vanishedAt) <= .seconds(37))
    let sent = call.run.network.sentCount
    call.run.network.isOpen = { source, _ in source == viewerAddress }
    call.viewer.core.close(at: call.run.now)
    call.run.run(atMost: .seconds(10))
    #expect(call.run.network.sentCount - sent < 5)
  }

  @Test("An offer of which everything is rejected is answered validly and starts nothing")
  func rejectsAll() throws {
    let call = try Call(seed: 9)
    let now = call.run.now
    let offer = try call.viewer.core.createOffer(at: now)
    try call.viewer.core.setLocalDescription(offer, at: now)
    try call.master.core.setRemoteDescription(offer, at: now)
    let answer = try call.master.core.createAnswer(rejectAll: true, at: now)
    let parsed = try SessionDescription(parsing: answer.sdp)
    #expect(parsed.media.count == 2)
    #expect(parsed.media.allSatisfy { $0.isRejected })
  }

  @Test("Calls in the wrong order are refused with an error, not with a trap")
  func refusesWrongOrder() throws {
    let call = try Call(seed: 10)
    let now = call.run.now
    #expect(throws: PeerConnectionError.self) { try call.viewer.core.createAnswer(at: now) }
    #expect(throws: PeerConnectionError.self) {
      try call.viewer.core.setRemoteDescription(
        SessionDescriptionInit(type: .answer, sdp: "v=0\r\n"), at: now)
    }
    #expect(throws: PeerConnectionError.self) {
      try call.viewer.core.addICECandidate(ICECandidateInit(candidate: "candidate:nonsense"), at: now)
    }
    call.viewer.core.close(at: now)
    #expect(throws: PeerConnectionError.self) { try call.viewer.core.createOffer(at: now) }
  }
}
