// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// What a parameter is: of INIT and INIT ACK (RFC 9260 §3.3.2), of RE-CONFIG (RFC 6525 §4).
struct ParameterType: RawRepresentable, Hashable {
  let rawValue: UInt16
  init(rawValue: UInt16) { self.rawValue = rawValue }

  static let heartbeatInfo = ParameterType(rawValue: 1)
  static let ipv4Address = ParameterType(rawValue: 5)
  static let ipv6Address = ParameterType(rawValue: 6)
  static let stateCookie = ParameterType(rawValue: 7)
  static let unrecognized = ParameterType(rawValue: 8)
  static let cookiePreservative = ParameterType(rawValue: 9)
  static let supportedAddressTypes = ParameterType(rawValue: 12)
  static let outgoingReset = ParameterType(rawValue: 13)
  static let incomingReset = ParameterType(rawValue: 14)
  static let associationReset = ParameterType(rawValue: 15)
  static let reconfigurationResponse = ParameterType(rawValue: 16)
  static let addOutgoingStreams = ParameterType(rawValue: 17)
  static let addIncomingStreams = ParameterType(rawValue: 18)
  /// RFC 9653 §4.
  static let zeroChecksumAcceptable = ParameterType(rawValue: 0x8001)
  /// RFC 5061 §4.2.7.
  static let supportedExtensions = ParameterType(rawValue: 0x8008)
  /// RFC 3758 §3.1.
  static let forwardTSNSupported = ParameterType(rawValue: 0xc000)

  /// RFC 9260 §3.2.1: whoever does not know the type reads no further parameters.
  var stopsWhenUnknown: Bool { rawValue & 0x8000 == 0 }
  /// RFC 9260 §3.2.1: whoever does not know the type reports it.
  var isReportedWhenUnknown: Bool { rawValue & 0x4000 != 0 }
}

/// A parameter, borrowed: type, length with its own 4 bytes, value, padding (RFC 9260 §3.2.1).
struct Parameter: ~Escapable {
  static let headerByteCount = 4

  let type: ParameterType
  /// Header and value without padding.
  let bytes: RawSpan
  let value: RawSpan

  /// Reads the next parameter; the padding of the last one may be missing.
  @_lifetime(copy reader)
  init(parsing reader: inout ByteReader) throws(ParseError) {
    let (start, all) = (reader.offset, reader.bytes)
    type = ParameterType(rawValue: try reader.readUInt16())
    let length = Int(try reader.readUInt16())
    guard length >= Self.headerByteCount else { throw .invalid("parameter length") }
    value = try reader.readBytes(length - Self.headerByteCount)
    bytes = all.extracting(start..<(start + length))
    try reader.skip(min(paddingByteCount(of: length), reader.remaining))
  }

  /// A parameter with its padding.
  static func array(_ type: ParameterType, value: [UInt8] = []) -> [UInt8] {
    [UInt8](writing: paddedByteCount(headerByteCount + value.count)) { writer in
      writer.write(type.rawValue)
      writer.write(UInt16(truncatingIfNeeded: value.count + headerByteCount))
      writer.write(value)
      writer.writeZeros(paddingByteCount(of: value.count))
    }
  }
}
