// SPDX-License-Identifier: Apache-2.0

import DTLS
import ICE
import RTP
import SDP
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// Connections under random networks and random applications, and what they cost at rest.
@Suite("Robustness of connections")
struct RobustnessTests {
  // MARK: Networks

  private func conditions(_ random: inout RandomSource) -> LinkConditions {
    func share(_ limit: Double) -> Double { Double.random(in: 0...limit, using: &random) }
    return LinkConditions(
      delay: .milliseconds(Int64.random(in: 0...150, using: &random)),
      jitter: .milliseconds(Int64.random(in: 0...50, using: &random)), lossProbability: share(0.3),
      duplicationProbability: share(0.2), reorderingProbability: share(0.3),
      reorderingDelay: .milliseconds(Int64.random(in: 1...100, using: &random)),
      rateBitsPerSecond: Bool.random(using: &random)
        ? nil : Int64.random(in: 300_000...10_000_000, using: &random))
  }

  @Test(
    "Over any network a connection stands within 30 s or says that it failed; then media flows",
    arguments: 0..<12)
  func connectsOrFails(group: UInt64) throws {
    var failures = 0
    for seed in (group * 25)..<(group * 25 + 25) {
      var random = RandomSource(seed: seed)
      let call = try Call(seed: seed, conditions: conditions(&random))
      let isConnected = try call.connect(within: .seconds(30))
      guard isConnected else {
        failures += 1
        let hasReason = call.run.run(atMost: .seconds(60)) {
          $0.offerer.connectionState == .failed || $0.answerer.connectionState == .failed
        }
        #expect(hasReason, "seed \(seed): \(call.viewer.connectionState), \(call.master.connectionState)")
        continue
      }
      call.sendMedia(pictures: 15, byteCount: 1500)
      call.run.run(atMost: .seconds(3))
      #expect(!call.viewer.frames(of: call.viewerAudio).isEmpty, "seed \(seed)")
      let numbers = call.viewer.frames(of: call.viewerAudio).map(\.bytes)
      #expect(Set(numbers).count == numbers.count, "seed \(seed): a sound came twice")
    }
    #expect(failures <= 2, "\(failures) of 25 in group \(group)")
  }

  // MARK: Applications

  private final class Chaos {
    var random: RandomSource
    var descriptions: [SessionDescriptionInit] = []
    init(seed: UInt64) { random = RandomSource(seed: seed) }
    func pick(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
  }

  /// One call of an application that knows nothing of order. Errors are the answer that it deserves.
  private func act(_ call: Call, _ chaos: Chaos) {
    let peer = chaos.pick(2) == 0 ? call.viewer : call.master
    let now = call.run.now
    let id = TransceiverID(rawValue: chaos.pick(5) - 1)
    switch chaos.pick(21) {
    case 0, 1: if let offer = try? peer.core.createOffer(at: now) { chaos.descriptions.append(offer) }
    case 2, 3: if let answer = try? peer.core.createAnswer(at: now) { chaos.descriptions.append(answer) }
    case 4:
      if let answer = try? peer.core.createAnswer(rejectAll: true, at: now) {
        chaos.descriptions.append(answer)
      }
    case 5, 6: if let last = chaos.descriptions.last { try? peer.core.setLocalDescription(last, at: now) }
    case 7, 8: if let last = chaos.descriptions.last { try? peer.core.setRemoteDescription(last, at: now) }
    case 9:
      guard !chaos.descriptions.isEmpty else { return }
      let old = chaos.descriptions[chaos.pick(chaos.descriptions.count)]
      let type: SDPType = chaos.pick(2) == 0 ? .offer : .answer
      try? peer.core.setRemoteDescription(SessionDescriptionInit(type: type, sdp: old.sdp), at: now)
    case 10:
      let lines = [
        "", "candidate:1 1 udp 1 198.18.0.7 7000 typ host", "candidate:x",
        "candidate:1 1 tcp 1 ::1 9 typ host",
      ]
      try? peer.core.addICECandidate(ICECandidateInit(candidate: lines[chaos.pick(4)]), at: now)
    case 11: if peer.core.transceiverCount < 6 { _ = peer.core.addTransceiver(.video, Call.video(.sendrecv)) }
    case 12:
      let bytes = Call.opusPacket(chaos.pick(1000))
      peer.core.send(
        OpusPacketizer().packetize(packet: bytes, timestamp: 0, captureTime: now), on: id, at: now)
    case 13:
      peer.core.requestKeyFrame(id, at: now)
      peer.core.setEndOfLocalCandidates(at: now)
      _ = peer.core.statistics(at: now)
    case 14:
      peer.core.handleTimeout(at: now)
      let port = UInt16(6000 + chaos.pick(3))
      peer.core.addLocalSocket(
        LocalSocket(id: UInt32(port), address: .simulated(host: 3, port: port)), at: now)
    case 15: peer.core.restartICE(at: now)
    case 16:
      if let offer = try? peer.core.createOffer(iceRestart: true, at: now) {
        chaos.descriptions.append(offer)
      }
    case 17: try? peer.core.setLocalDescription(.rollback, at: now)
    case 18: try? peer.core.setRemoteDescription(.rollback, at: now)
    case 19: actOnSockets(peer, chaos, at: now)
    default: if chaos.pick(8) == 0 { peer.core.close(at: now) }
    }
  }

