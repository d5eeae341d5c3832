// SPDX-License-Identifier: Apache-2.0

/// An IPv4 or IPv6 address.
///
/// Sixteen bytes in two words, so that it hashes and compares without touching the heap.
public struct IPAddress: Hashable, Sendable {
  /// The two address families that we speak.
  public enum Family: UInt8, Hashable, Sendable {
    /// Version 4, 32 bits.
    case ipv4
    /// Version 6, 128 bits.
    case ipv6
  }

  /// The address family.
  public let family: Family
  /// The first eight bytes of an IPv6 address; 0 for IPv4.
  public let high: UInt64
  /// The last eight bytes of an IPv6 address, or an IPv4 address in the low 32 bits.
  public let low: UInt64
  /// The interface that a link-local IPv6 address belongs to (RFC 4007); 0 elsewhere.
  public let scopeID: UInt32

  /// An IPv4 address from its 32 bits, most significant first: `0x7f000001` is 127.0.0.1.
  @inlinable
  public init(ipv4 bits: UInt32) {
    family = .ipv4
    high = 0
    low = UInt64(bits)
    scopeID = 0
  }

  /// An IPv6 address from its two halves.
  @inlinable
  public init(ipv6High high: UInt64, low: UInt64, scopeID: UInt32 = 0) {
    family = .ipv6
    self.high = high
    self.low = low
    self.scopeID = scopeID
  }

  /// The 32 bits of an IPv4 address.
  @inlinable
  public var ipv4Bits: UInt32 { UInt32(truncatingIfNeeded: low) }

  /// Whether this is an address of the own host (127/8, ::1).
  @inlinable
  public var isLoopback: Bool {
    family == .ipv4 ? low >> 24 == 127 : high == 0 && low == 1
  }

  /// Whether this is "no address" (0.0.0.0, ::).
  @inlinable
  public var isUnspecified: Bool { high == 0 && low == 0 }

  /// Whether this addresses a group (224/4, ff00::/8) or the limited broadcast address.
  @inlinable
  public var isMulticastOrBroadcast: Bool {
    family == .ipv4 ? low >> 28 == 0xe || low == 0xffff_ffff : high >> 56 == 0xff
  }

  /// Whether this is valid on one link only (169.254/16, fe80::/10).
  @inlinable
  public var isLinkLocal: Bool {
    family == .ipv4 ? low >> 16 == 0xa9fe : high >> 54 == 0x3fa
  }

  /// Whether this is an IPv4 address in IPv6 clothes (::ffff:0:0/96, RFC 4291 §2.5.5.2).
  @inlinable
  public var isIPv4Mapped: Bool { family == .ipv6 && high == 0 && low >> 32 == 0xffff }
}

/// An IP address and a port: what RFC 8445 calls a transport address.
public struct TransportAddress: Hashable, Sendable, CustomStringConvertible {
  /// The IP address.
  public var ip: IPAddress
  /// The port, 0 to 65,535.
  public var port: UInt16

  /// Makes a transport address.
  @inlinable
  public init(ip: IPAddress, port: UInt16) {
    self.ip = ip
    self.port = port
  }

  /// `192.0.2.1:5000` or `[2001:db8::1]:5000`.
  public var description: String {
    ip.family == .ipv4 ? "\(ip):\(port)" : "[\(ip)]:\(port)"
  }
}

extension IPAddress: CustomStringConvertible, LosslessStringConvertible {
  /// The textual form; IPv6 as RFC 5952 wants it.
  public var description: String {
    switch family {
    case .ipv4: (0..<4).map { String(ipv4Bits >> (24 - 8 * $0) & 0xff) }.joined(separator: ".")
    case .ipv6: ipv6Description + (scopeID == 0 ? "" : "%\(scopeID)")
    }
  }

  private var groups: [UInt16] {
    (0..<8).map { UInt16(truncatingIfNeeded: ($0 < 4 ? high : low) >> (48 - 16 * ($0 % 4))) }
  }

  /// RFC 5952 §4: lower case, no leading zeros, the first longest run of two or more zero groups as `::`.
  private var ipv6Description: String {
    let groups = groups
    var (longestStart, longestCount) = (0, 1)
    var start = 0
    while start < 8 {
      let count = groups[start...].prefix { $0 == 0 }.count
      if count > longestCount { (longestStart, longestCount) = (start, count) }
      start += max(count, 1)
    }
    func text(_ part: ArraySlice<UInt16>) -> String {
      part.map { String($0, radix: 16) }.joined(separator: ":")
    }
    guard longestCount > 1 else { return text(groups[...]) }
    return text(groups[..<longestStart]) + "::" + text(groups[(longestStart + longestCount)...])
  }

  /// Parses the textual form of either family; no names, no ports, no brackets. `%` and a number set the scope.
  public init?(_ text: String) {
    if let bits = Self.parseIPv4(text[...]) {
      self.init(ipv4: bits)
    } else {
      let parts = text.split(separator: "%", omittingEmptySubsequences: false)
      guard parts.count <= 2, let groups = Self.parseIPv6(parts[0]) else { return nil }
      var scopeID: UInt32 = 0
      if parts.count == 2 {
        guard let number = UInt32(parts[1]) else { return nil }
        scopeID = number
      }
      let halves = [groups[..<4], groups[4...]].map { $0.reduce(UInt64(0)) { $0 << 16 | UInt64($1) } }
      self.init(ipv6High: halves[0], low: halves[1], scopeID: scopeID)
    }
  }

  private static func parseIPv4(_ text: Substring) -> UInt32? {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var bits: UInt32 = 0
    for part in parts {
      guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
        part.utf8.count == 1 || part.first != "0", let value = UInt8(part)
      else { return nil }
      bits = bits << 8 | UInt32(value)
    }
    return bits
  }

  private static func parseIPv6(_ text: Substring) -> [UInt16]? {
    guard text.utf8.count <= 45 else { return nil }
    func groups(_ part: Substring) -> [UInt16]? {
      guard !part.isEmpty else { return [] }
      let fields = part.split(separator: ":", omittingEmptySubsequences: false)
      var result: [UInt16] = []
      for (index, field) in fields.enumerated() {
        if index == fields.count - 1, field.contains("."), let bits = parseIPv4(field) {
          result += [UInt16(truncatingIfNeeded: bits >> 16), UInt16(truncatingIfNeeded: bits)]
        } else {
          guard (1...4).contains(field.utf8.count), field.utf8.allSatisfy({ $0 != 0x2b && $0 != 0x2d }),
            let value = UInt16(field, radix: 16)
          else { return nil }
          result.append(value)
        }
      }
      return result
    }
    guard let gap = firstDoubleColon(in: text) else {
      guard let all = groups(text), all.count == 8 else { return nil }
      return all
    }
    guard let before = groups(text[..<gap]), let after = groups(text[text.index(gap, offsetBy: 2)...]),
      !text[..<gap].contains("."), before.count + after.count <= 7
    else { return nil }
    return before + [UInt16](repeating: 0, count: 8 - before.count - after.count) + after
  }

  private static func firstDoubleColon(in text: Substring) -> Substring.Index? {
    text.indices.first { text[$0] == ":" && text[text.index(after: $0)...].first == ":" }
  }
}
