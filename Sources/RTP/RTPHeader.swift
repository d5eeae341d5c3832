// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The header of an RTP packet (RFC 3550 §5.1).
///
///     0                   1                   2                   3
///     |V=2|P|X|  CC   |M|     PT      |       sequence number         |
///     |                           timestamp                           |
///     |                             SSRC                              |
///     |                     CSRC, CC times                            |
///     |  profile of the extension     |    its length in words        |   if X
///
/// Parsing allocates nothing: contributing sources and extension elements stay in the packet and are looked up
/// there by the offsets that the header keeps. Writing serves senders that do not mix: no contributing sources.
public struct RTPHeader: Hashable, Sendable {
  /// The marker bit: for video the last packet of a frame, for audio the first of a talk spurt.
  public var marker: Bool
  /// The payload type, 0 to 127.
  public var payloadType: UInt8
  /// The sequence number.
  public var sequenceNumber: SequenceNumber
  /// The timestamp in units of the payload's clock.
  public var timestamp: UInt32
  /// The stream that the packet belongs to.
  public var ssrc: SSRC
  /// How many contributing sources a parsed packet lists, 0 to 15.
  public private(set) var contributingSourceCount = 0
  /// The first 16 bits of a parsed packet's header extension; 0 where there is none.
  public private(set) var extensionProfile: UInt16 = 0
  /// Where the elements of a parsed packet's header extension lie in the packet; empty where there is none.
  public private(set) var extensionRange: Range<Int> = 0..<0

  /// Bytes of the fixed part.
  public static let fixedByteCount = 12

  /// Makes a header to send.
  ///
  /// - Parameter payloadType: 0 to 127; the eighth bit is cut off.
  public init(
    marker: Bool, payloadType: UInt8, sequenceNumber: SequenceNumber, timestamp: UInt32, ssrc: SSRC
  ) {
    self.marker = marker
    self.payloadType = payloadType & 0x7f
    self.sequenceNumber = sequenceNumber
    self.timestamp = timestamp
    self.ssrc = ssrc
  }

  /// Parses a decrypted packet and finds its payload; padding is taken off.
  ///
  /// - Throws: `ParseError.truncated` where the packet is shorter than its own lengths say, `.invalid` for
  ///   another version than 2 and for a padding length of 0 or beyond the payload.
  public static func parse(
    _ packet: RawSpan
  ) throws(ParseError) -> (header: RTPHeader, payload: Range<Int>) {
    var reader = ByteReader(packet)
    let first = try reader.readUInt8()
    guard first >> 6 == 2 else { throw .invalid("RTP version") }
    let second = try reader.readUInt8()
    var header = RTPHeader(
      marker: second & 0x80 != 0, payloadType: second,
      sequenceNumber: SequenceNumber(rawValue: try reader.readUInt16()),
      timestamp: try reader.readUInt32(), ssrc: SSRC(rawValue: try reader.readUInt32()))
    header.contributingSourceCount = Int(first & 0x0f)
    try reader.skip(4 * header.contributingSourceCount)
    if first & 0x10 != 0 {
      header.extensionProfile = try reader.readUInt16()
      let byteCount = 4 * Int(try reader.readUInt16())
      let start = reader.offset
      try reader.skip(byteCount)
      header.extensionRange = start..<(start + byteCount)
    }
    var end = packet.byteCount
    if first & 0x20 != 0 {
      guard let count = packet.byte(at: end - 1), count > 0, Int(count) <= reader.remaining else {
        throw .invalid("RTP padding")
      }
      end -= Int(count)
    }
    return (header, reader.offset..<end)
  }

  /// How many bytes the header takes with these extensions.
  @inlinable
  public func byteCount(with extensions: RTPHeaderExtensions = .none) -> Int {
    Self.fixedByteCount + extensions.bytes.count
  }

  /// Writes the header, without contributing sources and padding.
  @inlinable
  public func write(with extensions: RTPHeaderExtensions = .none, into writer: inout ByteWriter) {
    writer.write(UInt8(extensions.bytes.isEmpty ? 0x80 : 0x90))
    writer.write(UInt8(marker ? 0x80 : 0) | payloadType & 0x7f)
    writer.write(sequenceNumber.rawValue)
    writer.write(timestamp)
    writer.write(ssrc.rawValue)
    if !extensions.bytes.isEmpty { writer.write(extensions.bytes) }
  }

  /// The contributing sources of the packet that this header was parsed from.
  public func contributingSources(in packet: RawSpan) -> [SSRC] {
    var reader = ByteReader(packet)
    do throws(ParseError) {
      try reader.skip(Self.fixedByteCount)
      var sources: [SSRC] = []
      for _ in 0..<contributingSourceCount { sources.append(SSRC(rawValue: try reader.readUInt32())) }
      return sources
    } catch {
      return []
    }
  }

  /// Where the value of the extension element with this number lies in the packet that this header was parsed
  /// from; `nil` where there is none (RFC 8285).
  public func extensionElement(id: UInt8, in packet: RawSpan) -> Range<Int>? {
    var elements = RTPHeaderExtensionElements(
      profile: extensionProfile, range: extensionRange, packet: packet)
    while let element = elements.next() {
      if element.id == id { return element.value }
    }
    return nil
  }

  /// The text of an extension element, for the identifiers of RFC 8843 §15 (MID) and RFC 8852; `nil` where
  /// there is none or it is no UTF-8.
  public func extensionText(id: UInt8, in packet: RawSpan) -> String? {
    guard let range = extensionElement(id: id, in: packet) else { return nil }
    return String(validating: [UInt8](copying: packet.extracting(range)), as: UTF8.self)
  }
}
