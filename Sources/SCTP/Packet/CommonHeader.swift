// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// The header of each SCTP packet (RFC 9260 §3.1).
///
/// ```
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-------------------------------+-------------------------------+
/// |          source port          |       destination port        |
/// +-------------------------------+-------------------------------+
/// |                       verification tag                        |
/// +---------------------------------------------------------------+
/// |              checksum (CRC32c, least significant byte first)  |
/// +---------------------------------------------------------------+
/// ```
struct CommonHeader: Hashable {
  /// Bytes on the wire.
  static let byteCount = 12
  /// Where the checksum stands.
  static let checksumOffset = 8

  var sourcePort: UInt16
  var destinationPort: UInt16
  /// The number that the receiver gave itself in the handshake; 0 in a packet that carries an INIT.
  var verificationTag: UInt32
  /// The checksum as the sum itself, in the machine's order; 0 may mean "not computed" (RFC 9653).
  var checksum: UInt32 = 0

  init(sourcePort: UInt16, destinationPort: UInt16, verificationTag: UInt32) {
    self.sourcePort = sourcePort
    self.destinationPort = destinationPort
    self.verificationTag = verificationTag
  }

  init(parsing reader: inout ByteReader) throws(ParseError) {
    sourcePort = try reader.readUInt16()
    destinationPort = try reader.readUInt16()
    verificationTag = try reader.readUInt32()
    checksum = try reader.readUInt32().byteSwapped
  }

  /// Writes the header with a checksum of zero; ``seal(_:from:)`` puts the sum in.
  func write(into writer: inout ByteWriter) {
    writer.write(sourcePort)
    writer.write(destinationPort)
    writer.write(verificationTag)
    writer.write(0 as UInt32)
  }

  /// Puts the checksum into the packet that begins at `start` and reaches to the end of what was written.
  static func seal(_ writer: inout ByteWriter, from start: Int) {
    let sum = Checksum.ofPacket(writer.bytes.extracting(start..<writer.byteCount))
    writer.patch(sum.byteSwapped, at: start + checksumOffset)
  }
}
