// SPDX-License-Identifier: Apache-2.0

import RTP
import SansIO
import Testing

/// A depacketizer fed from arrays, which counts its sequence itself.
final class DepacketizerHarness {
  var depacketizer = H264Depacketizer()
  var sequence: Int64 = 100

  /// Pushes a payload and returns the frames that it finished.
  func push(_ payload: [UInt8], marker: Bool = false, timestamp: UInt32 = 0) -> [MediaFrame] {
    try? depacketizer.push(
      payload: payload.rawSpan, marker: marker, timestamp: timestamp, sequence: sequence, at: .zero)
    sequence += 1
    var frames: [MediaFrame] = []
    while let frame = depacketizer.pollFrame() { frames.append(frame) }
    return frames
  }

  /// Pushes a whole frame but the packets at these places, which are lost.
  func push(_ frame: PacketizedFrame, without lost: Set<Int> = []) -> [MediaFrame] {
    var frames: [MediaFrame] = []
    for (index, payload) in payloads(frame).enumerated() {
      if lost.contains(index) {
        sequence += 1
      } else {
        frames += push(payload, marker: frame.hasMarker(at: index), timestamp: frame.timestamp)
      }
    }
    return frames
  }
}

@Suite("H.264 depacketizer, RFC 6184")
struct H264DepacketizerTests {
  static let parameterSets = [hex("67 42e01f ab"), hex("68 ce3c80")]

  /// A picture of one slice; a key frame comes with its parameter sets.
  static func frame(
    isKeyFrame: Bool, byteCount: Int = 3000, timestamp: UInt32, maximum: Int = 1000,
    using random: inout RandomSource
  ) -> PacketizedFrame {
    let slice = randomUnit(header: isKeyFrame ? 0x65 : 0x41, byteCount: byteCount, using: &random)
    let bytes = accessUnit((isKeyFrame ? parameterSets : []) + [slice], using: &random)
    guard
      let frame = H264Packetizer(maximumPayloadByteCount: maximum)
        .packetize(annexB: bytes, timestamp: timestamp, captureTime: .zero)
    else { fatalError("nothing to send") }
    return frame
  }

