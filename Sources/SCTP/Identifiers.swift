// SPDX-License-Identifier: Apache-2.0

/// A stream of an association: each direction counts its messages by itself.
public struct StreamID: RawRepresentable, Hashable, Sendable, CustomStringConvertible,
  ExpressibleByIntegerLiteral
{
  /// The number on the wire.
  public let rawValue: UInt16
  /// Wraps a number.
  @inlinable
  public init(rawValue: UInt16) { self.rawValue = rawValue }
  /// Wraps a number that stands in the source.
  @inlinable
  public init(integerLiteral value: UInt16) { rawValue = value }
  /// The number, for logs.
  public var description: String { "\(rawValue)" }
}

/// What a message is, for whoever uses the association (RFC 9260 §3.3.1, "payload protocol identifier").
public struct PayloadProtocol: RawRepresentable, Hashable, Sendable {
  /// The number on the wire.
  public let rawValue: UInt32
  /// Wraps a number.
  @inlinable
  public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// Extends 32-bit numbers that wrap (TSN, request number) to 64 bits at the edge.
enum SerialNumber {
  /// The extended number nearest to `reference` whose low bits are `wire`.
  @inline(__always)
  static func extend(_ wire: UInt32, near reference: Int64) -> Int64 {
    reference &+ Int64(Int32(truncatingIfNeeded: wire &- UInt32(truncatingIfNeeded: reference)))
  }

  /// The same for the 16 bits of a stream sequence number.
  @inline(__always)
  static func extend16(_ wire: UInt32, near reference: Int64) -> Int64 {
    let low = UInt16(truncatingIfNeeded: wire) &- UInt16(truncatingIfNeeded: reference)
    return reference &+ Int64(Int16(truncatingIfNeeded: low))
  }
}
