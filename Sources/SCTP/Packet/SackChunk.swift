// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// A SACK, borrowed (RFC 9260 §3.3.4): everything up to the cumulative TSN arrived, and these blocks above it.
///
/// ```
/// +---------------------------------------------------------------+
/// |                      cumulative TSN ack                       |
/// +---------------------------------------------------------------+
/// |              advertised receiver window credit                |
/// +-------------------------------+-------------------------------+
/// |     number of gap blocks      |     number of duplicates      |
/// +-------------------------------+-------------------------------+
/// | start of a gap block, as offset from cumulative | its end     |  ...
/// +---------------------------------------------------------------+
/// |                        duplicate TSNs                         |  ...
/// ```
struct SackChunk: ~Escapable {
  /// Bytes of a SACK without blocks and duplicates, the chunk's header included.
  static let byteCountMin = 16

  let cumulativeTSN: UInt32
  let window: UInt32
  let duplicateCount: Int
  /// Pairs of 16-bit offsets.
  let gapBlocks: RawSpan

  @_lifetime(copy reader)
  init(parsing reader: inout ByteReader) throws(ParseError) {
    cumulativeTSN = try reader.readUInt32()
    window = try reader.readUInt32()
    let gapCount = Int(try reader.readUInt16())
    duplicateCount = Int(try reader.readUInt16())
    gapBlocks = try reader.readBytes(4 * gapCount)
    try reader.skip(4 * duplicateCount)
  }

  /// The blocks as TSNs, extended near the cumulative one. They have to ascend without touching (§3.3.4).
  static func forEachBlock(
    _ gapBlocks: RawSpan, after cumulative: Int64, _ body: (Int64, Int64) -> Void
  ) throws(ParseError) {
    var reader = ByteReader(gapBlocks)
    var previous: Int64 = 0
    while !reader.isAtEnd {
      let first = Int64(try reader.readUInt16())
      let last = Int64(try reader.readUInt16())
      guard first > previous, last >= first else { throw .invalid("gap block") }
      body(cumulative + first, cumulative + last)
      previous = last
    }
  }
}