  @Test("What is cut into packets comes back unit by unit, for random access units and packet sizes")
  func roundTrip() throws {
    var random = RandomSource(seed: 6184)
    for round in 0..<400 {
      let maximum = Int.random(in: 100...1200, using: &random)
      var units = Self.parameterSets
      if Bool.random(using: &random) {
        units.append(
          randomUnit(header: 0x06, byteCount: Int.random(in: 1...300, using: &random), using: &random))
      }
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let byteCount = Int.random(in: 2...6000, using: &random)
        units.append(randomUnit(header: 0x65, byteCount: byteCount, using: &random))
      }
      let frame = try #require(
        H264Packetizer(maximumPayloadByteCount: maximum).packetize(
          annexB: accessUnit(units, using: &random), timestamp: UInt32(round), captureTime: .zero))
      #expect(frame.packets.allSatisfy { $0.count <= maximum })
      let harness = DepacketizerHarness()
      let received = harness.push(frame)
      #expect(received.count == 1)
      #expect(received.first.map { nalUnits($0.bytes) } == units)
      #expect(received.first?.bytes == units.flatMap { AnnexB.startCode + $0 })
      #expect(received.first?.isKeyFrame == true)
      #expect(received.first?.timestamp == UInt32(round))
    }
  }

  @Test("A lost packet costs its frame and those that refer to it, until the next key frame")
  func loss() {
    var random = RandomSource(seed: 1)
    let key = Self.frame(isKeyFrame: true, timestamp: 0, using: &random)
    let pictures = (1...4).map {
      Self.frame(isKeyFrame: false, timestamp: UInt32($0), using: &random)
    }
    let secondKey = Self.frame(isKeyFrame: true, timestamp: 5, using: &random)
    for lost in 0..<pictures[1].packetCount {
      let harness = DepacketizerHarness()
      #expect(harness.push(key).count == 1)
      #expect(harness.push(pictures[0]).count == 1)
      #expect(!harness.depacketizer.needsKeyFrame)
      #expect(harness.push(pictures[1], without: [lost]).isEmpty)
      #expect(harness.push(pictures[2]).isEmpty)
      #expect(harness.depacketizer.needsKeyFrame)
      #expect(harness.depacketizer.drops[.damagedFrame] == 1)
      let recovered = harness.push(secondKey)
      #expect(recovered.map(\.timestamp) == [5])
      #expect(recovered.first?.lostPacketCount == 1)
      #expect(!harness.depacketizer.needsKeyFrame)
      #expect(harness.push(pictures[3]).count == 1)
    }
  }

  @Test("A lost whole frame is noticed by the gap in the sequence")
  func lostFrame() {
    var random = RandomSource(seed: 2)
    let harness = DepacketizerHarness()
    #expect(harness.push(Self.frame(isKeyFrame: true, timestamp: 0, using: &random)).count == 1)
    harness.sequence += 3
    #expect(harness.push(Self.frame(isKeyFrame: false, timestamp: 2, using: &random)).isEmpty)
    #expect(harness.depacketizer.drops[.undecodableFrame] == 1)
    #expect(harness.depacketizer.needsKeyFrame)
  }

  @Test("A stream joined in the middle starts at a key frame with its parameter sets")
  func join() {
    var random = RandomSource(seed: 3)
    let harness = DepacketizerHarness()
    #expect(harness.push(Self.frame(isKeyFrame: false, timestamp: 0, using: &random)).isEmpty)
    #expect(harness.depacketizer.needsKeyFrame)
    // An IDR picture without parameter sets starts nothing.
    #expect(harness.push([0x65, 0x88, 1], marker: true, timestamp: 1).isEmpty)
    #expect(harness.push(Self.frame(isKeyFrame: true, timestamp: 2, using: &random)).count == 1)
  }

  @Test("A frame without a marker ends where the next timestamp begins")
  func noMarker() {
    let harness = DepacketizerHarness()
    for unit in Self.parameterSets { #expect(harness.push(unit).isEmpty) }
    #expect(harness.push([0x65, 0x88, 1]).isEmpty)
    let frames = harness.push([0x41, 0x9a, 2], marker: true, timestamp: 1)
    #expect(frames.map(\.timestamp) == [0, 1])
    #expect(frames.map(\.isKeyFrame) == [true, false])
  }

  @Test("Parameter sets under their own marker or timestamp go with the picture that follows")
  func separateParameterSets() {
    let harness = DepacketizerHarness()
    #expect(harness.push(Self.parameterSets[0], marker: true).isEmpty)
    #expect(harness.push(Self.parameterSets[1], timestamp: 1).isEmpty)
    let frames = harness.push([0x65, 0x88, 1], marker: true, timestamp: 2)
    #expect(frames.map { nalUnits($0.bytes) } == [Self.parameterSets + [[0x65, 0x88, 1]]])
    #expect(frames.first?.timestamp == 2)
  }

  @Test("An empty payload takes its place in the sequence and nothing else")
  func padding() {
    let harness = DepacketizerHarness()
    for unit in Self.parameterSets { _ = harness.push(unit) }
    #expect(harness.push([0x65, 0x88, 1], marker: true).count == 1)
    #expect(harness.push([]).isEmpty)
    #expect(harness.push([0x41, 0x9a, 2], marker: true, timestamp: 1).count == 1)
  }

  @Test("T32 STAP-A sizes beyond the payload drop the frame")
  func aggregateSizes() {
    for payload in ["78 0004 6742e0", "78 ffff 67", "78 00", "78 0000", "78 0001 78", "78 0001 67 05"] {
      let harness = DepacketizerHarness()
      for unit in Self.parameterSets { _ = harness.push(unit) }
      _ = harness.push(hex(payload))
      #expect(harness.push([0x65, 0x88, 1], marker: true).isEmpty, "\(payload)")
      #expect(harness.depacketizer.drops[.malformedPayload] == 1, "\(payload)")
      #expect(harness.depacketizer.drops[.damagedFrame] == 1, "\(payload)")
    }
  }

  @Test("T32 A fragment without a start, without an end, or with both bits drops the frame")
  func fragments() {
    let hostile = [
      ["7c05ff"], ["7c45ff"], ["7cc5ff"], ["7c85"], ["7c"], ["7c8588", "6588"], ["7c8588", "7c8588"],
      ["7c8588", "7c4177"], ["7c8588"], ["7c9c88"], ["7c8088"], ["7d8588"], ["7988"], ["60ff"], ["1fff"],
    ]
    for sequence in hostile {
      let harness = DepacketizerHarness()
      for unit in Self.parameterSets { _ = harness.push(unit) }
      var frames: [MediaFrame] = []
      for (index, payload) in sequence.enumerated() {
        frames += harness.push(hex(payload), marker: index == sequence.count - 1)
      }
      #expect(frames.isEmpty, "\(sequence)")
      #expect(harness.depacketizer.drops[.damagedFrame] == 1, "\(sequence)")
    }
  }

  @Test("T32 A frame grows to 8 MB and no further")
  func frameLimit() {
    let harness = DepacketizerHarness()
    for unit in Self.parameterSets { _ = harness.push(unit) }
    _ = harness.push(hex("7c85 88"))
    let part = hex("7c05") + [UInt8](repeating: 7, count: 60_000)
    for _ in 0..<140 { _ = harness.push(part) }
    #expect(harness.push(hex("7c45 ff"), marker: true).isEmpty)
    #expect(harness.depacketizer.drops[.oversizedFrame] == 1)
    #expect(harness.depacketizer.drops[.damagedFrame] == 1)
    // A frame just below the limit passes.
    for unit in Self.parameterSets { _ = harness.push(unit, timestamp: 1) }
    _ = harness.push(hex("7c85 88"), timestamp: 1)
    for _ in 0..<130 { _ = harness.push(part, timestamp: 1) }
    #expect(harness.push(hex("7c45 ff"), marker: true, timestamp: 1).first?.bytes.count ?? 0 > 7_800_000)
  }

  @Test("T32 Flipped bits, prefixes and random payloads never trap")
  func bitFlips() {
    var random = RandomSource(seed: 32)
    let key = Self.frame(isKeyFrame: true, byteCount: 600, timestamp: 0, maximum: 100, using: &random)
    let harness = DepacketizerHarness()
    for round in 0..<600 {
      for payload in payloads(key) {
        let bytes =
          round % 3 == 0
          ? random.bytes(Int.random(in: 0...20, using: &random))
          : round % 3 == 1 ? damaged(payload, using: &random) : Array(payload.prefix(round / 3))
        let marker = Int.random(in: 0..<5, using: &random) == 0
        _ = harness.push(bytes, marker: marker, timestamp: UInt32(round / 2))
        if Int.random(in: 0..<9, using: &random) == 0 {
          harness.sequence += .random(in: -3...3, using: &random)
        }
      }
    }
    #expect(harness.depacketizer.drops.total > 100)
  }
}
