// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
internal import SansIO

/// AES128_CM_HMAC_SHA1_80 (RFC 3711 §4.1.1, §4.2.1). Used by one thread at a time: its owner cannot be copied.
final class CounterModeCipher: PacketCipher, @unchecked Sendable {
  private static let tagByteCount = 10
  private let cipher: OpaquePointer
  private let authenticator: OpaquePointer
  /// The salt, and two zero bytes where the block counter goes.
  private let salt: (UInt64, UInt64)

  init(keys: SessionKeys) throws(SRTPError) {
    let (key, salt) = (keys.key.unredacted, keys.salt.unredacted)
    let authenticationKey = keys.authenticationKey.unredacted
    guard salt.count == 14 else { throw .invalidKeyLength }
    guard let cipher = co_ctr_new(key, key.count) else { throw .cryptoFailed }
    guard let authenticator = co_hmac_sha1_new(authenticationKey, authenticationKey.count) else {
      co_ctr_free(cipher)
      throw .cryptoFailed
    }
    self.cipher = cipher
    self.authenticator = authenticator
    let (high, low) = (
      salt[..<8].reduce(0) { $0 << 8 | UInt64($1) }, salt[8...].reduce(0) { $0 << 8 | UInt64($1) }
    )
    self.salt = (high, low << 16)
  }

  deinit {
    co_ctr_free(cipher)
    co_hmac_sha1_free(authenticator)
  }

  /// The counter's start: salt * 2^16 xor SSRC * 2^64 xor index * 2^16 (RFC 3711 §4.1.1).
  @inline(__always)
  private func counter(at position: PacketPosition) -> (UInt64, UInt64) {
    ((salt.0 ^ UInt64(position.ssrc)).bigEndian, (salt.1 ^ position.index << 16).bigEndian)
  }

  /// Computes 20 bytes of which the first 10 are the tag, over `bytes` and the four bytes of `word`, if any.
  @inline(__always)
  private func tag(_ bytes: UnsafePointer<UInt8>, _ count: Int, word: UInt32?) -> (UInt64, UInt64, UInt32)? {
    var tag: (UInt64, UInt64, UInt32) = (0, 0, 0)
    let isMade = withUnsafeMutableBytes(of: &tag) { tag in
      withUnsafeBytes(of: (word ?? 0).bigEndian) { bytesOfWord in
        co_hmac_sha1_tag(
          authenticator, bytes, count, bytesOfWord.bytes, word == nil ? 0 : bytesOfWord.count, tag.bytes)
      }
    }
    return isMade == 1 ? tag : nil
  }

  private func apply(
    _ position: PacketPosition, _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer,
    to output: UnsafeMutablePointer<UInt8>
  ) -> Bool {
    withUnsafeBytes(of: counter(at: position)) { counter in
      co_ctr_apply(cipher, counter.bytes, first.bytes, first.count, second.bytes, second.count, output)
    } == 1
  }

  private func roc(_ position: PacketPosition) -> UInt32 { UInt32(truncatingIfNeeded: position.index >> 16) }

  /// RFC 3711 §4.2: the tag covers the packet and the roll-over counter.
  func sealRTP(
    _ packet: UnsafeMutablePointer<UInt8>, headerByteCount: Int, first: UnsafeRawBufferPointer,
    second: UnsafeRawBufferPointer, at position: PacketPosition
  ) -> Bool {
    let byteCount = headerByteCount + first.count + second.count
    guard apply(position, first, second, to: packet + headerByteCount),
      let tag = tag(packet, byteCount, word: roc(position))
    else { return false }
    store(tag, at: packet + byteCount)
    return true
  }

  func openRTP(
    _ packet: UnsafeRawBufferPointer, headerByteCount: Int, at position: PacketPosition,
    into output: UnsafeMutablePointer<UInt8>
  ) -> Bool {
    let byteCount = packet.count - Self.tagByteCount
    guard let bytes = packet.bytes, let tag = tag(bytes, byteCount, word: roc(position)),
      isEqual(tag, bytes + byteCount)
    else { return false }
    let text = UnsafeRawBufferPointer(rebasing: packet[headerByteCount..<byteCount])
    return apply(position, text, UnsafeRawBufferPointer(start: nil, count: 0), to: output)
  }

  /// RFC 3711 §3.4: header, ciphertext, index word, tag; the tag covers all before it.
  func sealRTCP(
    _ packet: UnsafeRawBufferPointer, at position: PacketPosition, into output: UnsafeMutablePointer<UInt8>
  ) -> Bool {
    guard let bytes = packet.bytes else { return false }
    let clear = SRTCPFrame.clearByteCount
    output.update(from: bytes, count: clear)
    let text = UnsafeRawBufferPointer(rebasing: packet[clear...])
    guard apply(position, text, UnsafeRawBufferPointer(start: nil, count: 0), to: output + clear) else {
      return false
    }
    UnsafeMutableRawPointer(output + packet.count).storeBytes(
      of: SRTCPFrame.indexWord(position).bigEndian, as: UInt32.self)
    let byteCount = packet.count + SRTCPFrame.indexByteCount
    guard let tag = tag(output, byteCount, word: nil) else { return false }
    store(tag, at: output + byteCount)
    return true
  }

  func openRTCP(
    _ packet: UnsafeRawBufferPointer, at position: PacketPosition, into output: UnsafeMutablePointer<UInt8>
  ) -> Bool {
    let byteCount = packet.count - Self.tagByteCount
    guard let bytes = packet.bytes, let tag = tag(bytes, byteCount, word: nil),
      isEqual(tag, bytes + byteCount)
    else {
      return false
    }
    let text = UnsafeRawBufferPointer(
      rebasing: packet[SRTCPFrame.clearByteCount..<(byteCount - SRTCPFrame.indexByteCount)])
    return apply(position, text, UnsafeRawBufferPointer(start: nil, count: 0), to: output)
  }

  private func store(_ tag: (UInt64, UInt64, UInt32), at end: UnsafeMutablePointer<UInt8>) {
    withUnsafeBytes(of: tag) { source in
      if let source = source.bytes { end.update(from: source, count: Self.tagByteCount) }
    }
  }

  private func isEqual(_ tag: (UInt64, UInt64, UInt32), _ bytes: UnsafePointer<UInt8>) -> Bool {
    withUnsafeBytes(of: tag) { co_is_equal($0.bytes, bytes, Self.tagByteCount) } == 1
  }
}

extension UnsafeMutableRawBufferPointer {
  /// The memory as C functions take it.
  var bytes: UnsafeMutablePointer<UInt8>? { baseAddress?.assumingMemoryBound(to: UInt8.self) }
}
