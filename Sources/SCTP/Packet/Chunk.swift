// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// What a chunk is (RFC 9260 §3.2, table 1, and the registry that grew from it).
struct ChunkType: RawRepresentable, Hashable {
  let rawValue: UInt8
  init(rawValue: UInt8) { self.rawValue = rawValue }

  static let data = ChunkType(rawValue: 0)
  static let initiation = ChunkType(rawValue: 1)
  static let initiationAck = ChunkType(rawValue: 2)
  static let sack = ChunkType(rawValue: 3)
  static let heartbeat = ChunkType(rawValue: 4)
  static let heartbeatAck = ChunkType(rawValue: 5)
  static let abort = ChunkType(rawValue: 6)
  static let shutdown = ChunkType(rawValue: 7)
  static let shutdownAck = ChunkType(rawValue: 8)
  static let error = ChunkType(rawValue: 9)
  static let cookieEcho = ChunkType(rawValue: 10)
  static let cookieAck = ChunkType(rawValue: 11)
  /// ECNE and CWR, reserved by RFC 9260 Appendix B: ignored, but what follows them in a packet is not.
  static let congestionEcho = ChunkType(rawValue: 12)
  static let congestionWindowReduced = ChunkType(rawValue: 13)
  static let shutdownComplete = ChunkType(rawValue: 14)
  /// RFC 8260 §2.1.
  static let interleavedData = ChunkType(rawValue: 64)
  /// RFC 6525 §3.1.
  static let reconfiguration = ChunkType(rawValue: 130)
  /// RFC 3758 §3.2.
  static let forwardTSN = ChunkType(rawValue: 192)
  /// RFC 8260 §2.3.1.
  static let interleavedForwardTSN = ChunkType(rawValue: 194)

  /// RFC 9260 §6.10: no other chunk may be in its packet.
  var standsAlone: Bool { self == .initiation || self == .initiationAck || self == .shutdownComplete }
  /// Its cost may grow with what is under way.
  var isCostly: Bool {
    self == .sack || self == .forwardTSN || self == .interleavedForwardTSN || self == .reconfiguration
  }

  /// RFC 9260 §3.2: whoever does not know the type must drop the rest of the packet.
  var stopsWhenUnknown: Bool { rawValue & 0x80 == 0 }
  /// RFC 9260 §3.2: whoever does not know the type must say so in an ERROR.
  var isReportedWhenUnknown: Bool { rawValue & 0x40 != 0 }
}

/// One chunk of a packet, borrowed (RFC 9260 §3.2).
///
/// ```
/// +---------------+---------------+-------------------------------+
/// |     type      |     flags     |   length, these 4 bytes too   |
/// +---------------+---------------+-------------------------------+
/// |                    value, padded to 4 bytes                   |
/// ```
struct Chunk: ~Escapable {
  /// Bytes before a chunk's value.
  static let headerByteCount = 4

  let type: ChunkType
  let flags: UInt8
  /// Header and value without padding.
  let bytes: RawSpan
  /// What follows the chunk's header, without padding.
  let value: RawSpan

  /// Reads the next chunk; steps over its padding, which the last chunk of a packet may lack.
  @_lifetime(copy reader)
  init(parsing reader: inout ByteReader) throws(ParseError) {
    let (start, all) = (reader.offset, reader.bytes)
    type = ChunkType(rawValue: try reader.readUInt8())
    flags = try reader.readUInt8()
    let length = Int(try reader.readUInt16())
    guard length >= Self.headerByteCount else { throw .invalid("chunk length") }
    value = try reader.readBytes(length - Self.headerByteCount)
    bytes = all.extracting(start..<(start + length))
    try reader.skip(min(paddingByteCount(of: length), reader.remaining))
  }

  /// Writes a chunk's header with the length that its value will have.
  static func writeHeader(
    _ type: ChunkType, flags: UInt8 = 0, valueByteCount: Int, into writer: inout ByteWriter
  ) {
    writer.write(type.rawValue)
    writer.write(flags)
    writer.write(UInt16(truncatingIfNeeded: valueByteCount + headerByteCount))
  }

  /// A whole chunk with its padding, for what is sent rarely.
  static func array(_ type: ChunkType, flags: UInt8 = 0, value: [UInt8] = []) -> [UInt8] {
    [UInt8](writing: paddedByteCount(headerByteCount + value.count)) { writer in
      writeHeader(type, flags: flags, valueByteCount: value.count, into: &writer)
      writer.write(value)
      writer.writeZeros(paddingByteCount(of: value.count))
    }
  }
}

/// How many zero bytes follow `count` bytes up to a multiple of 4.
@inline(__always)
func paddingByteCount(of count: Int) -> Int { -count & 3 }

/// `count` rounded up to a multiple of 4.
@inline(__always)
func paddedByteCount(_ count: Int) -> Int { (count + 3) & ~3 }
