// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// A decoder lost the picture and asks for a key frame (RFC 4585 §6.3.1).
public struct PictureLossIndication: Hashable, Sendable {
  /// Who asks.
  public var senderSSRC: SSRC
  /// The stream that it is about.
  public var mediaSSRC: SSRC

  static let format = 1

  /// Bytes on the wire.
  public static let byteCount = 12

  /// Makes an indication.
  public init(senderSSRC: SSRC, mediaSSRC: SSRC) {
    self.senderSSRC = senderSSRC
    self.mediaSSRC = mediaSSRC
  }

  init(parsing reader: inout ByteReader) throws(ParseError) {
    senderSSRC = SSRC(rawValue: try reader.readUInt32())
    mediaSSRC = SSRC(rawValue: try reader.readUInt32())
  }

  /// Writes the packet.
  public func write(into writer: inout ByteWriter) {
    RTCPHeader.write(
      count: Self.format, packetType: RTCPPacketType.payloadFeedback, byteCount: Self.byteCount, into: &writer
    )
    writer.write(senderSSRC.rawValue)
    writer.write(mediaSSRC.rawValue)
  }
}

/// A request for a key frame that must be answered, as mixers send it (RFC 5104 §4.3.1).
///
/// The streams stand in the entries; the media source of the feedback header is unused and 0.
public struct FullIntraRequest: Hashable, Sendable {
  /// A request to one stream.
  public struct Entry: Hashable, Sendable {
    /// The stream that shall send a key frame.
    public var ssrc: SSRC
    /// Counts requests; the same number again is a repetition and asks for nothing.
    public var sequenceNumber: UInt8

    /// Makes an entry.
    public init(ssrc: SSRC, sequenceNumber: UInt8) {
      self.ssrc = ssrc
      self.sequenceNumber = sequenceNumber
    }
  }

  /// Who asks.
  public var senderSSRC: SSRC
  /// The requests.
  public var entries: [Entry]

  static let format = 4

  /// Makes a request.
  public init(senderSSRC: SSRC, entries: [Entry]) {
    self.senderSSRC = senderSSRC
    self.entries = entries
  }

  init(parsing reader: inout ByteReader) throws(ParseError) {
    senderSSRC = SSRC(rawValue: try reader.readUInt32())
    try reader.skip(4)
    entries = []
    while reader.remaining >= 8 {
      let ssrc = SSRC(rawValue: try reader.readUInt32())
      entries.append(Entry(ssrc: ssrc, sequenceNumber: try reader.readUInt8()))
      try reader.skip(3)
    }
  }

  /// Bytes on the wire.
  public var byteCount: Int { 12 + 8 * entries.count }

  /// Writes the packet.
  public func write(into writer: inout ByteWriter) {
    RTCPHeader.write(
      count: Self.format, packetType: RTCPPacketType.payloadFeedback, byteCount: byteCount, into: &writer)
    writer.write(senderSSRC.rawValue)
    writer.writeZeros(4)
    for entry in entries {
      writer.write(entry.ssrc.rawValue)
      writer.write(entry.sequenceNumber)
      writer.writeZeros(3)
    }
  }
}

/// A receiver's estimate of what the way to it can carry (REMB, draft-alvestrand-rmcat-remb-03 §2.2).
public struct ReceiverEstimatedMaximumBitrate: Hashable, Sendable {
  /// Who estimates.
  public var senderSSRC: SSRC
  /// The estimate for all streams together.
  public var bitrateBitsPerSecond: UInt64
  /// The streams that it covers.
  public var sources: [SSRC]

  static let format = 15
  /// "REMB" in ASCII: other messages of the application layer share the format number.
  static let identifier: UInt32 = 0x5245_4d42

  init(parsing reader: inout ByteReader) throws(ParseError) {
    senderSSRC = SSRC(rawValue: try reader.readUInt32())
    try reader.skip(4)
    guard try reader.readUInt32() == Self.identifier else { throw .invalid("REMB identifier") }
    let sourceCount = Int(try reader.readUInt8())
    let bits = try reader.readUInt24()
    let (exponent, mantissa) = (bits >> 18, UInt64(bits & 0x3_ffff))
    // 18 bits shifted by up to 63: what does not fit in 64 bits is "no limit".
    bitrateBitsPerSecond =
      mantissa.leadingZeroBitCount >= Int(exponent) || mantissa == 0 ? mantissa << UInt64(exponent) : .max
    guard reader.remaining >= 4 * sourceCount else { throw .truncated }
    sources = []
    for _ in 0..<sourceCount { sources.append(SSRC(rawValue: try reader.readUInt32())) }
  }
}
