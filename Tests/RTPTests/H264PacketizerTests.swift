// SPDX-License-Identifier: Apache-2.0

import RTP
import SansIO
import Testing

@Suite("H.264 packetizer, RFC 6184")
struct H264PacketizerTests {
  private func packetize(_ bytes: [UInt8], maximum: Int = 1200) -> PacketizedFrame? {
    H264Packetizer(maximumPayloadByteCount: maximum)
      .packetize(annexB: bytes, timestamp: 3600, captureTime: Instant(nanoseconds: 5))
  }

  @Test("Start codes of three and four bytes and trailing zeros are told from the units")
  func annexB() {
    #expect(
      nalUnits(hex("00000001 6742 000001 68ce 0000 00000001 65 88 84 000000")) == [
        hex("6742"), hex("68ce"), hex("658884"),
      ])
    #expect(nalUnits(hex("ffff 000001 09f0")) == [hex("09f0")])
    #expect(nalUnits([]).isEmpty)
    #expect(nalUnits(hex("000001")).isEmpty)
    #expect(nalUnits(hex("000001 000001 000001 41")) == [[0x41]])
    #expect(nalUnits(hex("41424344")).isEmpty)
    #expect(nalUnits(hex("000001 41 000003 000002 ff0001")) == [hex("41 000003 000002 ff0001")])
  }

  @Test("The quick scan finds what a plain one finds, in random bytes full of zeros and ones")
  func quickScan() {
    var random = RandomSource(seed: 3)
    for _ in 0..<2000 {
      let bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in
        [0, 0, 0, 1, 2, 9].randomElement(using: &random) ?? 0 as UInt8
      }
      let plain = bytes.indices.dropLast(2).filter {
        bytes[$0] == 0 && bytes[$0 + 1] == 0 && bytes[$0 + 2] == 1
      }
      var found: [Int] = []
      var position = 0
      while let code = AnnexB.nextStartCode(in: bytes.rawSpan, from: position) {
        found.append(code)
        position = code + 1
      }
      #expect(found == Array(plain))
    }
  }

  @Test("Parameter sets share a packet; the delimiter is dropped; the marker is the last packet's")
  func keyFrame() throws {
    var random = RandomSource(seed: 1)
    let slice = randomUnit(header: 0x65, byteCount: 5001, using: &random)
    let units = [hex("09f0"), hex("67 42e01f"), hex("68 ce3c80"), slice]
    let frame = try #require(packetize(accessUnit(units, using: &random)))
    #expect(frame.isKeyFrame)
    #expect(frame.timestamp == 3600)
    #expect(frame.captureTime == Instant(nanoseconds: 5))
    #expect(payloads(frame)[0] == hex("78 0004 6742e01f 0004 68ce3c80"))
    #expect(frame.packetCount == 6)
    #expect((0..<6).map(frame.hasMarker(at:)) == [false, false, false, false, false, true])
    let parts = payloads(frame).dropFirst()
    #expect(parts.map(\.count) == [1002, 1002, 1002, 1002, 1002])
    #expect(parts.allSatisfy { $0[0] == 0x7c })
    #expect(parts.map { $0[1] } == [0x85, 0x05, 0x05, 0x05, 0x45])
    let borrowed = frame.withPayload(at: 0) { $0.byteCount }
    #expect(borrowed == 13)
  }

  @Test("A small picture is one packet; nothing to send is no frame")
  func small() throws {
    let frame = try #require(packetize(hex("00000001 419a1234")))
    #expect(!frame.isKeyFrame)
    #expect(payloads(frame) == [hex("419a1234")])
    #expect(packetize([]) == nil)
    #expect(packetize(hex("00000001 09f0 00000001 0cff")) == nil)
    #expect(packetize(hex("00000001 7800 00000001 1fff 000001 00ff")) == nil)
  }

  @Test("Parts are equal but the last, none is above the limit, and there are as few as can be")
  func equalParts() throws {
    var random = RandomSource(seed: 6184)
    for _ in 0..<300 {
      let maximum = Int.random(in: 16...1200, using: &random)
      let byteCount = Int.random(in: (maximum + 1)...(maximum * 30), using: &random)
      let unit = randomUnit(header: 0x41, byteCount: byteCount, using: &random)
      let frame = try #require(packetize([0, 0, 0, 1] + unit, maximum: maximum))
      let sizes = frame.packets.map(\.count)
      #expect(sizes.allSatisfy { $0 <= maximum })
      #expect(Set(sizes.dropLast()).count == 1)
      #expect(sizes[sizes.count - 1] <= sizes[0])
      #expect(sizes.count >= 2 && sizes.count <= (byteCount - 1 + maximum - 3) / (maximum - 2))
    }
  }

  @Test("Opus packets travel alone and never carry the marker")
  func opus() {
    let frame = OpusPacketizer().packetize(packet: [0xfc, 1, 2], timestamp: 960, captureTime: .zero)
    #expect(payloads(frame) == [[0xfc, 1, 2]])
    #expect(!frame.hasMarker(at: 0))
    #expect(frame.isKeyFrame)
  }

  @Test("The duration of an Opus packet follows from its first bytes, RFC 6716 §3.1")
  func opusDuration() throws {
    func duration(_ bytes: [UInt8]) throws(ParseError) -> Int { try OpusPacket.duration(of: bytes.rawSpan) }
    #expect(try duration([0xfc]) == 960)
    #expect(try duration([31 << 3 | 1]) == 1920)
    #expect(try duration([0]) == 480)
    #expect(try duration([3 << 3]) == 2880)
    #expect(try duration([13 << 3]) == 960)
    #expect(try duration([16 << 3]) == 120)
    #expect(try duration([16 << 3 | 3, 48]) == 5760)
    #expect(throws: ParseError.self) { try duration([16 << 3 | 3, 49]) }
    #expect(throws: ParseError.self) { try duration([0xff, 0]) }
    #expect(throws: ParseError.truncated) { try duration([]) }
    #expect(throws: ParseError.truncated) { try duration([3]) }
  }
}

