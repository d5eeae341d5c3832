// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// FORWARD-TSN and I-FORWARD-TSN (RFC 3758 §3.2, RFC 8260 §2.3.1): the sender gave up what stands before a
/// TSN, so the receiver shall not wait for it, nor for the named messages of ordered streams.
///
/// ```
/// +---------------------------------------------------------------+
/// |                     new cumulative TSN                        |
/// +-------------------------------+-------------------------------+
/// |           stream id           |   SSN, or reserved and U bit  |  ...
/// +-------------------------------+-------------------------------+
/// |        message identifier (I-FORWARD-TSN only)                |  ...
/// ```
struct ForwardTSN: Hashable {
  /// The last message of a stream that was given up.
  struct Skipped: Hashable {
    var stream: StreamID
    var isUnordered: Bool
    var messageID: UInt32
  }

  var cumulativeTSN: UInt32
  var skipped: [Skipped]
  var isInterleaved: Bool

  init(cumulativeTSN: UInt32, skipped: [Skipped], isInterleaved: Bool) {
    self.cumulativeTSN = cumulativeTSN
    self.skipped = skipped
    self.isInterleaved = isInterleaved
  }

  init(parsing reader: inout ByteReader, isInterleaved: Bool) throws(ParseError) {
    self.isInterleaved = isInterleaved
    cumulativeTSN = try reader.readUInt32()
    skipped = []
    while !reader.isAtEnd {
      let stream = StreamID(rawValue: try reader.readUInt16())
      let word = try reader.readUInt16()
      let messageID = isInterleaved ? try reader.readUInt32() : UInt32(word)
      skipped.append(
        Skipped(stream: stream, isUnordered: isInterleaved && word & 1 == 1, messageID: messageID))
    }
  }

  /// How many streams fit a packet of this size beside a SACK.
  static func skippedCountMax(packetByteCount: Int) -> Int { (packetByteCount - 64) / 8 }

  /// The whole chunk.
  func array() -> [UInt8] {
    let value = [UInt8](writing: 4 + 8 * skipped.count) { writer in
      writer.write(cumulativeTSN)
      for entry in skipped {
        writer.write(entry.stream.rawValue)
        writer.write(
          isInterleaved ? (entry.isUnordered ? 1 : 0) : UInt16(truncatingIfNeeded: entry.messageID))
        if isInterleaved { writer.write(entry.messageID) }
      }
    }
    return Chunk.array(isInterleaved ? .interleavedForwardTSN : .forwardTSN, value: value)
  }
}
