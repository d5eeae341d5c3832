// SPDX-License-Identifier: Apache-2.0

import RTP
import SansIO
import Testing

@testable import MediaFiles

/// Builds Ogg pages for the tests.
struct OggBuilder {
  private(set) var bytes: [UInt8] = []
  private var sequence: UInt32 = 0

  /// Appends a page with these lacing values.
  mutating func page(flags: UInt8 = 0, serial: UInt32 = 7, lacing: [UInt8], body: [UInt8]) {
    func littleEndian(_ value: UInt32) -> [UInt8] {
      (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
    var page: [UInt8] = Array("OggS".utf8) + [0, flags] + [UInt8](repeating: 0, count: 8)
    page +=
      littleEndian(serial) + littleEndian(sequence) + [0, 0, 0, 0] + [UInt8(lacing.count)] + lacing + body
    sequence += 1
    page.replaceSubrange(22..<26, with: littleEndian(OggChecksum.ofPage(page.rawSpan)))
    bytes += page
  }

  /// Appends a page with one packet of less than 255 bytes.
  mutating func packet(_ packet: [UInt8], flags: UInt8 = 0, serial: UInt32 = 7) {
    page(flags: flags, serial: serial, lacing: [UInt8(packet.count)], body: packet)
  }

  static func head(channels: UInt8 = 2, family: UInt8 = 0) -> [UInt8] {
    Array("OpusHead".utf8) + [1, channels, 0x38, 0x01, 0x80, 0xbb, 0, 0, 0, 0, family]
  }
  static let tags: [UInt8] = Array("OpusTags".utf8) + [0, 0, 0, 0, 0, 0, 0, 0]
}

private func read(_ bytes: [UInt8]) throws(MediaFormatError) -> AudioClip {
  try OggOpusReader.read(bytes.rawSpan)
}

@Suite("Ogg Opus files")
struct OggOpusReaderTests {
  private static func file(_ packets: [[UInt8]], channels: UInt8 = 2) -> [UInt8] {
    var ogg = OggBuilder()
    ogg.packet(OggBuilder.head(channels: channels), flags: 2)
    ogg.packet(OggBuilder.tags)
    for packet in packets { ogg.packet(packet) }
    return ogg.bytes
  }

  @Test("Headers are left out, packets come in order")
  func packets() throws {
    let packets: [[UInt8]] = [[0xfc, 1], [0xfc, 2, 2], [0xfc]]
    let clip = try read(Self.file(packets))
    #expect(clip.packets == packets)
    #expect(clip.packetTicks == 960 && clip.channelCount == 2)
  }

  @Test("A packet over 255 bytes and over a page boundary is put together")
  func lacing() throws {
    var ogg = OggBuilder()
    ogg.packet(OggBuilder.head(), flags: 2)
    ogg.packet(OggBuilder.tags)
    let long: [UInt8] = [0xfc] + (1..<600).map { UInt8(truncatingIfNeeded: $0) }
    let exact: [UInt8] = [0xfc] + [UInt8](repeating: 9, count: 254)
    ogg.page(lacing: [255, 255], body: Array(long[..<510]))
    ogg.page(flags: 1, lacing: [90, 255, 0], body: Array(long[510...]) + exact)
    #expect(try read(ogg.bytes).packets == [long, exact])
  }

  @Test("A packet whose beginning is missing is dropped")
  func orphan() throws {
    var ogg = OggBuilder()
    ogg.packet(OggBuilder.head(), flags: 2)
    ogg.packet(OggBuilder.tags)
    ogg.page(flags: 1, lacing: [3, 2], body: [1, 2, 3, 0xfc, 5])
    #expect(try read(ogg.bytes).packets == [[0xfc, 5]])
  }

  @Test("Other streams in the file are stepped over, and what follows the stream's end")
  func otherStreams() throws {
    var ogg = OggBuilder()
    ogg.packet(Array("\u{80}theora".utf8), flags: 2, serial: 1)
    ogg.packet(OggBuilder.head(), flags: 2)
    ogg.packet([1, 2, 3], serial: 1)
    ogg.packet(OggBuilder.tags)
    ogg.packet([0xfc, 1])
    ogg.packet([0xfc, 2], flags: 4)
    ogg.packet([0xfc, 3])
    #expect(try read(ogg.bytes).packets == [[0xfc, 1], [0xfc, 2]])
  }

  @Test("What cannot be sent is refused with its reason")
  func refused() {
    var vorbis = OggBuilder()
    vorbis.packet(Array("\u{1}vorbis".utf8), flags: 2)
    let other = vorbis.bytes
    #expect(throws: MediaFormatError.unsupported("an Ogg file without Opus")) { try read(other) }
    #expect(throws: MediaFormatError.channelCount(6)) { try read(Self.file([[0xfc]], channels: 6)) }
    #expect(throws: MediaFormatError.empty) { try read(Self.file([])) }
    #expect(throws: MediaFormatError.badPacket(index: 1)) { try read(Self.file([[0xfc], []])) }
    #expect(throws: MediaFormatError.unevenPackets(index: 1)) { try read(Self.file([[0xfc], [0xf4]])) }
  }

  @Test("A page with a wrong checksum is damage, told with its offset")
  func checksum() {
    var bytes = Self.file([[0xfc, 1], [0xfc, 2]])
    bytes[bytes.count - 1] ^= 1
    let offset = bytes.count - 30
    #expect(throws: MediaFormatError.damaged(offset: offset)) { try read(bytes) }
  }

  @Test("Every prefix of a file is read or refused")
  func prefixes() {
    let bytes = Self.file([[0xfc, 1], [0xfc, 2, 3], [0xfc]])
    for count in 0...bytes.count { _ = try? read(Array(bytes[..<count])) }
  }

  @Test("Thousands of files with flipped bits, their checksums set right again, are read or refused")
  func bitFlips() {
    var random = RandomSource(seed: 3533)
    for _ in 0..<3000 {
      var ogg = OggBuilder()
      var head = OggBuilder.head()
      head[Int.random(in: 8..<head.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      ogg.packet(head, flags: 2)
      ogg.packet(OggBuilder.tags)
      for _ in 0..<4 {
        let lacing = (0..<Int.random(in: 0..<6, using: &random)).map { _ in
          [0, 1, 3, 40, 255].randomElement(using: &random) ?? 0
        }.map(UInt8.init)
        let body = random.bytes(lacing.reduce(0) { $0 + Int($1) })
        ogg.page(flags: UInt8.random(in: 0..<8, using: &random), lacing: lacing, body: body)
      }
      _ = try? read(ogg.bytes)
      var bytes = ogg.bytes
      bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      _ = try? read(bytes)
    }
  }

  @Test(
    "Silence has the duration of the packets around it",
    arguments: [120, 240, 480, 960, 1920, 2880, 3840, 4800, 5760])
  func silence(ticks: Int) throws {
    for isStereo in [false, true] {
      let packet = OpusSilence.packet(ticks: ticks, isStereo: isStereo)
      #expect(try OpusPacket.duration(of: packet.rawSpan) == ticks)
      #expect((packet[0] & 4 != 0) == isStereo)
    }
  }
}
