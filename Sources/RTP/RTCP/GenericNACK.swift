// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// A receiver's list of packets that it misses (RFC 4585 §6.2.1).
///
///     |                  SSRC of packet sender                        |
///     |                  SSRC of media source                         |
///     |       packet identifier       |  bit mask of the following 16 |   once or more
public struct GenericNACK: Hashable, Sendable {
  /// One missing packet, and which of the 16 after it are missing too.
  public struct Entry: Hashable, Sendable {
    /// The first missing packet (PID).
    public var packet: SequenceNumber
    /// Bit n set: packet + n + 1 is missing too (BLP).
    public var following: UInt16

    /// Makes an entry.
    public init(packet: SequenceNumber, following: UInt16) {
      self.packet = packet
      self.following = following
    }
  }

  /// Who misses them.
  public var senderSSRC: SSRC
  /// The stream that they belong to.
  public var mediaSSRC: SSRC
  /// The missing packets.
  public var entries: [Entry]

  /// Entries that a packet of ours has at most: it stays below 1,024 bytes.
  public static let entryCountMax = 250

  static let format = 1

  /// Makes a NACK from entries.
  public init(senderSSRC: SSRC, mediaSSRC: SSRC, entries: [Entry]) {
    self.senderSSRC = senderSSRC
    self.mediaSSRC = mediaSSRC
    self.entries = entries
  }

  /// Packs a list of sequence numbers, oldest first; what does not fit in ``entryCountMax`` entries is left out.
  public init(senderSSRC: SSRC, mediaSSRC: SSRC, missing: [SequenceNumber]) {
    self.init(senderSSRC: senderSSRC, mediaSSRC: mediaSSRC, entries: [])
    for number in missing {
      if let last = entries.indices.last {
        let distance = number.distance(after: entries[last].packet)
        if distance == 0 { continue }
        if (1...16).contains(distance) {
          entries[last].following |= 1 << UInt16(distance - 1)
          continue
        }
      }
      guard entries.count < Self.entryCountMax else { return }
      entries.append(Entry(packet: number, following: 0))
    }
  }

  init(parsing reader: inout ByteReader) throws(ParseError) {
    senderSSRC = SSRC(rawValue: try reader.readUInt32())
    mediaSSRC = SSRC(rawValue: try reader.readUInt32())
    entries = []
    entries.reserveCapacity(reader.remaining / 4)
    while reader.remaining >= 4 {
      let packet = SequenceNumber(rawValue: try reader.readUInt16())
      entries.append(Entry(packet: packet, following: try reader.readUInt16()))
    }
  }

  /// Calls `body` with each missing sequence number, in the order of the list.
  @inlinable
  public func forEachMissing(_ body: (SequenceNumber) -> Void) {
    for entry in entries {
      body(entry.packet)
      var mask = entry.following
      while mask != 0 {
        let bit = UInt16(truncatingIfNeeded: mask.trailingZeroBitCount)
        body(SequenceNumber(rawValue: entry.packet.rawValue &+ bit &+ 1))
        mask &= mask &- 1
      }
    }
  }

  /// All missing sequence numbers.
  public var missing: [SequenceNumber] {
    var numbers: [SequenceNumber] = []
    forEachMissing { numbers.append($0) }
    return numbers
  }

  /// Bytes on the wire.
  public var byteCount: Int { 12 + 4 * entries.count }

  /// Writes the packet.
  public func write(into writer: inout ByteWriter) {
    RTCPHeader.write(
      count: Self.format, packetType: RTCPPacketType.transportFeedback, byteCount: byteCount, into: &writer)
    writer.write(senderSSRC.rawValue)
    writer.write(mediaSSRC.rawValue)
    for entry in entries {
      writer.write(entry.packet.rawValue)
      writer.write(entry.following)
    }
  }
}
