// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// An encoded frame cut into RTP payloads, once for all who watch it.
///
/// It never changes, so viewers and their retransmission histories on any thread share the one object; each of
/// them puts its own headers before the payloads and encrypts straight from here.
public final class PacketizedFrame: Sendable {
  /// All payloads, back to back.
  public let bytes: [UInt8]
  /// Where each packet's payload lies in ``bytes``, in sending order; at least one.
  public let packets: [Range<Int>]
  /// The frame's time since the stream began, in units of the payload's clock, wrapping. Each viewer adds its
  /// own random offset.
  public let timestamp: UInt32
  /// Whether a decoder can start here. Always true for audio.
  public let isKeyFrame: Bool
  /// When the frame was captured.
  public let captureTime: Instant
  /// Whether the last packet carries the marker bit: video yes, continuous audio no (RFC 7587 §4.1).
  public let marksLastPacket: Bool

  /// Collects payloads that are cut already. There must be at least one, and all must lie in `bytes`.
  public init(
    bytes: [UInt8], packets: [Range<Int>], timestamp: UInt32, isKeyFrame: Bool, captureTime: Instant,
    marksLastPacket: Bool = true
  ) {
    precondition(!packets.isEmpty, "a frame has at least one packet")
    precondition(
      packets.allSatisfy { $0.lowerBound >= 0 && $0.upperBound <= bytes.count },
      "a payload outside of the bytes")
    self.bytes = bytes
    self.packets = packets
    self.timestamp = timestamp
    self.isKeyFrame = isKeyFrame
    self.captureTime = captureTime
    self.marksLastPacket = marksLastPacket
  }

  /// How many packets the frame takes.
  @inlinable
  public var packetCount: Int { packets.count }

  /// Whether the packet at this index carries the marker bit.
  @inlinable
  public func hasMarker(at index: Int) -> Bool { marksLastPacket && index == packets.count - 1 }

  /// Lends one packet's payload.
  @inlinable
  public func withPayload<Result, E>(
    at index: Int, _ body: (RawSpan) throws(E) -> Result
  ) throws(E) -> Result {
    let bytes = bytes
    return try body(bytes.rawSpan.extracting(packets[index]))
  }
}

/// An encoded frame or audio packet as it came from the network.
public struct MediaFrame: Hashable, Sendable {
  /// The coded bytes: H.264 as an Annex-B access unit with four-byte start codes, Opus as one packet.
  public var bytes: [UInt8]
  /// The RTP timestamp on the wire, in units of the payload's clock, wrapping.
  public var timestamp: UInt32
  /// Whether a decoder can start here. Always true for audio.
  public var isKeyFrame: Bool
  /// When the packet that completed the frame arrived.
  public var receivedAt: Instant
  /// The extended sequence number of the frame's first packet.
  public var firstSequence: Int64
  /// How many packets before this frame never arrived since the frame handed out before it.
  public var lostPacketCount: Int

  /// Makes a frame.
  public init(
    bytes: [UInt8], timestamp: UInt32, isKeyFrame: Bool, receivedAt: Instant, firstSequence: Int64 = 0,
    lostPacketCount: Int = 0
  ) {
    self.bytes = bytes
    self.timestamp = timestamp
    self.isKeyFrame = isKeyFrame
    self.receivedAt = receivedAt
    self.firstSequence = firstSequence
    self.lostPacketCount = lostPacketCount
  }
}
