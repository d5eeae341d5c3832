// SPDX-License-Identifier: Apache-2.0

/// A DTLS-SRTP protection profile by its IANA number (RFC 5764 §4.1.2, RFC 7714 §14.2).
public enum SRTPProtectionProfile: UInt16, CaseIterable, Hashable, Sendable {
  /// AES-128 in counter mode with an HMAC-SHA1 tag of 80 bits: what every peer knows (RFC 8827 §6.5).
  case aes128CMHMACSHA1_80 = 0x0001
  /// AES-128 in Galois/counter mode: our first choice.
  case aeadAES128GCM = 0x0007
  /// AES-256 in Galois/counter mode.
  case aeadAES256GCM = 0x0008

  /// The name in the IANA registry.
  public var name: String {
    switch self {
    case .aes128CMHMACSHA1_80: "SRTP_AES128_CM_HMAC_SHA1_80"
    case .aeadAES128GCM: "SRTP_AEAD_AES_128_GCM"
    case .aeadAES256GCM: "SRTP_AEAD_AES_256_GCM"
    }
  }

  /// Bytes of a master key and of a session key.
  public var keyByteCount: Int { self == .aeadAES256GCM ? 32 : 16 }

  /// Bytes of a master salt and of a session salt.
  public var saltByteCount: Int { self == .aes128CMHMACSHA1_80 ? 14 : 12 }

  /// Bytes of what the DTLS exporter has to give: keys and salts of both sides (RFC 5764 §4.2).
  public var keyingMaterialByteCount: Int { 2 * (keyByteCount + saltByteCount) }

  /// Bytes of the authentication tag.
  public var tagByteCount: Int { self == .aes128CMHMACSHA1_80 ? 10 : 16 }

  /// By how many bytes protection makes an RTP packet longer.
  public var rtpOverheadByteCount: Int { tagByteCount }

  /// By how many bytes protection makes a compound RTCP packet longer: the tag, the E bit and the index.
  public var rtcpOverheadByteCount: Int { tagByteCount + 4 }
}