  private func actOnSockets(_ peer: SimulatedPeer, _ chaos: Chaos, at now: Instant) {
    let port = UInt16(7000 + chaos.pick(3))
    let address = TransportAddress.simulated(host: 4, port: port)
    let relay = LocalSocket(id: 0x8000_0000 + UInt32(port), address: address)
    switch chaos.pick(6) {
    case 0: peer.core.addRelay(relay, mapped: address, over: .udp, at: now)
    case 1: peer.core.removeLocalSocket(id: relay.id, at: now)
    case 2: peer.core.removeLocalSocket(id: 0, at: now)
    case 3:
      guard let base = peer.sockets.first else { return }
      peer.core.addServerReflexiveAddress(address, base: base, at: now)
    case 4: peer.core.resolved(name: "x.local", to: [address.ip], at: now)
    default:
      let connection = LocalSocket(id: 0x4000_0000 + UInt32(port), address: address)
      peer.core.addTCPConnection(connection, to: .simulated(host: 2, port: port), at: now)
      peer.core.tcpConnectionFailed(to: .simulated(host: 2, port: port), at: now)
    }
  }

  @Test(
    "T40: calls in any order and closing at any step trap nothing and leave nothing running",
    arguments: 0..<10)
  func survivesChaos(group: UInt64) throws {
    for seed in (group * 30)..<(group * 30 + 30) {
      let call = try Call(seed: seed)
      let chaos = Chaos(seed: seed)
      // Half of the runs begin with a call in progress.
      if chaos.pick(2) == 0 { try call.run.negotiate() }
      for _ in 0..<(10 + chaos.pick(40)) {
        act(call, chaos)
        call.run.run(atMost: .milliseconds(Int64(chaos.pick(30))))
      }
      expectRest(call, seed: seed)
    }
  }

  /// Runs on for a minute without spinning, then closes both and expects silence.
  private func expectRest(_ call: Call, seed: UInt64) {
    let turns = call.run.turnCount
    call.run.run(atMost: .seconds(60))
    #expect(
      call.run.turnCount - turns < 1500, "seed \(seed): \(call.run.turnCount - turns) turns in a minute")
    for peer in [call.viewer, call.master] {
      peer.core.close(at: call.run.now)
      #expect(peer.connectionState == .closed, "seed \(seed)")
    }
    call.run.run(atMost: .seconds(1))
    let sent = call.run.network.sentCount
    call.run.run(atMost: .seconds(60))
    #expect(call.run.network.sentCount == sent, "seed \(seed)")
    for peer in [call.viewer, call.master] {
      let deadline = peer.core.nextDeadline
      #expect(deadline == nil, "seed \(seed)")
    }
  }

