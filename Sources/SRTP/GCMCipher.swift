// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
internal import SansIO

/// AEAD_AES_128_GCM and AEAD_AES_256_GCM (RFC 7714). Used by one thread at a time: its owner cannot be copied.
final class GCMCipher: PacketCipher, @unchecked Sendable {
  private static let tagByteCount = 16
  private let handle: OpaquePointer
  /// The salt's first eight bytes and its last four.
  private let salt: (UInt64, UInt32)

  init(keys: SessionKeys, encrypts: Bool) throws(SRTPError) {
    let (key, salt) = (keys.key.unredacted, keys.salt.unredacted)
    guard salt.count == 12 else { throw .invalidKeyLength }
    guard let handle = co_gcm_new(key, key.count, encrypts ? 1 : 0) else { throw .cryptoFailed }
    self.handle = handle
    self.salt = (
      salt[..<8].reduce(0) { $0 << 8 | UInt64($1) }, salt[8...].reduce(0) { $0 << 8 | UInt32($1) }
    )
  }

  deinit { co_gcm_free(handle) }

  /// The nonce: 16 zero bits, SSRC, 48 bits of index, with the salt over it (RFC 7714 §8.1, §9.1).
  @inline(__always)
  private func nonce(at position: PacketPosition) -> (UInt64, UInt32) {
    let high = UInt64(position.ssrc) << 16 | position.index >> 32
    let low = UInt32(truncatingIfNeeded: position.index)
    return ((high ^ salt.0).bigEndian, (low ^ salt.1).bigEndian)
  }

  func sealRTP(
    _ packet: UnsafeMutablePointer<UInt8>, headerByteCount: Int, first: UnsafeRawBufferPointer,
    second: UnsafeRawBufferPointer, at position: PacketPosition
  ) -> Bool {
    withUnsafeBytes(of: nonce(at: position)) { nonce in
      co_gcm_seal(
        handle, nonce.bytes, packet, headerByteCount, nil, 0, first.bytes, first.count, second.bytes,
        second.count,
        packet + headerByteCount)
    } == 1
  }

  func openRTP(
    _ packet: UnsafeRawBufferPointer, headerByteCount: Int, at position: PacketPosition,
    into output: UnsafeMutablePointer<UInt8>
  ) -> Bool {
    guard let bytes = packet.bytes else { return false }
    return withUnsafeBytes(of: nonce(at: position)) { nonce in
      co_gcm_open(
        handle, nonce.bytes, bytes, headerByteCount, nil, 0, bytes + headerByteCount,
        packet.count - headerByteCount, output)
    } == 1
  }

  /// RFC 7714 §9.3: header, ciphertext with tag, index word; the associated data is the header and the index word.
  func sealRTCP(
    _ packet: UnsafeRawBufferPointer, at position: PacketPosition, into output: UnsafeMutablePointer<UInt8>
  ) -> Bool {
    guard let bytes = packet.bytes else { return false }
    let clear = SRTCPFrame.clearByteCount
    let isSealed = withUnsafeBytes(of: SRTCPFrame.indexWord(position).bigEndian) { word in
      output.update(from: bytes, count: clear)
      let end = UnsafeMutableRawPointer(output + packet.count + Self.tagByteCount)
      if let source = word.baseAddress { end.copyMemory(from: source, byteCount: word.count) }
      return withUnsafeBytes(of: nonce(at: position)) { nonce in
        co_gcm_seal(
          handle, nonce.bytes, bytes, clear, word.bytes, word.count, bytes + clear, packet.count - clear, nil,
          0,
          output + clear)
      }
    }
    return isSealed == 1
  }

  func openRTCP(
    _ packet: UnsafeRawBufferPointer, at position: PacketPosition, into output: UnsafeMutablePointer<UInt8>
  ) -> Bool {
    guard let bytes = packet.bytes else { return false }
    let clear = SRTCPFrame.clearByteCount
    let wordOffset = packet.count - SRTCPFrame.indexByteCount
    return withUnsafeBytes(of: nonce(at: position)) { nonce in
      co_gcm_open(
        handle, nonce.bytes, bytes, clear, bytes + wordOffset, SRTCPFrame.indexByteCount, bytes + clear,
        wordOffset - clear, output)
    } == 1
  }
}
