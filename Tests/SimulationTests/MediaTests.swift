// SPDX-License-Identifier: Apache-2.0

import RTP
import SDP
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// Media between two cores: what was sent arrives whole, also when the network loses packets.
@Suite("Media in the simulator")
struct MediaTests {
  private func expectAll(_ call: Call, pictures: Int, byteCount: Int = 6000) {
    let video = call.viewer.frames(of: call.viewerVideo)
    let audio = call.viewer.frames(of: call.viewerAudio)
    #expect(video.count == pictures)
    #expect(audio.count == 2 * pictures)
    for (index, frame) in video.enumerated() {
      #expect(frame.bytes == Call.accessUnit(index, byteCount: byteCount), "picture \(index)")
      #expect(frame.isKeyFrame == (index % 25 == 0))
    }
    for (number, frame) in audio.enumerated() {
      #expect(frame.bytes == Call.opusPacket(number), "packet \(number)")
    }
  }

  @Test("Every picture and every sound arrives, in order and unchanged")
  func arrives() throws {
    let call = try Call(seed: 21)
    let isConnected = try call.connect()
    #expect(isConnected)
    call.sendMedia(pictures: 100)
    call.run.run(atMost: .seconds(6))
    expectAll(call, pictures: 100)
  }

  @Test("Retransmission repairs 5 % loss of video both ways", arguments: UInt64(30)...34)
  func repairs(seed: UInt64) throws {
    let call = try Call(
      seed: seed, conditions: LinkConditions(delay: .milliseconds(20), lossProbability: 0.05))
    let isConnected = try call.connect(within: .seconds(20))
    #expect(isConnected)
    call.sendMedia(pictures: 100)
    call.run.run(atMost: .seconds(8))
    let video = call.viewer.frames(of: call.viewerVideo)
    #expect(video.count >= 97, "seed \(seed): \(video.count) of 100 pictures")
    let statistics = call.master.core.statistics(at: call.run.now)
    let sent = try #require(statistics.outboundRTP.first { $0.kind == .video })
    #expect(sent.retransmittedPacketsSent > 0)
    #expect(sent.nackCount > 0)
  }

  @Test("A receiver that lost a picture for good asks for a key frame, at most twice a second")
  func asksForKeyFrame() throws {
    let call = try Call(seed: 40)
    let isConnected = try call.connect()
    #expect(isConnected)
    // Eighteen packets a picture: more is missing after the break than retransmission repairs.
    call.sendMedia(pictures: 100, byteCount: 20_000)
    call.run.run(atMost: .seconds(1))
    call.run.network.conditions.lossProbability = 1
    call.run.run(atMost: .milliseconds(700))
    call.run.network.conditions.lossProbability = 0
    call.run.run(atMost: .seconds(3))
    #expect(
      (1...8).contains(call.master.keyFrameRequestCount), "\(call.master.keyFrameRequestCount) requests")
  }

  @Test("Reports of the receiver reach the sender: round trip, loss, and no more mid on the wire")
  func reports() throws {
    let call = try Call(seed: 41, conditions: LinkConditions(delay: .milliseconds(25)))
    let isConnected = try call.connect()
    #expect(isConnected)
    call.sendMedia(pictures: 150)
    call.run.run(atMost: .seconds(6))
    let statistics = call.master.core.statistics(at: call.run.now)
    for stream in statistics.outboundRTP {
      #expect(stream.packetsLost == 0)
      let roundTrip = try #require(stream.roundTripTime)
      #expect((0.045...0.06).contains(roundTrip), "\(roundTrip) s")
    }
  }

  @Test("Replayed and altered packets of a call change nothing: each picture comes once")
  func survivesDuplication() throws {
    let call = try Call(
      seed: 42,
      conditions: LinkConditions(
        duplicationProbability: 0.5, reorderingProbability: 0.2, reorderingDelay: .milliseconds(8)))
    let isConnected = try call.connect()
    #expect(isConnected)
    call.sendMedia(pictures: 100)
    call.run.run(atMost: .seconds(6))
    expectAll(call, pictures: 100)
  }

  @Test("A burst leaves as packets of one size, which segmentation offload takes")
  func burstsAreEqual() throws {
    let call = try Call(seed: 43)
    let isConnected = try call.connect()
    #expect(isConnected)
    call.run.run(atMost: .seconds(1))
    let now = call.run.now
    let packetizer = H264Packetizer(maximumPayloadByteCount: 1160)
    let frame = try #require(
      packetizer.packetize(annexB: Call.accessUnit(1, byteCount: 10_000), timestamp: 0, captureTime: now))
    call.master.core.send(frame, on: call.masterVideo, at: now)
    var transmit: Transmit?
    let bytes = [UInt8](writing: 16_000) { out in
      transmit = call.master.core.pollTransmit(into: &out, at: now)
    }
    let written = try #require(transmit)
    #expect(written.segmentCount == frame.packetCount)
    #expect((bytes.count + written.segmentByteCount - 1) / written.segmentByteCount == written.segmentCount)
  }
}
