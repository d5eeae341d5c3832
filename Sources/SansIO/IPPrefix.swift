// SPDX-License-Identifier: Apache-2.0

/// A range of IP addresses that share their first bits: `192.0.2.0/24`, `2001:db8::/32`.
public struct IPPrefix: Hashable, Sendable, LosslessStringConvertible {
  /// An address of the range, its other bits being 0.
  public let address: IPAddress
  /// How many bits are shared.
  public let bitCount: Int

  /// Makes a range of the first bits of an address; `nil` where the family has fewer.
  public init?(_ address: IPAddress, bitCount: Int) {
    guard (0...(address.family == .ipv4 ? 32 : 128)).contains(bitCount) else { return nil }
    self.address = Self.masked(address, bitCount: bitCount)
    self.bitCount = bitCount
  }

  /// Parses an address with or without `/` and a number of bits.
  public init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count <= 2, let address = IPAddress(String(parts[0])) else { return nil }
    guard parts.count == 2 else {
      self.init(address, bitCount: address.family == .ipv4 ? 32 : 128)
      return
    }
    guard let bitCount = Int(parts[1]) else { return nil }
    self.init(address, bitCount: bitCount)
  }

  /// The address and the number of bits.
  public var description: String { "\(address)/\(bitCount)" }

  /// Whether an address is in the range.
  public func contains(_ other: IPAddress) -> Bool {
    other.family == address.family && Self.masked(other, bitCount: bitCount) == address
  }

  private static func masked(_ address: IPAddress, bitCount: Int) -> IPAddress {
    switch address.family {
    case .ipv4:
      IPAddress(ipv4: address.ipv4Bits & UInt32(truncatingIfNeeded: ~UInt64(0) << UInt64(32 - bitCount)))
    case .ipv6:
      IPAddress(
        ipv6High: address.high & ~(UInt64.max >> UInt64(min(bitCount, 64))),
        low: address.low & ~(UInt64.max >> UInt64(max(bitCount - 64, 0))))
    }
  }
}
