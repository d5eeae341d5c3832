// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Writes one STUN message, attribute by attribute (RFC 8489 §5, §14).
///
/// Padding bytes are 0. MESSAGE-INTEGRITY covers what was appended before it, FINGERPRINT closes the message.
public struct STUNMessageBuilder: Sendable {
  /// The message as far as it was written; its length field is always right.
  public private(set) var bytes: [UInt8]
  private let transactionID: STUNTransactionID
  private let byteCountMax: Int

  /// Starts a message without attributes that will have at most so many bytes.
  public init(
    _ messageClass: STUNMessageClass, _ method: STUNMethod = .binding, transactionID: STUNTransactionID,
    byteCountMax: Int = STUNMessage.byteCountMax
  ) {
    self.transactionID = transactionID
    self.byteCountMax = byteCountMax
    let (method, bits) = (method.rawValue, messageClass.rawValue)
    let methodBits = (method & 0xf80) << 2 | (method & 0x70) << 1 | method & 0xf
    bytes = [UInt8](writing: STUNMessage.headerByteCount) { writer in
      writer.write(methodBits | (bits & 2) << 7 | (bits & 1) << 4)
      writer.write(0 as UInt16)
      writer.write(STUNMessage.magicCookie)
      writer.write(transactionID.prefix)
      writer.write(transactionID.suffix)
    }
  }

  /// Appends an attribute with any value that fits into the message.
  public mutating func append(_ type: STUNAttributeType, _ value: [UInt8]) {
    let paddedByteCount = (value.count + 3) & ~3
    precondition(
      bytes.count + 4 + paddedByteCount <= byteCountMax, "a STUN message of ours is too long")
    appendUInt16(type.rawValue)
    appendUInt16(UInt16(value.count))
    bytes += value
    bytes += repeatElement(0, count: paddedByteCount - value.count)
    patchLength(bytes.count - STUNMessage.headerByteCount)
  }

  /// Appends an attribute whose value is text.
  public mutating func append(_ type: STUNAttributeType, _ text: String) { append(type, Array(text.utf8)) }

  /// Appends an attribute of four bytes.
  public mutating func append(_ type: STUNAttributeType, _ value: UInt32) {
    append(type, [UInt8](writing: 4) { $0.write(value) })
  }

  /// Appends an attribute of eight bytes.
  public mutating func append(_ type: STUNAttributeType, _ value: UInt64) {
    append(type, [UInt8](writing: 8) { $0.write(value) })
  }

  /// Appends XOR-MAPPED-ADDRESS or its like (RFC 8489 §14.2).
  public mutating func append(_ type: STUNAttributeType, _ address: TransportAddress) {
    let transactionID = transactionID
    append(
      type,
      [UInt8](writing: STUNXORAddress.byteCountMax) { writer in
        STUNXORAddress.write(address, transactionID: transactionID, into: &writer)
      })
  }

  /// Appends ERROR-CODE (RFC 8489 §14.8).
  public mutating func append(_ code: STUNErrorCode) {
    let digits = [0, 0, UInt8(code.rawValue / 100), UInt8(code.rawValue % 100)]
    append(.errorCode, digits + Array(code.reasonPhrase.utf8))
  }

  /// Appends UNKNOWN-ATTRIBUTES (RFC 8489 §14.13).
  public mutating func append(unknownAttributes types: [STUNAttributeType]) {
    append(
      .unknownAttributes,
      [UInt8](writing: 2 * types.count) { writer in
        for type in types { writer.write(type.rawValue) }
      })
  }

  /// Appends MESSAGE-INTEGRITY over everything before it (RFC 8489 §14.5).
  public mutating func appendIntegrity(with key: STUNIntegrityKey) {
    patchLength(bytes.count - STUNMessage.headerByteCount + STUNMessage.integrityByteCount)
    append(.messageIntegrity, key.authenticationCode(for: bytes))
  }

  /// Appends FINGERPRINT over everything before it (RFC 8489 §14.7). Nothing may follow.
  public mutating func appendFingerprint() {
    patchLength(bytes.count - STUNMessage.headerByteCount + 8)
    append(.fingerprint, CRC32.checksum(of: bytes.rawSpan) ^ STUNMessage.fingerprintMask)
  }

  private mutating func appendUInt16(_ value: UInt16) {
    bytes.append(UInt8(truncatingIfNeeded: value >> 8))
    bytes.append(UInt8(truncatingIfNeeded: value))
  }

  private mutating func patchLength(_ length: Int) {
    bytes[2] = UInt8(truncatingIfNeeded: length >> 8)
    bytes[3] = UInt8(truncatingIfNeeded: length)
  }
}
