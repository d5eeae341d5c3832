// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Packets on a TCP connection: each behind its length in two bytes (RFC 4571 §2, RFC 6544 §10.1).
///
///      0                   1                   2                   3
///      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///     |             LENGTH            |  STUN, DTLS, RTP or RTCP ...  |
///     +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
///
/// It keeps the beginning of one unfinished packet, at most 65,537 bytes.
struct PacketFraming {
  private var received = ByteBuffer()

  /// How many bytes wait for the rest of their packet, or to be taken.
  var bufferedByteCount: Int { received.readableBytes }

  /// Takes the next bytes of the stream. All packets are to be taken by ``next()`` before the next call.
  mutating func append(_ bytes: ByteBuffer) {
    if received.readableBytes == 0 {
      received = bytes
    } else {
      received.discardReadBytes()
      received.writeImmutableBuffer(bytes)
    }
  }

  /// The next whole packet, or `nil` until more bytes came. Empty ones, which RFC 4571 allows, are skipped.
  mutating func next() -> ByteBuffer? {
    while let length = received.getInteger(at: received.readerIndex, as: UInt16.self) {
      guard received.readableBytes >= 2 + Int(length) else { return nil }
      received.moveReaderIndex(forwardBy: 2)
      if let packet = received.readSlice(length: Int(length)), length > 0 { return packet }
    }
    return nil
  }

  /// Puts the length before each packet of a burst; all have `segmentByteCount` bytes but the last.
  static func framed(
    _ burst: ByteBuffer, segmentByteCount: Int, allocator: ByteBufferAllocator
  ) -> ByteBuffer {
    var rest = burst
    let count = (burst.readableBytes + segmentByteCount - 1) / segmentByteCount
    var stream = allocator.buffer(capacity: burst.readableBytes + 2 * count)
    while let packet = rest.readSlice(length: min(segmentByteCount, rest.readableBytes)),
      packet.readableBytes > 0
    {
      stream.writeInteger(UInt16(packet.readableBytes))
      stream.writeImmutableBuffer(packet)
    }
    return stream
  }
}