  @Test(
    "T40: closing either side at every few milliseconds of a call's beginning closes the other or lets it fail"
  )
  func closesAtEveryMoment() throws {
    for step in 0..<60 {
      let call = try Call(seed: UInt64(step))
      try call.run.negotiate()
      call.sendMedia(pictures: 10)
      let leaver = step % 2 == 0 ? call.viewer : call.master
      call.run.schedule(after: .milliseconds(Int64(step * 3))) { run in leaver.core.close(at: run.now) }
      let other = leaver === call.viewer ? call.master : call.viewer
      call.run.run(atMost: .seconds(80))
      // Nothing had begun where the answer was never given.
      let endings: [PeerConnectionState] = 3 * step <= 20 ? [.closed, .failed, .new] : [.closed, .failed]
      #expect(
        endings.contains(other.connectionState), "closed after \(step * 3) ms: \(other.connectionState)")
      expectRest(call, seed: UInt64(step))
    }
  }

  // MARK: Rest

  @Test("An idle connection takes less than three turns a second")
  func restsWhenIdle() throws {
    let call = try Call(seed: 110)
    let isConnected = try call.connect()
    #expect(isConnected)
    call.run.run(atMost: .seconds(5))
    let turns = call.run.turnCount
    call.run.run(atMost: .seconds(600))
    let perSecond = Double(call.run.turnCount - turns) / 600 / 2
    #expect(perSecond < 3, "\(perSecond) turns a second and peer")
    #expect(call.run.isConnected)
    #expect(call.master.keyFrameRequestCount == 0)
  }

  @Test("Frames that cannot leave, for want of a path, wake nobody")
  func restsWithoutPath() throws {
    let call = try Call(seed: 111)
    let isConnected = try call.connect()
    #expect(isConnected)
    call.sendMedia(pictures: 25 * 60, byteCount: 3000)
    call.run.run(atMost: .seconds(2))
    call.run.network.isOpen = { _, _ in false }
    call.run.run(atMost: .seconds(43))
    #expect(call.master.connectionState == .failed)
    let turns = call.run.turnCount
    call.run.run(atMost: .seconds(20))
    #expect(call.run.turnCount - turns < 200, "\(call.run.turnCount - turns) turns in 20 s")
  }

  @Test("A key frame that is asked for before the source is known wakes nobody, and is asked for later")
  func restsBeforeSourceIsKnown() throws {
    let call = try Call(seed: 112)
    try call.run.negotiate(alteringAnswer: { answer in
      let lines = answer.split(separator: "\r\n").filter { !$0.hasPrefix("a=ssrc") }
      return lines.joined(separator: "\r\n") + "\r\n"
    })
    let isConnected = call.run.run(atMost: .seconds(5)) { $0.isConnected }
    #expect(isConnected)
    call.viewer.core.requestKeyFrame(call.viewerVideo, at: call.run.now)
    let turns = call.run.turnCount
    call.run.run(atMost: .seconds(10))
    #expect(call.run.turnCount - turns < 100, "\(call.run.turnCount - turns) turns in 10 s")
    #expect(call.master.keyFrameRequestCount == 0)
    call.sendMedia(pictures: 5)
    call.run.run(atMost: .seconds(1))
    #expect(call.master.keyFrameRequestCount == 1)
    #expect(call.viewer.frames(of: call.viewerVideo).count == 5)
  }

  @Test("A stream that stopped is not asked for key frames for ever")
  func stopsAsking() throws {
    let call = try Call(seed: 113)
    let isConnected = try call.connect()
    #expect(isConnected)
    call.sendMedia(pictures: 45, byteCount: 20_000)
    call.run.run(atMost: .seconds(1))
    call.run.network.conditions.lossProbability = 1
    call.run.run(atMost: .milliseconds(700))
    call.run.network.conditions.lossProbability = 0
    call.run.run(atMost: .seconds(30))
    #expect(call.master.keyFrameRequestCount <= 8)
  }
}