@Suite("H.264 headers, ITU-T H.264 §7.3")
struct H264HeaderTests {
  /// 1280x720, constrained baseline 3.1, as x264 writes it: 80 x 45 macroblocks, no cropping.
  static let baseline = hex("67 42c01f 8c8d 4050 05ba 1000 0003 0010 0000 0303 20f1 8319 60")
  /// 1920x1080, high 4.0: eight lines cropped.
  static let high = hex("67 640028 acd9 4078 0227 e5c0 44 0000 0300 0400 0003 00c8 3c60 c658")

  @Test("A set gives profile, level and picture size")
  func sizes() throws {
    let small = try H264SequenceParameterSet(parsing: Self.baselineWritten.rawSpan)
    #expect(small.width == 1280)
    #expect(small.height == 720)
    #expect(small.profileLevelID == "42e01f")
    let large = try H264SequenceParameterSet(parsing: Self.high.rawSpan)
    #expect(large.width == 1920)
    #expect(large.height == 1080)
    #expect(large.profileLevelID == "640028")
  }

  /// Written by hand after §7.3.2.1.1: set 0, frame numbers of 4 bits, picture order type 2, one reference,
  /// 80 x 45 macroblocks, frames only, no cropping, no VUI.
  static let baselineWritten: [UInt8] = {
    var bits = ""
    func ue(_ value: Int) {
      let digits = String(value + 1, radix: 2)
      bits += String(repeating: "0", count: digits.count - 1) + digits
    }
    for value in [0, 0, 2, 1] { ue(value) }
    bits += "0"
    ue(79)
    ue(44)
    bits += "1100" + "1"
    while bits.count % 8 != 0 { bits += "0" }
    var bytes: [UInt8] = [0x67, 0x42, 0xe0, 0x1f]
    var rest = bits[...]
    while !rest.isEmpty {
      bytes.append(UInt8(rest.prefix(8), radix: 2) ?? 0)
      rest = rest.dropFirst(8)
    }
    return bytes
  }()

  @Test("B-slices are told from others")
  func slices() throws {
    // first_mb_in_slice 0 is the bit 1; slice_type 5 is 00110, 6 is 00111, 0 is 1, 1 is 010, 7 is 0001000.
    func isBSlice(_ bytes: [UInt8]) -> Bool { H264NALUnit.isBSlice(bytes.rawSpan) }
    #expect(!isBSlice([0x41, 0b1001_1000, 0]))
    #expect(isBSlice([0x41, 0b1001_1100, 0]))
    #expect(!isBSlice([0x41, 0b1100_0000, 0]))
    #expect(isBSlice([0x01, 0b1010_0000, 0]))
    #expect(!isBSlice([0x65, 0b1000_1000, 0x80]))
    #expect(!isBSlice([0x67, 0b1010_0000, 0]))
    #expect(!isBSlice([]))
    let endless: [UInt8] = [0x41, 0, 0, 0, 0, 0, 0, 0]
    #expect(throws: ParseError.self) { try H264SliceHeader(parsing: endless.rawSpan) }
  }

  @Test("T32 Prefixes, flipped bits and endless Exp-Golomb codes never trap")
  func hostile() {
    var random = RandomSource(seed: 32)
    for fixture in [Self.baseline, Self.baselineWritten, Self.high] {
      for count in 0...fixture.count {
        let prefix = Array(fixture[..<count])
        _ = try? H264SequenceParameterSet(parsing: prefix.rawSpan)
      }
      for _ in 0..<2000 {
        let bytes = damaged(fixture, using: &random)
        _ = try? H264SequenceParameterSet(parsing: bytes.rawSpan)
        let slice = [0x41] + bytes.dropFirst()
        _ = H264NALUnit.isBSlice(slice.rawSpan)
      }
    }
    let zeros: [UInt8] = [0x67, 100, 0, 31] + [UInt8](repeating: 0, count: 10_000)
    #expect(throws: ParseError.self) { try H264SequenceParameterSet(parsing: zeros.rawSpan) }
    let ones: [UInt8] = [0x67, 100, 0, 31] + [UInt8](repeating: 0xff, count: 10_000)
    _ = try? H264SequenceParameterSet(parsing: ones.rawSpan)
  }
}
