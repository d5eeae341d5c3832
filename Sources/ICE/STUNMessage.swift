// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The four classes of STUN messages (RFC 8489 §5).
public enum STUNMessageClass: UInt16, Hashable, Sendable {
  /// Asks for a response.
  case request = 0
  /// Asks for none.
  case indication = 1
  /// Says that a request succeeded.
  case successResponse = 2
  /// Says why a request failed.
  case errorResponse = 3
}

/// The method of a STUN message (RFC 8489 §18.2), 12 bits.
public struct STUNMethod: RawRepresentable, Hashable, Sendable {
  /// The number on the wire, 0 to 0xfff.
  public let rawValue: UInt16

  /// Wraps a number; bits above the twelfth are cut off.
  public init(rawValue: UInt16) { self.rawValue = rawValue & 0xfff }

  /// Binding, the only method of ICE's connectivity checks.
  public static let binding = STUNMethod(rawValue: 1)
}

/// The 96 bits that tie a response to its request (RFC 8489 §5).
public struct STUNTransactionID: Hashable, Sendable {
  /// The first four bytes: a socket that many agents share finds the agent by them.
  public let prefix: UInt32
  /// The last eight bytes.
  public let suffix: UInt64

  /// Makes an id from its two parts.
  public init(prefix: UInt32, suffix: UInt64) {
    self.prefix = prefix
    self.suffix = suffix
  }

  /// What the first eight bytes of an IPv6 address are XORed with.
  var ipv6MaskHigh: UInt64 { UInt64(STUNMessage.magicCookie) << 32 | UInt64(prefix) }
  /// What the last eight bytes of an IPv6 address are XORed with.
  var ipv6MaskLow: UInt64 { suffix }
}

/// A received STUN message: a checked view of borrowed bytes (RFC 8489 §5).
///
///      0                   1                   2                   3
///      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |0 0|     STUN Message Type     |         Message Length        |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |                         Magic Cookie                          |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |                     Transaction ID (96 bits)                  |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///
/// The initialiser walks over all attributes once: every length lies inside the message, a FINGERPRINT is
/// last and right. Attributes that follow MESSAGE-INTEGRITY are invisible, because nothing protects them
/// (§14.5). Of several attributes of one type the first one counts (§14).
public struct STUNMessage: ~Escapable {
  /// The fixed value of the second word.
  public static let magicCookie: UInt32 = 0x2112_a442
  /// Bytes before the first attribute.
  public static let headerByteCount = 20
  /// The longest message that we write: RFC 8489 §6.1's limit for a path of unknown MTU over IPv4.
  public static let byteCountMax = 548
  /// What the FINGERPRINT's CRC is XORed with.
  static let fingerprintMask: UInt32 = 0x5354_554e
  /// Bytes of a MESSAGE-INTEGRITY attribute with its header.
  static let integrityByteCount = 24

  /// The whole message.
  public let bytes: RawSpan
  /// Request, indication or which kind of response.
  public let messageClass: STUNMessageClass
  /// What the message is about.
  public let method: STUNMethod
  /// What ties a response to its request.
  public let transactionID: STUNTransactionID
  /// Whether the message ends in a FINGERPRINT, which then is right.
  public let hasFingerprint: Bool
  /// Offset of the first byte that is not a visible attribute.
  private let attributesEnd: Int
  /// Offset of the first MESSAGE-INTEGRITY.
  private let integrityOffset: Int?

  /// Checks the structure of a message that fills `bytes` exactly.
  ///
  /// Throws where a length does not fit, the cookie or an integrity length is wrong, or the FINGERPRINT is
  /// wrong or not last.
  @_lifetime(copy bytes)
  public init(parsing bytes: RawSpan) throws(ParseError) {
    var reader = ByteReader(bytes)
    let type = try reader.readUInt16()
    let length = Int(try reader.readUInt16())
    let cookie = try reader.readUInt32()
    let prefix = try reader.readUInt32()
    let suffix = try reader.readUInt64()
    guard type & 0xc000 == 0 else { throw .invalid("message type") }
    guard cookie == Self.magicCookie else { throw .invalid("magic cookie") }
    guard length % 4 == 0 else { throw .invalid("message length") }
    guard length <= reader.remaining else { throw .truncated }
    guard length == reader.remaining else { throw .invalid("message length") }
    guard let messageClass = STUNMessageClass(rawValue: type >> 7 & 2 | type >> 4 & 1) else {
      throw .invalid("message type")
    }
    let layout = try Self.walk(&reader, over: bytes)
    self.bytes = bytes
    self.messageClass = messageClass
    method = STUNMethod(rawValue: type >> 2 & 0xf80 | type >> 1 & 0x70 | type & 0xf)
    transactionID = STUNTransactionID(prefix: prefix, suffix: suffix)
    integrityOffset = layout.integrityOffset
    hasFingerprint = layout.fingerprintOffset != nil
    attributesEnd = layout.integrityOffset ?? layout.fingerprintOffset ?? bytes.byteCount
  }

