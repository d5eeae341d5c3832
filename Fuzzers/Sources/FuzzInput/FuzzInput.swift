// SPDX-License-Identifier: Apache-2.0

import SansIO

/// The fuzzer's bytes, read as choices: what is missing at the end reads as zero.
public struct FuzzInput {
  private let bytes: [UInt8]
  private var position = 0

  /// Copies what the fuzzer lent.
  public init(_ start: UnsafePointer<UInt8>?, _ count: Int) {
    bytes = Array(UnsafeBufferPointer(start: start, count: count))
  }

  /// Whether everything was read.
  public var isAtEnd: Bool { position >= bytes.count }

  /// The next byte.
  public mutating func byte() -> UInt8 {
    guard !isAtEnd else { return 0 }
    defer { position += 1 }
    return bytes[position]
  }

  /// The next two bytes, most significant first.
  public mutating func short() -> UInt16 { UInt16(byte()) << 8 | UInt16(byte()) }

  /// A choice below `count`.
  public mutating func choice(of count: Int) -> Int { Int(byte()) % count }

  /// The next bytes, fewer at the end.
  public mutating func take(_ count: Int) -> [UInt8] {
    let end = min(position + count, bytes.count)
    defer { position = end }
    return Array(bytes[position..<end])
  }

  /// All that is left.
  public mutating func rest() -> [UInt8] { take(bytes.count) }

  /// A block behind its two-byte length.
  public mutating func block() -> [UInt8] { take(Int(short()) % 1500) }

  /// Does to a message what a bad network or a bad peer does: alters, cuts, lengthens or repeats a part of it.
  public mutating func spoil(_ message: [UInt8]) -> [UInt8] {
    var message = message
    guard !message.isEmpty else { return take(choice(of: 64)) }
    let place = Int(short()) % message.count
    switch choice(of: 5) {
    case 0: message[place] ^= byte()
    case 1: message.removeSubrange(place...)
    case 2: message.insert(contentsOf: take(choice(of: 32)), at: place)
    case 3: message.replaceSubrange(place..<min(place + choice(of: 16), message.count), with: take(4))
    default: message += message[place...]
    }
    return message
  }
}

/// A documentation address (RFC 5737, RFC 3849) for a number.
public func fuzzAddress(_ number: UInt8, port: UInt16 = 4000, isIPv6: Bool = false) -> TransportAddress {
  let ip =
    isIPv6
    ? IPAddress(ipv6High: 0x2001_0db8_0000_0000, low: UInt64(number) + 2)
    : IPAddress(ipv4: 0xcb00_7100 | UInt32(number))
  return TransportAddress(ip: ip, port: port)
}
