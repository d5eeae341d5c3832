// SPDX-License-Identifier: Apache-2.0

/// Where a packet is protected: which stream, which place in it.
struct PacketPosition {
  let ssrc: UInt32
  /// ROC and sequence number, 48 bits, for RTP; the 31-bit index for RTCP.
  let index: UInt64
}

/// One direction's transform under one session key, for RTP or for RTCP.
///
/// The memory behind the pointers is the caller's, who has checked all lengths; nothing is allocated. Functions
/// return false when the tag does not match or OpenSSL refuses.
protocol PacketCipher: AnyObject, Sendable {
  /// Encrypts `first` and `second`, one after the other, behind the header that stands at `packet` already, and
  /// appends the tag.
  func sealRTP(
    _ packet: UnsafeMutablePointer<UInt8>, headerByteCount: Int, first: UnsafeRawBufferPointer,
    second: UnsafeRawBufferPointer, at position: PacketPosition
  ) -> Bool

  /// Decrypts what is between header and tag to `output`, after the tag was found right.
  func openRTP(
    _ packet: UnsafeRawBufferPointer, headerByteCount: Int, at position: PacketPosition,
    into output: UnsafeMutablePointer<UInt8>
  ) -> Bool

  /// Writes the protected form of a compound packet of at least 8 bytes to `output`.
  func sealRTCP(
    _ packet: UnsafeRawBufferPointer, at position: PacketPosition, into output: UnsafeMutablePointer<UInt8>
  ) -> Bool

  /// Decrypts what follows the first 8 bytes to `output`, after the tag was found right. The index is the packet's.
  func openRTCP(
    _ packet: UnsafeRawBufferPointer, at position: PacketPosition, into output: UnsafeMutablePointer<UInt8>
  ) -> Bool
}

/// The parts of SRTCP's frame (RFC 3711 §3.4).
enum SRTCPFrame {
  /// The first header and the sender's SSRC stay in the clear.
  static let clearByteCount = 8
  /// The E bit and the index.
  static let indexByteCount = 4
  /// Set in the index word of an encrypted packet.
  static let encryptedFlag: UInt32 = 0x8000_0000
  /// The index word with the E bit set.
  static func indexWord(_ position: PacketPosition) -> UInt32 {
    encryptedFlag | UInt32(truncatingIfNeeded: position.index)
  }
}

/// Makes the transform of a profile.
func makePacketCipher(
  profile: SRTPProtectionProfile, keys: SessionKeys, encrypts: Bool
) throws(SRTPError) -> any PacketCipher {
  switch profile {
  case .aes128CMHMACSHA1_80: try CounterModeCipher(keys: keys)
  case .aeadAES128GCM, .aeadAES256GCM: try GCMCipher(keys: keys, encrypts: encrypts)
  }
}

extension UnsafeRawBufferPointer {
  /// The memory as C functions take it.
  var bytes: UnsafePointer<UInt8>? { baseAddress?.assumingMemoryBound(to: UInt8.self) }
}