  private static func walk(
    _ reader: inout ByteReader, over bytes: RawSpan
  ) throws(ParseError) -> (integrityOffset: Int?, fingerprintOffset: Int?) {
    var integrityOffset: Int?
    while !reader.isAtEnd {
      let offset = reader.offset
      let type = STUNAttributeType(rawValue: try reader.readUInt16())
      let length = Int(try reader.readUInt16())
      if type == .fingerprint {
        guard length == 4, reader.remaining == 4 else { throw .invalid("fingerprint") }
        let expected = CRC32.checksum(of: bytes.extracting(0..<offset)) ^ fingerprintMask
        guard try reader.readUInt32() == expected else { throw .invalid("fingerprint") }
        return (integrityOffset, offset)
      }
      if type == .messageIntegrity, integrityOffset == nil {
        guard length == 20 else { throw .invalid("message integrity") }
        integrityOffset = offset
      }
      try reader.skip((length + 3) & ~3)
    }
    return (integrityOffset, nil)
  }

  /// Whether a MESSAGE-INTEGRITY is there, right or wrong.
  public var hasIntegrity: Bool { integrityOffset != nil }

  /// Whether the MESSAGE-INTEGRITY is there and was made with this key (RFC 8489 §14.5).
  public func isAuthentic(with key: STUNIntegrityKey) -> Bool {
    guard let integrityOffset else { return false }
    var text = [UInt8](copying: bytes.extracting(0..<integrityOffset))
    let length = integrityOffset - Self.headerByteCount + Self.integrityByteCount
    text[2] = UInt8(truncatingIfNeeded: length >> 8)
    text[3] = UInt8(truncatingIfNeeded: length)
    let claimed = bytes.extracting((integrityOffset + 4)..<(integrityOffset + Self.integrityByteCount))
    return key.authenticationCode(for: text).rawSpan.isEqualInConstantTime(to: claimed)
  }

  /// The value of the first visible attribute of a type, or of a later one, without padding.
  @_lifetime(copy self)
  public func value(of type: STUNAttributeType, occurrence: Int = 0) -> RawSpan? {
    var (offset, left) = (Self.headerByteCount, occurrence)
    while offset < attributesEnd {
      let (candidate, length) = attributeHeader(at: offset)
      if candidate == type {
        if left == 0 { return bytes.extracting((offset + 4)..<(offset + 4 + length)) }
        left -= 1
      }
      offset += 4 + (length + 3) & ~3
    }
    return nil
  }

  /// Visible comprehension-required attributes that are not in `known`, at most `limit` of them, in order.
  public func unknownRequiredAttributes(known: Set<STUNAttributeType>, limit: Int) -> [STUNAttributeType] {
    var result: [STUNAttributeType] = []
    var offset = Self.headerByteCount
    while offset < attributesEnd, result.count < limit {
      let (type, length) = attributeHeader(at: offset)
      if type.isComprehensionRequired, !known.contains(type), !result.contains(type) { result.append(type) }
      offset += 4 + (length + 3) & ~3
    }
    return result
  }

  private func attributeHeader(at offset: Int) -> (type: STUNAttributeType, length: Int) {
    func word(_ offset: Int) -> UInt16 {
      UInt16(bytes.byte(at: offset) ?? 0) << 8 | UInt16(bytes.byte(at: offset + 1) ?? 0)
    }
    return (STUNAttributeType(rawValue: word(offset)), Int(word(offset + 2)))
  }
}

extension STUNMessage {
  /// The bytes of USERNAME, RFC 8489 §14.3: at most 508 bytes, else as if absent.
  public var username: RawSpan? {
    @_lifetime(copy self)
    get {
      guard let value = value(of: .username), value.byteCount <= 508 else { return nil }
      return value
    }
  }

  /// PRIORITY, RFC 8445 §16.1; `nil` where absent or of a wrong length.
  public var priority: UInt32? {
    guard let value = value(of: .priority), value.byteCount == 4 else { return nil }
    var reader = ByteReader(value)
    return try? reader.readUInt32()
  }

  /// Whether USE-CANDIDATE is there, RFC 8445 §16.1.
  public var usesCandidate: Bool {
    guard value(of: .useCandidate) != nil else { return false }
    return true
  }

  /// The sender's tie-breaker where it claims the controlling role, RFC 8445 §16.1.
  public var controllingTieBreaker: UInt64? { tieBreaker(.iceControlling) }

  /// The sender's tie-breaker where it claims the controlled role, RFC 8445 §16.1.
  public var controlledTieBreaker: UInt64? { tieBreaker(.iceControlled) }

  private func tieBreaker(_ type: STUNAttributeType) -> UInt64? {
    guard let value = value(of: type), value.byteCount == 8 else { return nil }
    var reader = ByteReader(value)
    return try? reader.readUInt64()
  }

  /// XOR-MAPPED-ADDRESS, RFC 8489 §14.2; `nil` where absent or malformed.
  public var xorMappedAddress: TransportAddress? {
    guard let value = value(of: .xorMappedAddress) else { return nil }
    return try? STUNXORAddress.parse(value, transactionID: transactionID)
  }

  /// ERROR-CODE, RFC 8489 §14.8; `nil` where absent or outside 300...699.
  public var errorCode: STUNErrorCode? {
    guard let value = value(of: .errorCode), let hundreds = value.byte(at: 2), let rest = value.byte(at: 3),
      (3...6).contains(hundreds & 7), rest < 100
    else { return nil }
    return STUNErrorCode(rawValue: UInt16(hundreds & 7) * 100 + UInt16(rest))
  }
}
