// SPDX-License-Identifier: Apache-2.0

import NIOCore
import SansIO

/// The memory that cores write their bursts into: buffers used in turn and filled anew after each flush.
///
/// In steady state it allocates nothing. A buffer that still waits in a channel when its turn comes again
/// gets new memory by itself, because byte buffers are copied on write. Confined to the event loop.
struct BurstRing {
  /// Room for one burst of a connection: 48 packets of 1,200 bytes, which is what data channels send at a time.
  static let peerBurstByteCount = 57_600
  /// Room for one burst of anything else: ten packets of 1,200 bytes and their overhead.
  static let burstByteCount = 16_384
  /// Bursts between two flushes before memory is used again.
  static let burstsMax = 64

  private var buffers: [ByteBuffer] = []
  private var next = 0
  private let allocator = ByteBufferAllocator()

  /// Whether the next buffer is one that was filled since the last ``rewind()``.
  var isExhausted: Bool { next == Self.burstsMax }

  /// Starts over at the first buffer; call it after a flush.
  mutating func rewind() { next = 0 }

  /// Lends the next buffer and returns it, with what `body` returned, when `body` wrote something.
  mutating func fill<Result>(_ body: (inout OutputRawSpan) -> Result?) -> (ByteBuffer, Result)? {
    if next == Self.burstsMax { next = 0 }
    if next == buffers.count { buffers.append(allocator.buffer(capacity: Self.burstByteCount)) }
    buffers[next].clear(minimumCapacity: Self.burstByteCount)
    var result: Result?
    buffers[next].writeWithOutputRawSpan(minimumWritableBytes: Self.burstByteCount) { out in
      result = body(&out)
    }
    guard let result, buffers[next].readableBytes > 0 else { return nil }
    defer { next += 1 }
    return (buffers[next], result)
  }
}
