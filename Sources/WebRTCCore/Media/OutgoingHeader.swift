// SPDX-License-Identifier: Apache-2.0

import RTP
import SansIO

/// The RTP header of a packet that leaves now (RFC 3550 §5.1), in memory of its own without touching the heap.
struct OutgoingHeader {
  /// Room for the fixed header and extensions of at most ``extensionByteCountMax`` bytes.
  private var storage = InlineArray<36, UInt8>(repeating: 0)
  let byteCount: Int

  /// Bytes of header extensions at most: an identification extension with a mid of 16 characters.
  static let extensionByteCountMax = 24

  init(_ header: RTPHeader, extensions: RTPHeaderExtensions = .none) {
    precondition(extensions.bytes.count <= Self.extensionByteCountMax, "an extension that does not fit")
    storage[0] = extensions.bytes.isEmpty ? 0x80 : 0x90
    storage[1] = (header.marker ? 0x80 : 0) | header.payloadType & 0x7f
    storage[2] = UInt8(truncatingIfNeeded: header.sequenceNumber.rawValue >> 8)
    storage[3] = UInt8(truncatingIfNeeded: header.sequenceNumber.rawValue)
    for index in 0..<4 {
      let shift = UInt32(24 - 8 * index)
      storage[4 + index] = UInt8(truncatingIfNeeded: header.timestamp >> shift)
      storage[8 + index] = UInt8(truncatingIfNeeded: header.ssrc.rawValue >> shift)
    }
    for index in extensions.bytes.indices { storage[12 + index] = extensions.bytes[index] }
    byteCount = 12 + extensions.bytes.count
  }

  var bytes: RawSpan {
    @_lifetime(borrow self)
    get { unsafe storage.span.bytes.extracting(first: byteCount) }
  }
}
