// SPDX-License-Identifier: Apache-2.0

import SansIO

/// What a socket that many agents share asks about a datagram before it knows whom the datagram is for.
///
/// Nothing here is authenticated: an answer says where to look, never whom to trust.
public enum STUNPeek {
  /// Whether a datagram looks like STUN: its first byte (RFC 7983 §7), length and magic cookie say so.
  public static func isSTUN(_ datagram: RawSpan) -> Bool {
    guard let first = datagram.byte(at: 0), first < 4, datagram.byteCount >= STUNMessage.headerByteCount
    else { return false }
    var reader = ByteReader(datagram)
    guard (try? reader.skip(2)) != nil, let length = try? reader.readUInt16(),
      let cookie = try? reader.readUInt32()
    else { return false }
    return cookie == STUNMessage.magicCookie && length % 4 == 0
      && Int(length) == datagram.byteCount - STUNMessage.headerByteCount
  }

  /// Whether the datagram is a request, and the first four bytes of its transaction id; `nil` for what is not
  /// STUN. What is no request is a response or an indication.
  public static func kind(of datagram: RawSpan) -> (isRequest: Bool, transactionPrefix: UInt32)? {
    guard isSTUN(datagram) else { return nil }
    var reader = ByteReader(datagram)
    guard let type = try? reader.readUInt16(), (try? reader.skip(6)) != nil,
      let prefix = try? reader.readUInt32()
    else { return nil }
    return (type & 0x0110 == 0, prefix)
  }

  /// The user fragment of the agent that a request is addressed to: USERNAME up to its colon
  /// (RFC 8445 §7.2.2). `nil` where there is none or it is longer than 256 bytes or no UTF-8.
  public static func localUsernameFragment(ofRequest datagram: RawSpan) -> String? {
    guard isSTUN(datagram) else { return nil }
    var reader = ByteReader(datagram)
    guard (try? reader.skip(STUNMessage.headerByteCount)) != nil else { return nil }
    while let type = try? reader.readUInt16(), let length = try? reader.readUInt16() {
      guard type == STUNAttributeType.username.rawValue else {
        guard type != STUNAttributeType.messageIntegrity.rawValue,
          (try? reader.skip((Int(length) + 3) & ~3)) != nil
        else { return nil }
        continue
      }
      guard length <= 508, let value = try? reader.readArray(Int(length)),
        let colon = value.firstIndex(of: 0x3a), (1...ICELimits.usernameFragmentByteCountMax).contains(colon)
      else { return nil }
      return String(validating: value[..<colon], as: UTF8.self)
    }
    return nil
  }
}
