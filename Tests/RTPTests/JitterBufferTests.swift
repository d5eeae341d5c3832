// SPDX-License-Identifier: Apache-2.0

import RTP
import SansIO
import Testing

/// A packet as a simulated network carries it.
struct WirePacket {
  var sequence: Int64
  var timestamp: UInt32
  var marker: Bool
  var payload: [UInt8]
}

/// A jitter buffer whose frames are picked up at once.
final class JitterBufferHarness {
  var buffer: JitterBuffer

  init(payload: JitterBuffer.Payload, configuration: JitterBuffer.Configuration = .init()) {
    buffer = JitterBuffer(payload: payload, configuration: configuration)
  }

  /// Inserts a packet and returns the frames that are ready.
  func insert(_ packet: WirePacket, at now: Instant) -> [MediaFrame] {
    buffer.insert(
      sequence: packet.sequence, timestamp: packet.timestamp, marker: packet.marker,
      payload: packet.payload.rawSpan, at: now)
    return pollFrames()
  }

  /// Lets time pass and returns the frames that are ready.
  func timeout(at now: Instant) -> [MediaFrame] {
    buffer.handleTimeout(at: now)
    return pollFrames()
  }

  private func pollFrames() -> [MediaFrame] {
    var frames: [MediaFrame] = []
    while let frame = buffer.pollFrame() { frames.append(frame) }
    return frames
  }

  var nextDeadline: Instant? { buffer.nextDeadline }
  var needsKeyFrame: Bool { buffer.needsKeyFrame }
  var lostPacketCount: UInt64 { buffer.lostPacketCount }
  var drops: DropCounters<JitterBuffer.DropCause> { buffer.drops }
  var frameDrops: DropCounters<H264Depacketizer.DropCause> { buffer.frameDrops }
}

@Suite("Jitter buffer")
struct JitterBufferTests {
  /// The packets of a stream that begins just below the wrap of 16 bits, a key frame each ten pictures.
  private func stream(frameCount: Int, using random: inout RandomSource) -> [WirePacket] {
    var packets: [WirePacket] = []
    for number in 0..<frameCount {
      let byteCount = Int.random(in: 10...4000, using: &random)
      let frame = H264DepacketizerTests.frame(
        isKeyFrame: number % 10 == 0, byteCount: byteCount, timestamp: UInt32(number), using: &random)
      for (index, payload) in payloads(frame).enumerated() {
        packets.append(
          WirePacket(
            sequence: 131_000 + Int64(packets.count), timestamp: frame.timestamp,
            marker: frame.hasMarker(at: index), payload: payload))
      }
    }
    return packets
  }

  private func audio(_ sequence: Int64) -> WirePacket {
    WirePacket(
      sequence: sequence, timestamp: UInt32(truncatingIfNeeded: sequence * 960), marker: false,
      payload: [1, 2, 3])
  }

  @Test("Packets in order pass at once, and nothing waits")
  func inOrder() {
    var random = RandomSource(seed: 1)
    let buffer = JitterBufferHarness(payload: .h264)
    var frames: [MediaFrame] = []
    for packet in stream(frameCount: 30, using: &random) {
      frames += buffer.insert(packet, at: .zero)
      #expect(buffer.nextDeadline == nil)
    }
    #expect(frames.map(\.timestamp) == (0..<30).map { UInt32($0) })
    #expect(frames.filter(\.isKeyFrame).count == 3)
    #expect(!buffer.needsKeyFrame)
  }

  @Test("Reordered and duplicated packets give all frames in order", arguments: 0..<20)
  func reordering(seed: Int) {
    var random = RandomSource(seed: UInt64(seed))
    let packets = stream(frameCount: 40, using: &random)
    var shuffled: [WirePacket] = [packets[0]]
    for start in stride(from: 1, to: packets.count, by: 12) {
      var part = Array(packets[start..<min(start + 12, packets.count)])
      part.append(part[0])
      shuffled += part.shuffled(using: &random)
    }
    let buffer = JitterBufferHarness(payload: .h264)
    var frames: [MediaFrame] = []
    for packet in shuffled { frames += buffer.insert(packet, at: .zero) }
    #expect(frames.map(\.timestamp) == (0..<40).map { UInt32($0) })
    #expect(buffer.lostPacketCount == 0)
    #expect(buffer.nextDeadline == nil)
    #expect(buffer.drops[.duplicate] + buffer.drops[.late] > 0)
  }

  @Test("A gap is waited for a bounded time, then a key frame is wanted")
  func gap() {
    var random = RandomSource(seed: 3)
    let packets = stream(frameCount: 20, using: &random)
    let lost = packets.firstIndex { $0.timestamp == 4 } ?? 0
    let buffer = JitterBufferHarness(payload: .h264)
    buffer.buffer.setRoundTripTime(.milliseconds(20))
    var frames: [MediaFrame] = []
    for (index, packet) in packets.enumerated() where index != lost {
      frames += buffer.insert(packet, at: Instant.zero + .milliseconds(index < lost ? 0 : 7))
    }
    #expect(frames.map(\.timestamp) == [0, 1, 2, 3])
    #expect(buffer.nextDeadline == Instant.zero + .milliseconds(7 + 90))
    #expect(buffer.timeout(at: Instant.zero + .milliseconds(96)).isEmpty)
    #expect(!buffer.needsKeyFrame)
    frames = buffer.timeout(at: Instant.zero + .milliseconds(97))
    #expect(frames.map(\.timestamp) == (10..<20).map { UInt32($0) })
    #expect(buffer.lostPacketCount == 1)
    #expect(buffer.frameDrops[.damagedFrame] + buffer.frameDrops[.undecodableFrame] == 6)
    #expect(!buffer.needsKeyFrame)
    #expect(buffer.nextDeadline == nil)
  }

