// SPDX-License-Identifier: Apache-2.0

import SansIO

/// A cursor over the bits of a NAL unit that steps over emulation prevention bytes (H.264 §7.3.1, §7.2).
struct H264BitReader: ~Escapable {
  private let bytes: RawSpan
  private var position: Int
  private var zeroCount = 0
  private var current: UInt8 = 0
  private var bitsLeft = 0

  /// Starts at the byte after the NAL unit's header.
  @_lifetime(copy unit)
  init(afterHeaderOf unit: RawSpan) {
    bytes = unit
    position = 1
  }

  @_lifetime(self: copy self)
  mutating func readBit() throws(ParseError) -> UInt32 {
    if bitsLeft == 0 { try loadByte() }
    bitsLeft -= 1
    return UInt32(current >> UInt8(bitsLeft)) & 1
  }

  /// Reads at most 32 bits.
  @_lifetime(self: copy self)
  mutating func readBits(_ count: Int) throws(ParseError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<count { value = value << 1 | (try readBit()) }
    return value
  }

  /// ue(v), H.264 §9.1: at most 32 leading zeros, so that a hostile set cannot run away.
  @_lifetime(self: copy self)
  mutating func readUnsigned() throws(ParseError) -> UInt32 {
    var leadingZeroCount = 0
    while try readBit() == 0 {
      leadingZeroCount += 1
      guard leadingZeroCount < 32 else { throw .invalid("Exp-Golomb code") }
    }
    return (1 << UInt32(leadingZeroCount)) - 1 + (try readBits(leadingZeroCount))
  }

  /// se(v), H.264 §9.1.1.
  @_lifetime(self: copy self)
  mutating func readSigned() throws(ParseError) -> Int64 {
    let code = Int64(try readUnsigned())
    return code & 1 == 1 ? (code + 1) / 2 : -(code / 2)
  }

  @_lifetime(self: copy self)
  private mutating func loadByte() throws(ParseError) {
    guard var byte = bytes.byte(at: position) else { throw .truncated }
    position += 1
    if zeroCount >= 2, byte == 3 {
      guard let following = bytes.byte(at: position) else { throw .truncated }
      byte = following
      position += 1
      zeroCount = 0
    }
    zeroCount = byte == 0 ? zeroCount + 1 : 0
    current = byte
    bitsLeft = 8
  }
}
