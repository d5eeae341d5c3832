// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Puts Opus packets into RTP payloads: one each, unchanged (RFC 7587 §4.2).
public struct OpusPacketizer: Sendable {
  /// Makes a packetizer.
  public init() {}

  /// Wraps one Opus packet. The marker is never set: the sound is continuous, and only the first packet after a
  /// silence would carry it (RFC 7587 §4.1, RFC 3551 §4.1).
  ///
  /// - Parameters:
  ///   - packet: one Opus packet, not empty.
  ///   - timestamp: time since the stream began in units of 1/48,000 s, whatever the sample rate of the source.
  ///   - captureTime: when the packet's first sample was taken.
  public func packetize(packet: [UInt8], timestamp: UInt32, captureTime: Instant) -> PacketizedFrame {
    PacketizedFrame(
      bytes: packet, packets: [0..<packet.count], timestamp: timestamp, isKeyFrame: true,
      captureTime: captureTime, marksLastPacket: false)
  }
}

/// What the first bytes of an Opus packet tell (RFC 6716 §3.1).
public enum OpusPacket {
  /// Units of the RTP clock per second, always (RFC 7587 §4.1).
  public static let clockRateHertz: UInt32 = 48_000

  /// How long the packet plays, in units of 1/48,000 s: 120 to 5,760.
  ///
  /// - Throws: `ParseError.truncated` for an empty packet, `.invalid` for no frames or more than 120 ms.
  public static func duration(of packet: RawSpan) throws(ParseError) -> Int {
    var reader = ByteReader(packet)
    let first = try reader.readUInt8()
    let frameCount: Int
    switch first & 0x03 {
    case 0: frameCount = 1
    case 1, 2: frameCount = 2
    default: frameCount = Int(try reader.readUInt8() & 0x3f)
    }
    let duration = frameCount * frameDuration(configuration: first >> 3)
    guard (1...5760).contains(duration) else { throw .invalid("Opus frame count") }
    return duration
  }

  /// RFC 6716 table 2.
  private static func frameDuration(configuration: UInt8) -> Int {
    switch configuration {
    case 0..<12: [480, 960, 1920, 2880][Int(configuration & 3)]
    case 12..<16: configuration & 1 == 0 ? 480 : 960
    default: [120, 240, 480, 960][Int(configuration & 3)]
    }
  }
}
