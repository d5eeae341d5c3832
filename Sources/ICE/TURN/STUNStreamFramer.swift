// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Cuts the bytes of a TCP or TLS connection into STUN messages and ChannelData (RFC 8656 §12.5, RFC 8489 §6.2.2).
///
/// It belongs to one connection. It keeps what is left over of an unfinished frame, never more than
/// ``TURNLimits/streamByteCountMax`` bytes. When it throws, the two sides no longer agree where frames begin,
/// and the connection has to be closed.
public struct STUNStreamFramer: ~Copyable {
  private var buffer: [UInt8] = []
  private var readOffset = 0

  /// Starts at the beginning of a stream.
  public init() {}

  /// How many bytes wait for the rest of their frame, or to be taken.
  public var bufferedByteCount: Int { buffer.count - readOffset }

  /// Takes the next bytes of the stream. All frames are to be taken by ``next()`` before the next call.
  public mutating func append(_ bytes: RawSpan) throws(ParseError) {
    guard bufferedByteCount + bytes.byteCount <= TURNLimits.streamByteCountMax else {
      throw .invalid("stream backlog")
    }
    if bufferedByteCount == 0 {
      // The usual case: reads end where frames end, and the memory is used again.
      buffer.removeAll(keepingCapacity: true)
    } else {
      buffer.removeFirst(readOffset)
    }
    readOffset = 0
    unsafe bytes.withUnsafeBytes { unsafe buffer.append(contentsOf: $0) }
  }

  /// Lends the next whole frame without the padding of ChannelData, or gives `nil` until more bytes came.
  @_lifetime(&self)
  public mutating func next() throws(ParseError) -> RawSpan? {
    guard let frame = try Self.frame(at: readOffset, of: buffer) else { return nil }
    let start = readOffset
    readOffset += frame.paddedByteCount
    return buffer.rawSpan.extracting(start..<(start + frame.byteCount))
  }

  /// The length of the frame at an offset, if it is there in whole.
  private static func frame(
    at offset: Int, of buffer: [UInt8]
  ) throws(ParseError) -> (byteCount: Int, paddedByteCount: Int)? {
    let available = buffer.count - offset
    guard available > 0 else { return nil }
    let first = buffer[offset]
    guard first < 4 || first & 0xf0 == 0x40 else { throw .invalid("stream frame") }
    guard available >= 4 else { return nil }
    let length = Int(buffer[offset + 2]) << 8 | Int(buffer[offset + 3])
    guard first < 4 else {
      let paddedByteCount = ChannelData.byteCount(payloadByteCount: length, isPadded: true)
      return available >= paddedByteCount ? (ChannelData.headerByteCount + length, paddedByteCount) : nil
    }
    guard length % 4 == 0 else { throw .invalid("message length") }
    let cookie: [UInt8] = [0x21, 0x12, 0xa4, 0x42]
    guard zip(buffer[(offset + 4)...], cookie).allSatisfy(==) else { throw .invalid("magic cookie") }
    let byteCount = STUNMessage.headerByteCount + length
    return available >= byteCount ? (byteCount, byteCount) : nil
  }
}
