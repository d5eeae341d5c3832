// SPDX-License-Identifier: Apache-2.0

/// Where serialisers write: memory that the caller lends, filled in network byte order from its start.
///
/// Writing past the end is a mistake of ours and traps: serialisers ask `freeCapacity` first wherever the length
/// depends on anything that a peer controls.
public typealias ByteWriter = OutputRawSpan

extension OutputRawSpan {
  /// Appends one byte.
  @inlinable
  @_lifetime(self: copy self)
  public mutating func write(_ value: UInt8) { append(value) }

  /// Appends two bytes, most significant first.
  @inlinable
  @_lifetime(self: copy self)
  public mutating func write(_ value: UInt16) { unsafe append(value.bigEndian, as: UInt16.self) }

  /// Appends the low three bytes, most significant first.
  @inlinable
  @_lifetime(self: copy self)
  public mutating func writeUInt24(_ value: UInt32) {
    append(UInt8(truncatingIfNeeded: value >> 16))
    write(UInt16(truncatingIfNeeded: value))
  }

  /// Appends four bytes, most significant first.
  @inlinable
  @_lifetime(self: copy self)
  public mutating func write(_ value: UInt32) { unsafe append(value.bigEndian, as: UInt32.self) }

  /// Appends eight bytes, most significant first.
  @inlinable
  @_lifetime(self: copy self)
  public mutating func write(_ value: UInt64) { unsafe append(value.bigEndian, as: UInt64.self) }

  /// Appends borrowed bytes.
  @inlinable
  @_lifetime(self: copy self)
  public mutating func write(_ bytes: RawSpan) {
    precondition(freeCapacity >= bytes.byteCount, "lent memory is too small")
    unsafe bytes.withUnsafeBytes { source in
      unsafe withUnsafeMutableBytes { memory, initializedCount in
        guard let from = source.baseAddress, let to = memory.baseAddress else { return }
        unsafe (to + initializedCount).copyMemory(from: from, byteCount: source.count)
        initializedCount += source.count
      }
    }
  }

  /// Appends an array's bytes.
  @inlinable
  @_lifetime(self: copy self)
  public mutating func write(_ bytes: [UInt8]) { write(bytes.rawSpan) }

  /// Appends the text as UTF-8.
  @inlinable
  @_lifetime(self: copy self)
  public mutating func write(_ text: String) {
    for byte in text.utf8 { append(byte) }
  }

  /// Appends `count` zero bytes.
  @inlinable
  @_lifetime(self: copy self)
  public mutating func writeZeros(_ count: Int) {
    for _ in 0..<count { append(0 as UInt8) }
  }

  /// Overwrites two bytes written earlier, `offset` bytes from the start (length fields).
  @inlinable
  @_lifetime(self: copy self)
  public mutating func patch(_ value: UInt16, at offset: Int) {
    precondition(offset >= 0 && offset + 2 <= byteCount, "patch outside of what was written")
    unsafe withUnsafeMutableBytes { memory, _ in
      unsafe memory.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
    }
  }

  /// Overwrites four bytes written earlier, `offset` bytes from the start (checksums).
  @inlinable
  @_lifetime(self: copy self)
  public mutating func patch(_ value: UInt32, at offset: Int) {
    precondition(offset >= 0 && offset + 4 <= byteCount, "patch outside of what was written")
    unsafe withUnsafeMutableBytes { memory, _ in
      unsafe memory.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
    }
  }
}

extension [UInt8] {
  /// Makes an array of what `body` writes into at most `capacity` bytes.
  @inlinable
  public init<E>(
    writing capacity: Int, _ body: (inout OutputRawSpan) throws(E) -> Void
  ) throws(E) {
    self = try [UInt8](capacity: capacity) { (typed: inout OutputSpan<UInt8>) throws(E) in
      var failure: E?
      unsafe typed.withUnsafeMutableBufferPointer { buffer, initializedCount in
        var raw = unsafe OutputRawSpan(buffer: UnsafeMutableRawBufferPointer(buffer), initializedCount: 0)
        do throws(E) { try body(&raw) } catch { failure = error }
        initializedCount = unsafe raw.finalize(for: UnsafeMutableRawBufferPointer(buffer))
      }
      if let failure { throw failure }
    }
  }
}
