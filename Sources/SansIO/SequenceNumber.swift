// SPDX-License-Identifier: Apache-2.0

/// A 16-bit RTP sequence number with serial order (RFC 1982, RFC 3550 §5.1).
///
/// It deliberately has no `<`: order on a circle is only defined relative to another number.
public struct SequenceNumber: RawRepresentable, Hashable, Sendable {
  /// The number on the wire.
  public let rawValue: UInt16

  /// Wraps a number from the wire.
  @inlinable
  public init(rawValue: UInt16) { self.rawValue = rawValue }

  /// The number after this one; 0 follows 65,535.
  @inlinable
  public var next: SequenceNumber { SequenceNumber(rawValue: rawValue &+ 1) }

  /// How far this number is after `other` on the shorter way round: -32,768 to 32,767.
  @inlinable
  public func distance(after other: SequenceNumber) -> Int {
    Int(Int16(truncatingIfNeeded: rawValue &- other.rawValue))
  }
}

/// Extends 16-bit sequence numbers to 64 bits at the edge, so that nothing inside ever wraps.
public struct SequenceExtender: Sendable {
  /// The highest extended number so far, `nil` before the first.
  public private(set) var highest: Int64?

  /// Starts without a reference.
  public init() {}

  /// The extended number nearest to the highest one so far, without taking note of it.
  ///
  /// The first number of a stream is placed at 65,536 + its value, so that late predecessors stay positive.
  @inlinable
  public func peek(_ number: SequenceNumber) -> Int64 {
    guard let highest else { return 65_536 + Int64(number.rawValue) }
    let reference = SequenceNumber(rawValue: UInt16(truncatingIfNeeded: highest))
    return highest + Int64(number.distance(after: reference))
  }

  /// Extends `number` and remembers it if it is the highest. Call it for authenticated packets only.
  public mutating func extend(_ number: SequenceNumber) -> Int64 {
    let extended = peek(number)
    if extended > highest ?? .min { highest = extended }
    return extended
  }
}
