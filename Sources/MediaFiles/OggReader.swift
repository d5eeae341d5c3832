// SPDX-License-Identifier: Apache-2.0

import SansIO

/// Takes the packets of one logical stream out of an Ogg file (RFC 3533).
///
/// Every page's checksum is verified. Pages of other streams are stepped over.
struct OggReader {
  /// No packet is longer: more than any Opus packet and any reasonable comment header (RFC 7845 §5.2 advises
  /// to take 61,440 bytes at least; a cover picture in the comments may need more).
  static let maximumPacketByteCount = 16 * 1024 * 1024

  /// One page: what its header says, and where its body lies in the file.
  struct Page: Hashable {
    let isContinued: Bool
    let isFirst: Bool
    let isLast: Bool
    let serial: UInt32
    let lacing: [UInt8]
    let body: Range<Int>
  }

  private let serial: UInt32
  private var packets: [[UInt8]] = []
  private var open: [UInt8] = []
  private var isOpen = false

  private init(serial: UInt32) { self.serial = serial }

  /// Whether the bytes start as an Ogg file does.
  static func isOgg(_ bytes: RawSpan) -> Bool { hasPrefix(bytes, "OggS") }

  /// All complete packets of the first stream whose first packet starts with `magic`, or `nil` if there is
  /// none.
  ///
  /// - Throws: `.damaged` at a broken page, with its offset; `.empty` never.
  static func packets(of bytes: RawSpan, whereFirstStartsWith magic: String) throws(MediaFormatError)
    -> [[UInt8]]?
  {
    var reader: OggReader?
    var offset = 0
    while offset < bytes.byteCount {
      guard let page = page(in: bytes, at: offset) else { throw .damaged(offset: offset) }
      if reader == nil, page.isFirst, hasPrefix(bytes.extracting(page.body), magic) {
        reader = OggReader(serial: page.serial)
      }
      if reader?.serial == page.serial {
        guard reader?.add(page, of: bytes) == true else { throw .damaged(offset: offset) }
        if page.isLast { break }
      }
      offset = page.body.upperBound
    }
    return reader?.packets
  }

  /// Parses and verifies the page at `offset`; `nil` when it is cut off, malformed or has a wrong checksum.
  static func page(in bytes: RawSpan, at offset: Int) -> Page? {
    var reader = ByteReader(bytes.extracting(offset..<bytes.byteCount))
    do {
      guard try reader.readUInt32() == 0x4f67_6753, try reader.readUInt8() == 0 else { return nil }
      let flags = try reader.readUInt8()
      try reader.skip(8)  // granule position
      let serial = try reader.readUInt32().byteSwapped
      try reader.skip(4)  // page sequence number
      let checksum = try reader.readUInt32().byteSwapped
      let lacing = try reader.readArray(Int(try reader.readUInt8()))
      let bodyStart = offset + reader.offset
      try reader.skip(lacing.reduce(0) { $0 + Int($1) })
      let end = offset + reader.offset
      guard OggChecksum.ofPage(bytes.extracting(offset..<end)) == checksum else { return nil }
      return Page(
        isContinued: flags & 1 != 0, isFirst: flags & 2 != 0, isLast: flags & 4 != 0, serial: serial,
        lacing: lacing, body: bodyStart..<end)
    } catch {
      return nil
    }
  }

  /// Appends what the page carries; `false` when a packet gets too long.
  private mutating func add(_ page: Page, of bytes: RawSpan) -> Bool {
    // A packet whose beginning or rest is missing is dropped.
    if !page.isContinued {
      open = []
      isOpen = true
    } else if !isOpen {
      open = []
    }
    var isUsable = isOpen
    var position = page.body.lowerBound
    for size in page.lacing {
      if isUsable { open += [UInt8](copying: bytes.extracting(position..<(position + Int(size)))) }
      guard open.count <= Self.maximumPacketByteCount else { return false }
      position += Int(size)
      guard size < 255 else { continue }
      if isUsable { packets.append(open) }
      open = []
      isUsable = true
    }
    isOpen = page.lacing.last == 255 && isUsable
    return true
  }

  private static func hasPrefix(_ bytes: RawSpan, _ magic: String) -> Bool {
    var offset = 0
    for byte in magic.utf8 {
      guard bytes.byte(at: offset) == byte else { return false }
      offset += 1
    }
    return true
  }
}

/// The checksum of Ogg pages: CRC-32 with the polynomial 0x04c11db7, most significant bit first, from 0 (RFC
/// 3533 §6).
enum OggChecksum {
  private static let table: [UInt32] = (0..<256).map { index in
    var value = UInt32(index) << 24
    for _ in 0..<8 { value = value << 1 ^ (value & 0x8000_0000 != 0 ? 0x04c1_1db7 : 0) }
    return value
  }

  /// The checksum of a page, its own four bytes (22 to 25) taken as zero.
  static func ofPage(_ page: RawSpan) -> UInt32 {
    let table = Self.table
    return page.withUnsafeBytes { memory in
      var value: UInt32 = 0
      for (offset, byte) in memory.enumerated() {
        let effective = (22..<26).contains(offset) ? 0 : byte
        value = value << 8 ^ table[Int(UInt8(truncatingIfNeeded: value >> 24) ^ effective)]
      }
      return value
    }
  }
}
