// SPDX-License-Identifier: Apache-2.0

import RTP
import SansIO

/// Reads Opus in Ogg (RFC 7845).
///
/// All audio packets are taken as they are. The pre-skip and the end trimming of the container have no
/// meaning in RTP, where a decoder plays every packet from its first sample on: the sound is late by the
/// pre-skip, mostly 6.5 ms.
public enum OggOpusReader {
  /// The longest Opus packet that is sent: one frame at the highest rate (RFC 6716 §3.4), which still fits a
  /// datagram.
  public static let maximumPacketByteCount = 1275

  /// Reads a whole file.
  ///
  /// - Throws: `.unsupported` for other codecs in Ogg, `.damaged`, `.empty`, `.channelCount`, `.badPacket`,
  ///   `.packetTooLarge`, `.unevenPackets`.
  public static func read(_ bytes: RawSpan) throws(MediaFormatError) -> AudioClip {
    guard let packets = try OggReader.packets(of: bytes, whereFirstStartsWith: "OpusHead") else {
      throw .unsupported("an Ogg file without Opus")
    }
    guard let head = packets.first else { throw .empty }
    let channelCount = try channelCount(ofHead: head)
    // The second packet is the comment header (RFC 7845 §3).
    return try clip(of: Array(packets.dropFirst(2)), channelCount: channelCount)
  }

  /// Checks packets that come one by one, as in a folder of numbered files.
  ///
  /// - Throws: `.empty`, `.badPacket`, `.packetTooLarge`, `.unevenPackets`.
  public static func read(packets: [[UInt8]]) throws(MediaFormatError) -> AudioClip {
    // Bit 2 of the first byte tells stereo (RFC 6716 §3.1).
    let isStereo = packets.contains { ($0.first ?? 0) & 0x04 != 0 }
    return try clip(of: packets, channelCount: isStereo ? 2 : 1)
  }

  /// The identification header (RFC 7845 §5.1): magic, version, channel count, ..., mapping family.
  private static func channelCount(ofHead head: [UInt8]) throws(MediaFormatError) -> Int {
    guard head.count >= 19, head[8] & 0xf0 == 0 else { throw .damaged(offset: 0) }
    let count = Int(head[9])
    guard (1...2).contains(count) else { throw .channelCount(count) }
    guard head[18] == 0 else { throw .unsupported("an Opus file with a channel mapping of its own") }
    return count
  }

  private static func clip(of packets: [[UInt8]], channelCount: Int) throws(MediaFormatError) -> AudioClip {
    guard !packets.isEmpty else { throw .empty }
    var ticks: Int?
    for (index, packet) in packets.enumerated() {
      guard packet.count <= maximumPacketByteCount else { throw .packetTooLarge(index: index) }
      guard let duration = try? OpusPacket.duration(of: packet.rawSpan) else {
        throw .badPacket(index: index)
      }
      guard duration == ticks ?? duration else { throw .unevenPackets(index: index) }
      ticks = duration
    }
    return AudioClip(packets: packets, packetTicks: ticks ?? 960, channelCount: channelCount)
  }
}

/// Opus packets that decode to silence.
enum OpusSilence {
  /// A packet of `ticks` / 48,000 s: CELT frames whose first symbol is the silence flag (RFC 6716 §4.3, table
  /// 56).
  ///
  /// - Parameters:
  ///   - ticks: a duration that Opus has: a multiple of 120, at most 5,760.
  ///   - isStereo: what the packets around it are, so that the decoder need not switch.
  static func packet(ticks: Int, isStereo: Bool) -> [UInt8] {
    let frameTicks = [960, 480, 240, 120].first { ticks % $0 == 0 } ?? 120
    let configuration: UInt8 =
      switch frameTicks {
      case 960: 31
      case 480: 30
      case 240: 29
      default: 28
      }
    let contents = configuration << 3 | (isStereo ? 4 : 0)
    let silentFrame: [UInt8] = [0xff, 0xfe]
    let count = max(1, min(48, ticks / frameTicks))
    guard count > 1 else { return [contents] + silentFrame }
    // Code 3: a count of frames of equal size (RFC 6716 §3.2.5).
    return (0..<count).reduce(into: [contents | 3, UInt8(count)]) { packet, _ in packet += silentFrame }
  }
}
