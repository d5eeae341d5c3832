// SPDX-License-Identifier: Apache-2.0

import RTP
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// Protected packets are sent again or altered on their way, from the very address that they came from.
@Suite("Replayed and altered media")
struct ReplayAttackTests {
  private let viewerAddress = TransportAddress.simulated(host: 1)
  private let masterAddress = TransportAddress.simulated(host: 2)

  @Test("T17: every packet of a call, sent once more, is refused and counted; nothing is delivered twice")
  func refusesReplay() throws {
    let call = try Call(seed: 80)
    let isConnected = try call.connect()
    #expect(isConnected)
    let wire = Wiretap(call.run)
    call.sendMedia(pictures: 100)
    call.run.run(atMost: .seconds(6))
    call.run.network.tap = nil
    let frameCount = call.viewer.frames.count
    #expect(frameCount == 300)
    let recorded = wire.datagrams.filter(\.isMedia)
    #expect(recorded.count > 500)
    let before = [call.viewer, call.master].map { $0.drops("srtp", at: call.run.now) }
    for datagram in recorded {
      call.run.inject(datagram.bytes, from: datagram.source, to: datagram.destination)
    }
    let after = [call.viewer, call.master].map { $0.drops("srtp", at: call.run.now) }
    #expect(after[0] - before[0] == UInt64(recorded.filter { $0.destination == viewerAddress }.count))
    #expect(after[1] - before[1] == UInt64(recorded.filter { $0.destination == masterAddress }.count))
    #expect(call.viewer.frames.count == frameCount)
    call.sendMedia(pictures: 25)
    call.run.run(atMost: .seconds(2))
    #expect(call.viewer.frames.count == frameCount + 75, "the call goes on")
  }

  @Test("T16: no packet with any bit changed is delivered, in either direction", arguments: [81, 82])
  func refusesFlippedBits(seed: UInt64) throws {
    let call = try Call(seed: seed)
    let isConnected = try call.connect()
    #expect(isConnected)
    var (recorded, random) = ([(bytes: [UInt8], isToViewer: Bool)](), RandomSource(seed: seed))
    let master = masterAddress
    // Only altered packets arrive, so that no replay protection can refuse them first.
    call.run.network.tap = { bytes, source, _ in
      guard bytes[0] >= 128 else { return [bytes] }
      recorded.append((bytes, source == master))
      return []
    }
    call.sendMedia(pictures: 50)
    call.run.run(atMost: .seconds(3))
    #expect(call.viewer.frames.isEmpty)
    let dropsBefore = [call.viewer, call.master].map { $0.dropCount(at: call.run.now) }.reduce(0, +)
    var flips: UInt64 = 0
    for (number, packet) in recorded.enumerated() {
      // All bits of the first packet of each kind, five of every other.
      let bitCount = packet.bytes.count * 8
      let bits = number < 2 ? Array(0..<bitCount) : (0..<5).map { _ in Int(random.next() % UInt64(bitCount)) }
      for bit in bits {
        var bytes = packet.bytes
        bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        let (source, target) =
          packet.isToViewer ? (masterAddress, viewerAddress) : (viewerAddress, masterAddress)
        call.run.inject(bytes, from: source, to: target)
        flips += 1
      }
    }
    #expect(flips > 3000)
    #expect(call.viewer.frames.isEmpty)
    let dropsAfter = [call.viewer, call.master].map { $0.dropCount(at: call.run.now) }.reduce(0, +)
    #expect(dropsAfter - dropsBefore == flips, "\(dropsAfter - dropsBefore) drops, \(flips) altered packets")
  }

  @Test("T42: no source and index is encrypted twice in a long, lossy call beyond the wrap of its numbers")
  func neverReusesNonce() throws {
    let call = try Call(
      seed: 235, conditions: LinkConditions(delay: .milliseconds(20), lossProbability: 0.02))
    let isConnected = try call.connect(within: .seconds(20))
    #expect(isConnected)
    let wire = Wiretap(call.run)
    call.sendMedia(pictures: 720, byteCount: 50_000)
    call.run.run(atMost: .seconds(33))
    let (all, wraps) = wire.nonces(from: masterAddress)
    #expect(Set(all).count == all.count, "of \(all.count)")
    #expect(wraps > 0, "no number wrapped in \(all.count) packets")
    let sent = call.master.core.statistics(at: call.run.now).outboundRTP
    let retransmitted = sent.reduce(0) { $0 + $1.retransmittedPacketsSent }
    #expect(retransmitted > 100)
    #expect(Set(all.map(\.ssrc)).count == 3)
    #expect(call.viewer.frames(of: call.viewerVideo).count > 650)
  }

  @Test("T42: holding and resuming by new offers goes on with the numbers, and media comes again")
  func holdsAndResumes() throws {
    let call = try Call(seed: 84)
    let isConnected = try call.connect()
    #expect(isConnected)
    let wire = Wiretap(call.run)
    for round in 0..<6 {
      let direction = round % 2 == 0 ? "a=recvonly" : "a=inactive"
      let now = call.run.now
      let offer = try call.viewer.core.createOffer(at: now)
      let lines = offer.sdp.split(separator: "\r\n").map { $0 == "a=recvonly" ? direction : String($0) }
      let altered = SessionDescriptionInit(type: .offer, sdp: lines.joined(separator: "\r\n") + "\r\n")
      try call.master.core.setRemoteDescription(altered, at: now)
      try call.master.core.setLocalDescription(try call.master.core.createAnswer(at: now), at: now)
      let count = call.viewer.frames(of: call.viewerVideo).count
      call.sendMedia(pictures: 25)
      call.run.run(atMost: .seconds(2))
      let expected = round % 2 == 0 ? 25 : 0
      #expect(call.viewer.frames(of: call.viewerVideo).count - count == expected, "round \(round)")
    }
    let (all, _) = wire.nonces(from: masterAddress)
    #expect(Set(all).count == all.count)
    let outbound = call.master.core.statistics(at: call.run.now).outboundRTP
    #expect(outbound.count == 2)
  }
}
