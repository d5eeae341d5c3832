// SPDX-License-Identifier: Apache-2.0

import FuzzInput

/// Packets as a peer would write them that knows the format and means no good.
enum SCTPWire {
  /// The chunk types that we know (RFC 9260, 8260, 6525, 3758), and one of each kind that we do not.
  private static let types: [UInt8] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 64, 130, 192, 194, 33, 99, 161, 227,
  ]

  /// A chunk of a type that exists, with a length that is right or lies.
  ///
  /// TSNs count from where the side that receives the chunk (`own`) and its peer began: no fuzzer guesses 32 bits.
  static func chunk(_ input: inout FuzzInput, own: UInt32, peer: UInt32) -> [UInt8] {
    let type = types[input.choice(of: types.count)]
    let flags = input.byte()
    var value = input.take(Int(input.byte()))
    switch type {
    case 0, 64, 192, 194: add(peer, to: &value, at: 0)
    case 3: add(own, to: &value, at: 0)
    case 130: add(peer, to: &value, at: 4)
    default: break
    }
    // Long payloads cost the fuzzer one byte each.
    if type == 0 || type == 64 { value += [UInt8](repeating: 0x55, count: 4 * Int(input.byte())) }
    let lie = input.byte()
    let length = UInt16(value.count + 4) &+ (lie < 250 ? 0 : UInt16(lie) &- 252)
    let padding = [UInt8](repeating: 0, count: -value.count & 3)
    return [type, flags, UInt8(length >> 8), UInt8(truncatingIfNeeded: length)] + value + padding
  }

  private static func add(_ number: UInt32, to value: inout [UInt8], at offset: Int) {
    guard value.count >= offset + 4 else { return }
    let sum = value[offset..<(offset + 4)].reduce(0) { $0 << 8 | UInt32($1) } &+ number
    for index in 0..<4 { value[offset + index] = UInt8(truncatingIfNeeded: sum >> (24 - 8 * UInt32(index))) }
  }

  /// The packet with its right checksum (CRC32c, RFC 9260 Appendix A).
  static func sealed(_ packet: [UInt8]) -> [UInt8] {
    guard packet.count >= 12 else { return packet }
    var packet = packet
    packet.replaceSubrange(8..<12, with: [0, 0, 0, 0])
    var remainder = ~UInt32(0)
    for byte in packet {
      remainder = remainder >> 8 ^ table[Int(UInt8(truncatingIfNeeded: remainder) ^ byte)]
    }
    for index in 0..<4 { packet[8 + index] = UInt8(truncatingIfNeeded: ~remainder >> (8 * UInt32(index))) }
    return packet
  }

  private static let table: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { sum, _ in sum & 1 == 1 ? sum >> 1 ^ 0x82f6_3b78 : sum >> 1 }
  }
}
