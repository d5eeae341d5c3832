// SPDX-License-Identifier: Apache-2.0

import SansIO

/// The cyclic redundancy check of ITU V.42 that STUN's FINGERPRINT uses (RFC 8489 §14.7).
enum CRC32 {
  /// The remainder of each byte value for the reflected polynomial 0xedb88320.
  private static let table: [UInt32] = (0..<256).map { value in
    (0..<8).reduce(UInt32(value)) { remainder, _ in
      remainder & 1 == 0 ? remainder >> 1 : remainder >> 1 ^ 0xedb8_8320
    }
  }

  /// The checksum of all bytes.
  static func checksum(of bytes: RawSpan) -> UInt32 {
    let table = table
    var remainder = UInt32.max
    for offset in 0..<bytes.byteCount {
      let byte = bytes.byte(at: offset) ?? 0
      remainder = remainder >> 8 ^ table[Int((remainder ^ UInt32(byte)) & 0xff)]
    }
    return ~remainder
  }
}
