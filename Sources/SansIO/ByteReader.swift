// SPDX-License-Identifier: Apache-2.0

/// Why a parser gave up on a peer's bytes.
///
/// A core catches it, counts it by cause and drops the input; it never reaches an application.
public enum ParseError: Error, Hashable, Sendable {
  /// Fewer bytes than a length field or a fixed header asks for.
  case truncated
  /// A field holds a value that the specification forbids, or that we refuse; the text names the field.
  case invalid(Cause)

  /// A field that made a parser give up: a name from our code, never text from the input.
  public struct Cause: Hashable, Sendable, CustomStringConvertible, ExpressibleByStringLiteral {
    /// The name of the offending field.
    public let description: String
    /// Makes a cause from a literal.
    public init(stringLiteral value: StaticString) { description = value.description }
  }
}

/// A cursor over borrowed bytes in network byte order.
///
/// Every access is checked against the end of the bytes; running out throws ``ParseError/truncated`` and leaves
/// the cursor where it was. It allocates nothing and cannot outlive the bytes it reads.
public struct ByteReader: ~Escapable {
  /// All bytes, also those already read.
  public let bytes: RawSpan
  /// Offset of the next byte to be read.
  @usableFromInline var position: Int

  /// Starts reading at the first byte of `bytes`.
  @inlinable
  @_lifetime(copy bytes)
  public init(_ bytes: RawSpan) {
    self.bytes = bytes
    self.position = 0
  }

  /// Offset of the next byte to be read.
  @inlinable
  public var offset: Int { position }

  /// How many bytes are left.
  @inlinable
  public var remaining: Int { bytes.byteCount &- position }

  /// Whether all bytes have been read.
  @inlinable
  public var isAtEnd: Bool { position == bytes.byteCount }

  /// Reads one byte.
  @inlinable
  public mutating func readUInt8() throws(ParseError) -> UInt8 {
    guard remaining >= 1 else { throw .truncated }
    defer { position &+= 1 }
    return unsafe bytes.unsafeLoad(fromByteOffset: position, as: UInt8.self)
  }

  /// Reads two bytes.
  @inlinable
  public mutating func readUInt16() throws(ParseError) -> UInt16 {
    guard remaining >= 2 else { throw .truncated }
    defer { position &+= 2 }
    return unsafe UInt16(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: position, as: UInt16.self))
  }

  /// Reads three bytes.
  @inlinable
  public mutating func readUInt24() throws(ParseError) -> UInt32 {
    guard remaining >= 3 else { throw .truncated }
    let high = UInt32(try readUInt8())
    return high << 16 | UInt32(try readUInt16())
  }

  /// Reads four bytes.
  @inlinable
  public mutating func readUInt32() throws(ParseError) -> UInt32 {
    guard remaining >= 4 else { throw .truncated }
    defer { position &+= 4 }
    return unsafe UInt32(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: position, as: UInt32.self))
  }

  /// Reads eight bytes.
  @inlinable
  public mutating func readUInt64() throws(ParseError) -> UInt64 {
    guard remaining >= 8 else { throw .truncated }
    defer { position &+= 8 }
    return unsafe UInt64(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: position, as: UInt64.self))
  }

  /// Lends the next `count` bytes and steps over them.
  @inlinable
  @_lifetime(copy self)
  public mutating func readBytes(_ count: Int) throws(ParseError) -> RawSpan {
    guard count >= 0, remaining >= count else { throw .truncated }
    defer { position &+= count }
    return bytes.extracting(position..<(position &+ count))
  }

  /// Lends all bytes that are left and steps to the end.
  @inlinable
  @_lifetime(copy self)
  public mutating func readRest() -> RawSpan {
    defer { position = bytes.byteCount }
    return bytes.extracting(position..<bytes.byteCount)
  }

  /// Copies the next `count` bytes.
  @inlinable
  public mutating func readArray(_ count: Int) throws(ParseError) -> [UInt8] {
    [UInt8](copying: try readBytes(count))
  }

  /// Steps over `count` bytes.
  @inlinable
  public mutating func skip(_ count: Int) throws(ParseError) {
    guard count >= 0, remaining >= count else { throw .truncated }
    position &+= count
  }
}

extension RawSpan {
  /// The byte at `offset`, or `nil` past the end.
  @inlinable
  public func byte(at offset: Int) -> UInt8? {
    guard offset >= 0, offset < byteCount else { return nil }
    return unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
  }

  /// The eight bytes from `offset`, the first one least significant; traps past the end (checksum loops).
  @inlinable
  public func littleEndianWord(at offset: Int) -> UInt64 {
    unsafe UInt64(littleEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }

  /// Whether both spans hold the same bytes; takes a time that depends on the length alone (for digests).
  @inlinable
  public func isEqualInConstantTime(to other: RawSpan) -> Bool {
    guard byteCount == other.byteCount else { return false }
    var difference: UInt8 = 0
    for offset in 0..<byteCount {
      difference |=
        unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
        ^ other.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }
    return difference == 0
  }
}

extension [UInt8] {
  /// The array's bytes, borrowed.
  @inlinable
  public var rawSpan: RawSpan {
    @_lifetime(borrow self)
    get { unsafe span.bytes }
  }

  /// Appends borrowed bytes.
  @inlinable
  public mutating func append(copying bytes: RawSpan) {
    unsafe bytes.withUnsafeBytes { unsafe append(contentsOf: $0) }
  }

  /// Copies borrowed bytes to an array.
  @inlinable
  public init(copying bytes: RawSpan) {
    self = unsafe bytes.withUnsafeBytes { unsafe [UInt8]($0) }
  }
}
