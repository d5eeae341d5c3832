// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// What a receiver tells about one stream that it gets (RFC 3550 §6.4.1).
///
///     |                             SSRC                              |
///     | fraction lost |       cumulative number of packets lost       |
///     |           extended highest sequence number received           |
///     |                      interarrival jitter                      |
///     |                         last SR (LSR)                         |
///     |                   delay since last SR (DLSR)                  |
public struct ReportBlock: Hashable, Sendable {
  /// The stream that this is about.
  public var ssrc: SSRC
  /// The share of packets lost since the previous report, in 1/256.
  public var fractionLost: UInt8
  /// Packets lost since the beginning, -8,388,608 to 8,388,607; duplicates make it negative.
  public var cumulativeLost: Int32
  /// The highest sequence number with the count of wraps in the high 16 bits.
  public var extendedHighestSequenceNumber: UInt32
  /// The jitter of arrival in units of the payload's clock.
  public var jitter: UInt32
  /// The compact time of the last sender report, 0 for none.
  public var lastSenderReport: UInt32
  /// How long ago it arrived, in 1/65,536 s.
  public var delaySinceLastSenderReport: UInt32

  /// Bytes on the wire.
  public static let byteCount = 24

  /// Makes a report block.
  public init(
    ssrc: SSRC, fractionLost: UInt8, cumulativeLost: Int32, extendedHighestSequenceNumber: UInt32,
    jitter: UInt32, lastSenderReport: UInt32, delaySinceLastSenderReport: UInt32
  ) {
    self.ssrc = ssrc
    self.fractionLost = fractionLost
    self.cumulativeLost = cumulativeLost
    self.extendedHighestSequenceNumber = extendedHighestSequenceNumber
    self.jitter = jitter
    self.lastSenderReport = lastSenderReport
    self.delaySinceLastSenderReport = delaySinceLastSenderReport
  }

  init(parsing reader: inout ByteReader) throws(ParseError) {
    ssrc = SSRC(rawValue: try reader.readUInt32())
    fractionLost = try reader.readUInt8()
    let lost = try reader.readUInt24()
    cumulativeLost = Int32(bitPattern: lost << 8) >> 8
    extendedHighestSequenceNumber = try reader.readUInt32()
    jitter = try reader.readUInt32()
    lastSenderReport = try reader.readUInt32()
    delaySinceLastSenderReport = try reader.readUInt32()
  }

  /// The blocks that a report's header announces; at most 31.
  static func parse(count: UInt8, from reader: inout ByteReader) throws(ParseError) -> [ReportBlock] {
    guard reader.remaining >= Int(count) * byteCount else { throw .truncated }
    var blocks: [ReportBlock] = []
    blocks.reserveCapacity(Int(count))
    for _ in 0..<count { blocks.append(try ReportBlock(parsing: &reader)) }
    return blocks
  }

  func write(into writer: inout ByteWriter) {
    writer.write(ssrc.rawValue)
    writer.write(fractionLost)
    writer.writeUInt24(UInt32(bitPattern: min(max(cumulativeLost, -0x80_0000), 0x7f_ffff)) & 0xff_ffff)
    writer.write(extendedHighestSequenceNumber)
    writer.write(jitter)
    writer.write(lastSenderReport)
    writer.write(delaySinceLastSenderReport)
  }
}

/// A sender's report on its own stream and on what it receives (RFC 3550 §6.4.1).
public struct SenderReport: Hashable, Sendable {
  /// The sender's stream.
  public var ssrc: SSRC
  /// The wall-clock time of this report.
  public var ntpTimestamp: NTPTimestamp
  /// The same time on the RTP clock.
  public var rtpTimestamp: UInt32
  /// Packets sent so far, wrapping.
  public var packetCount: UInt32
  /// Payload bytes sent so far, wrapping.
  public var octetCount: UInt32
  /// What the sender receives; at most 31.
  public var reportBlocks: [ReportBlock]

  /// Makes a sender report.
  public init(
    ssrc: SSRC, ntpTimestamp: NTPTimestamp, rtpTimestamp: UInt32, packetCount: UInt32, octetCount: UInt32,
    reportBlocks: [ReportBlock] = []
  ) {
    self.ssrc = ssrc
    self.ntpTimestamp = ntpTimestamp
    self.rtpTimestamp = rtpTimestamp
    self.packetCount = packetCount
    self.octetCount = octetCount
    self.reportBlocks = reportBlocks
  }

  init(count: UInt8, parsing reader: inout ByteReader) throws(ParseError) {
    ssrc = SSRC(rawValue: try reader.readUInt32())
    ntpTimestamp = NTPTimestamp(rawValue: try reader.readUInt64())
    rtpTimestamp = try reader.readUInt32()
    packetCount = try reader.readUInt32()
    octetCount = try reader.readUInt32()
    // What follows the blocks is a profile's extension (RFC 3550 §6.4.3): none is known.
    reportBlocks = try ReportBlock.parse(count: count, from: &reader)
  }

  /// Bytes on the wire.
  public var byteCount: Int { 28 + reportBlocks.count * ReportBlock.byteCount }

  /// Writes the packet.
  public func write(into writer: inout ByteWriter) {
    RTCPHeader.write(
      count: reportBlocks.count, packetType: RTCPPacketType.senderReport, byteCount: byteCount, into: &writer)
    writer.write(ssrc.rawValue)
    writer.write(ntpTimestamp.rawValue)
    writer.write(rtpTimestamp)
    writer.write(packetCount)
    writer.write(octetCount)
    for block in reportBlocks { block.write(into: &writer) }
  }
}

/// A receiver's report (RFC 3550 §6.4.2).
public struct ReceiverReport: Hashable, Sendable {
  /// Who reports.
  public var ssrc: SSRC
  /// What it receives; at most 31.
  public var reportBlocks: [ReportBlock]

  /// Makes a receiver report.
  public init(ssrc: SSRC, reportBlocks: [ReportBlock]) {
    self.ssrc = ssrc
    self.reportBlocks = reportBlocks
  }

  init(count: UInt8, parsing reader: inout ByteReader) throws(ParseError) {
    ssrc = SSRC(rawValue: try reader.readUInt32())
    reportBlocks = try ReportBlock.parse(count: count, from: &reader)
  }

  /// Bytes on the wire.
  public var byteCount: Int { 8 + reportBlocks.count * ReportBlock.byteCount }

  /// Writes the packet.
  public func write(into writer: inout ByteWriter) {
    RTCPHeader.write(
      count: reportBlocks.count, packetType: RTCPPacketType.receiverReport, byteCount: byteCount,
      into: &writer)
    writer.write(ssrc.rawValue)
    for block in reportBlocks { block.write(into: &writer) }
  }
}
