// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// A DATA or I-DATA chunk without its payload (RFC 9260 §3.3.1, RFC 8260 §2.1).
///
/// ```
/// DATA                                        I-DATA
/// +-------------------------------+           +-------------------------------+
/// |              TSN              |           |              TSN              |
/// +---------------+---------------+           +---------------+---------------+
/// |   stream id   |      SSN      |           |   stream id   |   reserved    |
/// +---------------+---------------+           +---------------+---------------+
/// |  payload protocol identifier  |           |      message identifier       |
/// +-------------------------------+           +-------------------------------+
/// |            payload            |           | PPID (first), else FSN        |
///                                             +-------------------------------+
///                                             |            payload            |
/// ```
///
/// DATA counts messages in 16 bits and its fragments by their TSNs alone; I-DATA numbers both, so that the
/// fragments of several messages may alternate.
struct DataChunk: Equatable {
  /// Bytes before the payload, the chunk's header included.
  static func headerByteCount(isInterleaved: Bool) -> Int { isInterleaved ? 20 : 16 }

  /// The flags of either kind.
  struct Flags: OptionSet, Hashable {
    let rawValue: UInt8
    /// The last fragment of a message.
    static let end = Flags(rawValue: 1)
    /// The first fragment of a message.
    static let beginning = Flags(rawValue: 2)
    static let unordered = Flags(rawValue: 4)
    /// The sender asks for a SACK without delay (RFC 7053).
    static let immediate = Flags(rawValue: 8)
  }

  var flags: Flags
  var tsn: UInt32
  var stream: StreamID
  /// The stream sequence number of DATA in its low 16 bits, or the message identifier of I-DATA.
  var messageID: UInt32
  /// The position of an I-DATA chunk in its message; 0 for DATA.
  var fragment: UInt32 = 0
  /// What the payload is; known from the first fragment on.
  var payloadProtocol: PayloadProtocol
  var isInterleaved: Bool

  /// Reads what precedes the payload; the reader stands at the payload then.
  @inline(__always)
  init(parsing reader: inout ByteReader, flags: UInt8, isInterleaved: Bool) throws(ParseError) {
    self.flags = Flags(rawValue: flags & 0x0f)
    self.isInterleaved = isInterleaved
    tsn = try reader.readUInt32()
    stream = StreamID(rawValue: try reader.readUInt16())
    let word = try reader.readUInt16()
    guard isInterleaved else {
      messageID = UInt32(word)
      payloadProtocol = PayloadProtocol(rawValue: try reader.readUInt32())
      return
    }
    messageID = try reader.readUInt32()
    let last = try reader.readUInt32()
    let isFirst = self.flags.contains(.beginning)
    fragment = isFirst ? 0 : last
    payloadProtocol = PayloadProtocol(rawValue: isFirst ? last : 0)
  }

  init(
    flags: Flags, tsn: UInt32, stream: StreamID, messageID: UInt32, fragment: UInt32 = 0,
    payloadProtocol: PayloadProtocol, isInterleaved: Bool
  ) {
    self.flags = flags
    self.tsn = tsn
    self.stream = stream
    self.messageID = messageID
    self.fragment = fragment
    self.payloadProtocol = payloadProtocol
    self.isInterleaved = isInterleaved
  }

  /// Writes the chunk with its payload and padding.
  @inline(__always)
  func write(_ payload: RawSpan, into writer: inout ByteWriter) {
    let header = Self.headerByteCount(isInterleaved: isInterleaved)
    Chunk.writeHeader(
      isInterleaved ? .interleavedData : .data, flags: flags.rawValue,
      valueByteCount: header - Chunk.headerByteCount + payload.byteCount, into: &writer)
    writer.write(tsn)
    writer.write(stream.rawValue)
    if isInterleaved {
      writer.write(0 as UInt16)
      writer.write(messageID)
      writer.write(flags.contains(.beginning) ? payloadProtocol.rawValue : fragment)
    } else {
      writer.write(UInt16(truncatingIfNeeded: messageID))
      writer.write(payloadProtocol.rawValue)
    }
    writer.write(payload)
    writer.writeZeros(paddingByteCount(of: payload.byteCount))
  }
}
