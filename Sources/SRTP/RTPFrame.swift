// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// What SRTP has to know of an RTP packet's header (RFC 3550 §5.1).
struct RTPFrame {
  /// Fixed part, CSRC list and extension: what stays in the clear.
  let headerByteCount: Int
  let sequenceNumber: UInt16
  let ssrc: UInt32

  /// Reads the header of a packet whose last `trailerByteCount` bytes are not RTP.
  init(parsing packet: RawSpan, trailerByteCount: Int) throws(SRTPError) {
    let limit = packet.byteCount - trailerByteCount
    guard limit >= 12 else { throw .truncated }
    var reader = ByteReader(packet)
    do throws(ParseError) {
      let first = try reader.readUInt8()
      guard first >> 6 == 2 else { throw .invalid("RTP version") }
      try reader.skip(1)
      sequenceNumber = try reader.readUInt16()
      try reader.skip(4)
      ssrc = try reader.readUInt32()
      try reader.skip(4 * Int(first & 0x0f))
      if first & 0x10 != 0 {
        try reader.skip(2)
        try reader.skip(4 * Int(try reader.readUInt16()))
      }
    } catch .truncated {
      throw .truncated
    } catch {
      throw .malformed
    }
    headerByteCount = reader.offset
    guard headerByteCount <= limit else { throw .truncated }
  }
}
