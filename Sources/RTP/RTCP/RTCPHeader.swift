// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The packet types of RTCP that we name (RFC 3550 §12.1, RFC 4585 §6.1, RFC 3611 §2).
public enum RTCPPacketType {
  /// Sender report.
  public static let senderReport: UInt8 = 200
  /// Receiver report.
  public static let receiverReport: UInt8 = 201
  /// Source description.
  public static let sourceDescription: UInt8 = 202
  /// Goodbye.
  public static let goodbye: UInt8 = 203
  /// Transport-layer feedback: NACK is format 1, transport-wide congestion control 15.
  public static let transportFeedback: UInt8 = 205
  /// Payload-specific feedback: PLI is format 1, FIR 4, REMB 15.
  public static let payloadFeedback: UInt8 = 206
  /// Extended report.
  public static let extendedReport: UInt8 = 207
}

/// Bounds on the work that one RTCP datagram can cause.
public enum RTCPLimits {
  /// Bytes of a compound packet: an Ethernet frame's worth. Peers stay below, and what the longest one can hold
  /// bounds every list parsed from it.
  public static let compoundByteCountMax = 1500
  /// Bytes of the texts in source descriptions and goodbyes: their length is one byte.
  public static let textByteCountMax = 255
}

/// The four bytes that every RTCP packet begins with (RFC 3550 §6.4.1).
///
///     0                   1                   2                   3
///     |V=2|P|  count  |      PT       |       length in words - 1     |
struct RTCPHeader {
  static let byteCount = 4

  /// Report blocks, chunks, sources or the feedback format; 0 to 31.
  let count: UInt8
  let packetType: UInt8
  let hasPadding: Bool
  /// Bytes after the header, with padding.
  let bodyByteCount: Int

  init(parsing reader: inout ByteReader) throws(ParseError) {
    let first = try reader.readUInt8()
    guard first >> 6 == 2 else { throw .invalid("RTCP version") }
    count = first & 0x1f
    hasPadding = first & 0x20 != 0
    packetType = try reader.readUInt8()
    bodyByteCount = 4 * Int(try reader.readUInt16())
  }

  /// Writes a header without padding.
  ///
  /// - Parameter byteCount: bytes of the whole packet, a multiple of four.
  static func write(count: Int, packetType: UInt8, byteCount: Int, into writer: inout ByteWriter) {
    precondition((0...31).contains(count) && byteCount % 4 == 0, "unusable RTCP header")
    writer.write(0x80 | UInt8(count))
    writer.write(packetType)
    writer.write(UInt16(byteCount / 4 - 1))
  }
}

/// What can be told of a datagram before it is decrypted.
public enum RTCP {
  /// Whether a datagram of the RTP range is RTCP (RFC 5761 §4): its second byte is 192 to 223.
  @inlinable
  public static func isRTCP(_ datagram: RawSpan) -> Bool {
    guard let type = datagram.byte(at: 1) else { return false }
    return (192...223).contains(type)
  }
}