  @Test("A retransmission that comes in time heals the gap")
  func healed() {
    let buffer = JitterBufferHarness(payload: .opus)
    #expect(buffer.insert(audio(10), at: .zero).count == 1)
    #expect(buffer.insert(audio(12), at: .zero).isEmpty)
    #expect(buffer.insert(audio(13), at: .zero).isEmpty)
    let frames = buffer.insert(audio(11), at: Instant.zero + .milliseconds(50))
    #expect(frames.map(\.firstSequence) == [11, 12, 13])
    #expect(frames.allSatisfy { $0.lostPacketCount == 0 })
    #expect(buffer.insert(audio(11), at: .zero).isEmpty)
    #expect(buffer.drops[.late] == 1)
  }

  @Test("Audio goes on after a gap and tells how much is missing; padding is not missing")
  func audioGap() {
    let buffer = JitterBufferHarness(payload: .opus)
    #expect(buffer.insert(audio(10), at: .zero).count == 1)
    #expect(buffer.insert(audio(13), at: .zero).isEmpty)
    let frames = buffer.timeout(at: Instant.zero + .milliseconds(200))
    #expect(frames.map(\.lostPacketCount) == [2])
    #expect(buffer.lostPacketCount == 2)
    let padding = WirePacket(sequence: 14, timestamp: 0, marker: false, payload: [])
    #expect(buffer.insert(padding, at: .zero).isEmpty)
    #expect(buffer.insert(audio(15), at: .zero).map(\.lostPacketCount) == [0])
    #expect(!buffer.needsKeyFrame)
  }

  @Test("Two gaps are given up one after the other, each from when it was seen")
  func twoGaps() {
    let buffer = JitterBufferHarness(payload: .opus)
    _ = buffer.insert(audio(10), at: .zero)
    #expect(buffer.insert(audio(12), at: .zero).isEmpty)
    #expect(buffer.insert(audio(14), at: Instant.zero + .milliseconds(100)).isEmpty)
    #expect(buffer.timeout(at: Instant.zero + .milliseconds(200)).map(\.firstSequence) == [12])
    #expect(buffer.nextDeadline == Instant.zero + .milliseconds(300))
    #expect(buffer.timeout(at: Instant.zero + .milliseconds(300)).map(\.firstSequence) == [14])
  }

  @Test("The table is bounded by packets and by bytes; a leap in the sequence is survived")
  func bounds() {
    var configuration = JitterBuffer.Configuration()
    configuration.packetCountMax = 8
    configuration.byteCountMax = 12
    let buffer = JitterBufferHarness(payload: .opus, configuration: configuration)
    #expect(buffer.insert(audio(10), at: .zero).count == 1)
    for sequence in 12...15 { #expect(buffer.insert(audio(Int64(sequence)), at: .zero).isEmpty) }
    // The fifth waiting packet passes 12 bytes: the gap is given up.
    #expect(buffer.insert(audio(16), at: .zero).map(\.firstSequence) == [12, 13, 14, 15, 16])
    #expect(buffer.insert(audio(18), at: .zero).isEmpty)
    #expect(buffer.insert(audio(25), at: .zero).map(\.firstSequence) == [18])
    // A leap: what waits goes out, the newest waits for its neighbours.
    #expect(buffer.insert(audio(1_000_000_000), at: .zero).map(\.firstSequence) == [25])
    #expect(buffer.timeout(at: Instant.zero + .seconds(1)).map(\.firstSequence) == [1_000_000_000])
    #expect(buffer.lostPacketCount == 1 + 1 + 6 + 999_999_974)
  }

  @Test("Random sequences, times and payloads never trap and stay within the bounds")
  func randomInput() {
    var random = RandomSource(seed: 7)
    var configuration = JitterBuffer.Configuration()
    configuration.packetCountMax = 64
    configuration.byteCountMax = 2000
    for payload in [JitterBuffer.Payload.h264, .opus] {
      let buffer = JitterBufferHarness(payload: payload, configuration: configuration)
      var now = Instant.zero
      var sequence: Int64 = 70_000
      for _ in 0..<4000 {
        sequence += .random(in: -40...60, using: &random)
        if Int.random(in: 0..<200, using: &random) == 0 {
          sequence += .random(in: -30_000...30_000, using: &random)
        }
        now += .milliseconds(.random(in: 0...20, using: &random))
        let packet = WirePacket(
          sequence: sequence, timestamp: UInt32(truncatingIfNeeded: sequence / 3),
          marker: Bool.random(using: &random), payload: random.bytes(.random(in: 0...100, using: &random)))
        _ = buffer.insert(packet, at: now)
        if let deadline = buffer.nextDeadline, deadline <= now { _ = buffer.timeout(at: now) }
        #expect(buffer.nextDeadline.map { $0 > now } ?? true)
      }
    }
  }
}
