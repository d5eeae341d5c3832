// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// CRC32c, the checksum of an SCTP packet (RFC 9260 Appendix A): the Castagnoli polynomial, bits reflected.
///
/// Eight tables take eight bytes per step ("slicing by eight"): table `k` holds what a byte contributes when
/// `k` more bytes follow it, so that the eight look-ups do not wait for one another.
enum Checksum {
  /// 0x1EDC6F41 with its bits reversed.
  private static let polynomial: UInt32 = 0x82f6_3b78

  /// Table `k` stands at `256 * k`.
  private static let tables: InlineArray<2048, UInt32> = {
    var tables = InlineArray<2048, UInt32>(repeating: 0)
    for byte in 0..<256 {
      var remainder = UInt32(byte)
      for _ in 0..<8 { remainder = remainder & 1 == 1 ? remainder >> 1 ^ polynomial : remainder >> 1 }
      tables[byte] = remainder
    }
    for index in 256..<2048 {
      let previous = tables[index - 256]
      tables[index] = previous >> 8 ^ tables[Int(UInt8(truncatingIfNeeded: previous))]
    }
    return tables
  }()

  /// The CRC32c of a packet, its checksum field read as zero.
  static func ofPacket(_ packet: RawSpan) -> UInt32 {
    guard packet.byteCount >= CommonHeader.byteCount else { return of(packet) }
    var remainder = update(~0, with: packet.extracting(0..<8))
    for _ in 0..<4 { remainder = step(remainder, 0) }
    return ~update(remainder, with: packet.extracting(CommonHeader.byteCount..<packet.byteCount))
  }

  /// The CRC32c of some bytes.
  static func of(_ bytes: RawSpan) -> UInt32 { ~update(~0, with: bytes) }

  @inline(__always)
  private static func step(_ remainder: UInt32, _ byte: UInt8) -> UInt32 {
    remainder >> 8 ^ tables[Int(UInt8(truncatingIfNeeded: remainder) ^ byte)]
  }

  private static func update(_ initial: UInt32, with bytes: RawSpan) -> UInt32 {
    var remainder = initial
    var offset = 0
    while offset &+ 8 <= bytes.byteCount {
      let word = bytes.littleEndianWord(at: offset) ^ UInt64(remainder)
      let near =
        entry(7, word) ^ entry(6, word >> 8) ^ entry(5, word >> 16) ^ entry(4, word >> 24)
      let far =
        entry(3, word >> 32) ^ entry(2, word >> 40) ^ entry(1, word >> 48) ^ entry(0, word >> 56)
      remainder = near ^ far
      offset &+= 8
    }
    while let byte = bytes.byte(at: offset) {
      remainder = step(remainder, byte)
      offset &+= 1
    }
    return remainder
  }

  @inline(__always)
  private static func entry(_ table: Int, _ word: UInt64) -> UInt32 {
    tables[table &* 256 &+ Int(UInt8(truncatingIfNeeded: word))]
  }
}
