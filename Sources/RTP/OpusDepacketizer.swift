// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Takes Opus packets out of RTP payloads: each is a frame (RFC 7587 §4.2).
public struct OpusDepacketizer: Sendable {
  private var expectedSequence: Int64?

  /// Starts before the first packet of a stream.
  public init() {}

  /// Takes one payload.
  ///
  /// - Parameters:
  ///   - payload: without header and padding; an empty one only takes its place in the sequence.
  ///   - timestamp: as on the wire.
  ///   - sequence: the extended sequence number; payloads come in its order, gaps mean loss.
  ///   - now: when the packet arrived.
  /// - Returns: the packet, or `nil` for padding and for what comes too late.
  public mutating func push(
    payload: RawSpan, timestamp: UInt32, sequence: Int64, at now: Instant
  ) -> MediaFrame? {
    let lost = sequence - (expectedSequence ?? sequence)
    guard lost >= 0 else { return nil }
    guard !payload.isEmpty else {
      // The place of padding is no loss: what was lost before it is counted with the next packet.
      expectedSequence = (expectedSequence ?? sequence) + 1
      return nil
    }
    expectedSequence = sequence + 1
    return MediaFrame(
      bytes: [UInt8](copying: payload), timestamp: timestamp, isKeyFrame: true, receivedAt: now,
      firstSequence: sequence, lostPacketCount: Int(clamping: lost))
  }
}
