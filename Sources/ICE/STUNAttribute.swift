// SPDX-License-Identifier: Apache-2.0

import SansIO

/// The type of a STUN attribute (RFC 8489 §18.3).
public struct STUNAttributeType: RawRepresentable, Hashable, Sendable {
  /// The number on the wire.
  public let rawValue: UInt16

  /// Wraps a number from the wire.
  public init(rawValue: UInt16) { self.rawValue = rawValue }

  /// Whether a receiver that does not know the type has to refuse the message (RFC 8489 §14).
  public var isComprehensionRequired: Bool { rawValue < 0x8000 }

  /// USERNAME, RFC 8489 §14.3.
  public static let username = STUNAttributeType(rawValue: 0x0006)
  /// MESSAGE-INTEGRITY, RFC 8489 §14.5.
  public static let messageIntegrity = STUNAttributeType(rawValue: 0x0008)
  /// ERROR-CODE, RFC 8489 §14.8.
  public static let errorCode = STUNAttributeType(rawValue: 0x0009)
  /// UNKNOWN-ATTRIBUTES, RFC 8489 §14.13.
  public static let unknownAttributes = STUNAttributeType(rawValue: 0x000a)
  /// MESSAGE-INTEGRITY-SHA256, RFC 8489 §14.6: understood as a name only, ICE does not use it.
  public static let messageIntegritySHA256 = STUNAttributeType(rawValue: 0x001c)
  /// XOR-MAPPED-ADDRESS, RFC 8489 §14.2.
  public static let xorMappedAddress = STUNAttributeType(rawValue: 0x0020)
  /// PRIORITY, RFC 8445 §16.1.
  public static let priority = STUNAttributeType(rawValue: 0x0024)
  /// USE-CANDIDATE, RFC 8445 §16.1.
  public static let useCandidate = STUNAttributeType(rawValue: 0x0025)
  /// SOFTWARE, RFC 8489 §14.14.
  public static let software = STUNAttributeType(rawValue: 0x8022)
  /// FINGERPRINT, RFC 8489 §14.7.
  public static let fingerprint = STUNAttributeType(rawValue: 0x8028)
  /// ICE-CONTROLLED, RFC 8445 §16.1.
  public static let iceControlled = STUNAttributeType(rawValue: 0x8029)
  /// ICE-CONTROLLING, RFC 8445 §16.1.
  public static let iceControlling = STUNAttributeType(rawValue: 0x802a)

  /// The comprehension-required attributes that a Binding transaction of ICE may carry.
  static let knownToICE: Set<STUNAttributeType> = [
    .username, .messageIntegrity, .errorCode, .unknownAttributes, .messageIntegritySHA256, .xorMappedAddress,
    .priority, .useCandidate,
  ]
}

/// The error codes of STUN and ICE that we send or act upon (RFC 8489 §14.8, RFC 8445 §7.3.1.1).
public struct STUNErrorCode: RawRepresentable, Hashable, Sendable {
  /// 300 to 699.
  public let rawValue: UInt16

  /// Wraps a code.
  public init(rawValue: UInt16) { self.rawValue = rawValue }

  /// The request was malformed or lacks what authenticates it.
  public static let badRequest = STUNErrorCode(rawValue: 400)
  /// The user name or the MESSAGE-INTEGRITY is wrong.
  public static let unauthenticated = STUNErrorCode(rawValue: 401)
  /// The request held a comprehension-required attribute that is not known.
  public static let unknownAttribute = STUNErrorCode(rawValue: 420)
  /// Both agents claim the same role.
  public static let roleConflict = STUNErrorCode(rawValue: 487)

  /// The reason phrase that goes with the code on the wire.
  var reasonPhrase: String {
    switch self {
    case .badRequest: "Bad Request"
    case .unauthenticated: "Unauthenticated"
    case .unknownAttribute: "Unknown Attribute"
    case .roleConflict: "Role Conflict"
    default: turnReasonPhrase
    }
  }
}

/// The coding of addresses in STUN attributes, XORed with magic cookie and transaction id (RFC 8489 §14.2).
///
///      0                   1                   2                   3
///      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |0 0 0 0 0 0 0 0|    Family     |         X-Port                |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |                X-Address (Variable)                           |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
enum STUNXORAddress {
  /// Bytes of the longest value, an IPv6 address.
  static let byteCountMax = 20

  /// Reads the value of XOR-MAPPED-ADDRESS and its like.
  static func parse(_ value: RawSpan, transactionID: STUNTransactionID) throws(ParseError) -> TransportAddress
  {
    var reader = ByteReader(value)
    try reader.skip(1)
    let family = try reader.readUInt8()
    let port = try reader.readUInt16() ^ UInt16(STUNMessage.magicCookie >> 16)
    switch (family, reader.remaining) {
    case (1, 4):
      let bits = try reader.readUInt32() ^ STUNMessage.magicCookie
      return TransportAddress(ip: IPAddress(ipv4: bits), port: port)
    case (2, 16):
      let high = try reader.readUInt64() ^ transactionID.ipv6MaskHigh
      let low = try reader.readUInt64() ^ transactionID.ipv6MaskLow
      return TransportAddress(ip: IPAddress(ipv6High: high, low: low), port: port)
    default:
      throw .invalid("address family")
    }
  }

  /// Reads the value of an attribute of the same form that is not XORed (RFC 8489 §14.1).
  static func parsePlain(_ value: RawSpan) throws(ParseError) -> TransportAddress {
    var reader = ByteReader(value)
    try reader.skip(1)
    let family = try reader.readUInt8()
    let port = try reader.readUInt16()
    switch (family, reader.remaining) {
    case (1, 4): return TransportAddress(ip: IPAddress(ipv4: try reader.readUInt32()), port: port)
    case (2, 16):
      let high = try reader.readUInt64()
      return TransportAddress(ip: IPAddress(ipv6High: high, low: try reader.readUInt64()), port: port)
    default: throw .invalid("address family")
    }
  }

  /// Writes the value of XOR-MAPPED-ADDRESS and its like.
  @_lifetime(writer: copy writer)
  static func write(
    _ address: TransportAddress, transactionID: STUNTransactionID, into writer: inout ByteWriter
  ) {
    writer.write(0 as UInt8)
    writer.write((address.ip.family == .ipv4 ? 1 : 2) as UInt8)
    writer.write(address.port ^ UInt16(STUNMessage.magicCookie >> 16))
    switch address.ip.family {
    case .ipv4:
      writer.write(address.ip.ipv4Bits ^ STUNMessage.magicCookie)
    case .ipv6:
      writer.write(address.ip.high ^ transactionID.ipv6MaskHigh)
      writer.write(address.ip.low ^ transactionID.ipv6MaskLow)
    }
  }
}
