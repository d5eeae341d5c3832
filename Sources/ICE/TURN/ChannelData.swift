// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The number of a channel, 0x4000 to 0x4fff (RFC 8656 §12).
public struct ChannelNumber: RawRepresentable, Hashable, Sendable {
  /// The number on the wire.
  public let rawValue: UInt16

  /// Wraps a number, or gives `nil` where no channel may have it.
  public init?(rawValue: UInt16) {
    guard Self.range.contains(rawValue) else { return nil }
    self.rawValue = rawValue
  }

  /// The numbers that channels may have.
  public static let range: ClosedRange<UInt16> = 0x4000...0x4fff

  /// The first number.
  static let first = ChannelNumber(unchecked: range.lowerBound)

  /// The number after this one, the first after the last.
  var next: ChannelNumber { self.rawValue == Self.range.upperBound ? .first : .init(unchecked: rawValue + 1) }

  private init(unchecked: UInt16) { rawValue = unchecked }
}

/// A received ChannelData message: a view of borrowed bytes (RFC 8656 §12.4).
///
///      0                   1                   2                   3
///      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |         Channel Number        |            Length             |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |                       Application Data                        |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///
/// On streams padding to a multiple of four bytes follows, which the length does not count; in datagrams it may
/// be there or not.
public struct ChannelData: ~Escapable {
  /// Bytes before the payload.
  public static let headerByteCount = 4

  /// The channel.
  public let channel: ChannelNumber
  /// What the peer sent or will receive.
  public let payload: RawSpan

  /// Checks a message; what follows the length's worth of bytes is padding and not looked at.
  @_lifetime(copy bytes)
  public init(parsing bytes: RawSpan) throws(ParseError) {
    var reader = ByteReader(bytes)
    guard let channel = ChannelNumber(rawValue: try reader.readUInt16()) else {
      throw .invalid("channel number")
    }
    let length = Int(try reader.readUInt16())
    self.channel = channel
    payload = try reader.readBytes(length)
  }

  /// Whether the first byte belongs to ChannelData (RFC 8656 §12, RFC 7983 §7).
  public static func isChannelData(_ datagram: RawSpan) -> Bool {
    guard let first = datagram.byte(at: 0) else { return false }
    return first & 0xf0 == 0x40
  }

  /// Bytes of a message with this payload.
  public static func byteCount(payloadByteCount: Int, isPadded: Bool) -> Int {
    headerByteCount + (isPadded ? (payloadByteCount + 3) & ~3 : payloadByteCount)
  }

  /// The header as a number whose most significant byte comes first: for callers that left four bytes of
  /// headroom before a payload below 64 KiB.
  static func header(_ channel: ChannelNumber, payloadByteCount: Int) -> UInt32 {
    UInt32(channel.rawValue) << 16 | UInt32(UInt16(payloadByteCount))
  }

  /// Writes a message; the caller has made sure of the room and that the payload is below 64 KiB. Padding is
  /// written as zeros.
  @_lifetime(output: copy output)
  static func write(
    _ payload: RawSpan, channel: ChannelNumber, isPadded: Bool, into output: inout OutputRawSpan
  ) {
    output.write(header(channel, payloadByteCount: payload.byteCount))
    output.write(payload)
    if isPadded { output.writeZeros((4 - payload.byteCount & 3) & 3) }
  }
}
