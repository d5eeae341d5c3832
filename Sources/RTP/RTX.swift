// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Retransmission in a stream of its own (RFC 4588 §4): the payload begins with the original sequence number.
public enum RTXPacket {
  /// Bytes of the original sequence number (OSN).
  public static let prefixByteCount = 2

  /// Writes what stands before the original payload.
  @inlinable
  public static func writePrefix(originalSequenceNumber: SequenceNumber, into writer: inout ByteWriter) {
    writer.write(originalSequenceNumber.rawValue)
  }

  /// Puts what stands before the original payload into an array that is kept for it, so that no packet
  /// allocates.
  public static func replacePrefix(_ prefix: inout [UInt8], originalSequenceNumber: SequenceNumber) {
    prefix.removeAll(keepingCapacity: true)
    prefix.append(UInt8(originalSequenceNumber.rawValue >> 8))
    prefix.append(UInt8(truncatingIfNeeded: originalSequenceNumber.rawValue))
  }

  /// Restores the packet that was lost.
  ///
  /// - Parameters:
  ///   - header: the retransmission's header.
  ///   - payload: where its payload lies in `packet`.
  ///   - packet: the decrypted retransmission.
  ///   - originalPayloadType: the payload type that the retransmission's is associated with (`apt`).
  ///   - originalSSRC: the stream that the retransmission's belongs to (`FID`).
  /// - Returns: the lost packet's header and where its payload lies in `packet`; `nil` for an empty packet, with
  ///   which senders probe the bandwidth.
  /// - Throws: `ParseError.truncated` where not even the sequence number is there.
  public static func restore(
    header: RTPHeader, payload: Range<Int>, in packet: RawSpan, originalPayloadType: UInt8, originalSSRC: SSRC
  ) throws(ParseError) -> (header: RTPHeader, payload: Range<Int>)? {
    guard !payload.isEmpty else { return nil }
    guard payload.count >= prefixByteCount, payload.upperBound <= packet.byteCount else { throw .truncated }
    var reader = ByteReader(packet.extracting(payload))
    var original = header
    original.sequenceNumber = SequenceNumber(rawValue: try reader.readUInt16())
    original.payloadType = originalPayloadType & 0x7f
    original.ssrc = originalSSRC
    return (original, (payload.lowerBound + prefixByteCount)..<payload.upperBound)
  }
}
