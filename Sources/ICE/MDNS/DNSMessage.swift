// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The part of a DNS message that multicast DNS needs to find addresses (RFC 1035 §4.1, RFC 6762 §18).
///
///      0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15
///     +--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+
///     |                      ID                       |
///     +--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+
///     |QR|   OPCODE  |AA|TC|RD|RA|   Z    |   RCODE   |
///     +--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+
///     |        QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT     |
///     +--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+
///
/// Of the records those with addresses are kept, of the questions those about addresses; all others are stepped
/// over. The id has no meaning (RFC 6762 §18.1).
public struct DNSMessage: Hashable, Sendable {
  /// Bytes before the first question.
  static let headerByteCount = 12
  /// Longer messages do not occur (RFC 6762 §17). The limit bounds the work for one as well: a record takes
  /// eleven bytes at least.
  public static let byteCountMax = 9000
  /// Questions and records that are kept of a message; a host has no more addresses worth a check.
  static let entriesMax = 64

  /// Whether this answers, or asks.
  public var isResponse: Bool
  /// What is asked for.
  public var questions: [DNSQuestion]
  /// What is known: the addresses of the answer and of the additional section.
  public var records: [DNSAddressRecord]

  /// Makes a message to be sent.
  public init(isResponse: Bool, questions: [DNSQuestion] = [], records: [DNSAddressRecord] = []) {
    self.isResponse = isResponse
    self.questions = questions
    self.records = records
  }

  /// Parses a whole message. One with an operation or a result other than 0 is refused (RFC 6762 §18.3,
  /// §18.11).
  public init(parsing message: RawSpan) throws(ParseError) {
    guard message.byteCount <= Self.byteCountMax else { throw .invalid("message length") }
    var reader = ByteReader(message)
    try reader.skip(2)
    let flags = try reader.readUInt16()
    guard flags & 0x780f == 0 else { throw .invalid("operation or result") }
    isResponse = flags & 0x8000 != 0
    let questionCount = try reader.readUInt16()
    let answerCount = try reader.readUInt16()
    let authorityCount = try reader.readUInt16()
    let additionalCount = try reader.readUInt16()
    questions = []
    records = []
    for _ in 0..<questionCount {
      guard let question = try DNSQuestion(parsing: &reader), questions.count < Self.entriesMax else {
        continue
      }
      questions.append(question)
    }
    for section in [(answerCount, true), (authorityCount, false), (additionalCount, true)] {
      for _ in 0..<section.0 {
        guard let record = try DNSAddressRecord(parsing: &reader), section.1,
          records.count < Self.entriesMax
        else { continue }
        records.append(record)
      }
    }
  }

  /// How many bytes ``write(into:)`` appends.
  public var byteCount: Int {
    questions.reduce(Self.headerByteCount) { $0 + $1.name.byteCount + 4 }
      + records.reduce(0) { $0 + $1.name.byteCount + 10 + ($1.address.family == .ipv4 ? 4 : 16) }
  }

  /// Appends the message with id 0; a response is authoritative (RFC 6762 §18.4).
  public func write(into bytes: inout ByteWriter) {
    bytes.write(0 as UInt16)
    bytes.write(isResponse ? 0x8400 as UInt16 : 0)
    bytes.write(UInt16(questions.count))
    bytes.write(UInt16(records.count))
    bytes.write(0 as UInt32)
    for question in questions { question.write(into: &bytes) }
    for record in records { record.write(into: &bytes) }
  }
}

/// The record types that carry addresses (RFC 1035 §3.2.2, RFC 3596 §2.1).
private enum RecordType {
  static let a: UInt16 = 1
  static let aaaa: UInt16 = 28
}

/// The class of the Internet, and the bit above it that multicast DNS uses: "answer by unicast" in a question
/// (RFC 6762 §5.4), "these are all" in a record (§10.2).
private enum RecordClass {
  static let internet: UInt16 = 1
  static let highBit: UInt16 = 0x8000
}

/// A question for the addresses of a name, of one family (RFC 1035 §4.1.2).
public struct DNSQuestion: Hashable, Sendable {
  /// The name.
  public var name: DNSName
  /// The family of the addresses.
  public var family: IPAddress.Family
  /// Whether an answer to the asking host alone will do (the QU bit, RFC 6762 §5.4).
  public var wantsUnicast: Bool

  /// Asks for the addresses of a name.
  public init(name: DNSName, family: IPAddress.Family, wantsUnicast: Bool = false) {
    self.name = name
    self.family = family
    self.wantsUnicast = wantsUnicast
  }

  /// Parses a question and steps over it; `nil` for one about something else.
  init?(parsing reader: inout ByteReader) throws(ParseError) {
    name = try DNSName(parsing: &reader)
    let type = try reader.readUInt16()
    let recordClass = try reader.readUInt16()
    guard type == RecordType.a || type == RecordType.aaaa,
      recordClass & ~RecordClass.highBit == RecordClass.internet
    else { return nil }
    family = type == RecordType.a ? .ipv4 : .ipv6
    wantsUnicast = recordClass & RecordClass.highBit != 0
  }

  func write(into bytes: inout ByteWriter) {
    name.write(into: &bytes)
    bytes.write(family == .ipv4 ? RecordType.a : RecordType.aaaa)
    bytes.write(RecordClass.internet | (wantsUnicast ? RecordClass.highBit : 0))
  }
}

/// An address of a name: an A or AAAA record (RFC 1035 §4.1.3, RFC 3596 §2.2).
public struct DNSAddressRecord: Hashable, Sendable {
  /// The name.
  public var name: DNSName
  /// The address.
  public var address: IPAddress
  /// For how long this may be believed, in seconds; 0 takes it back (RFC 6762 §10.1).
  public var timeToLiveSeconds: UInt32
  /// Whether what was said earlier of this name and family is void (the cache-flush bit, RFC 6762 §10.2).
  public var flushesCache: Bool

  /// Makes a record.
  public init(name: DNSName, address: IPAddress, timeToLiveSeconds: UInt32, flushesCache: Bool = true) {
    self.name = name
    self.address = address
    self.timeToLiveSeconds = timeToLiveSeconds
    self.flushesCache = flushesCache
  }

  /// Parses a record and steps over it; `nil` for one of another type. Throws where an address has not the
  /// length of its type.
  init?(parsing reader: inout ByteReader) throws(ParseError) {
    name = try DNSName(parsing: &reader)
    let type = try reader.readUInt16()
    let recordClass = try reader.readUInt16()
    let lifetime = try reader.readUInt32()
    let byteCount = Int(try reader.readUInt16())
    guard type == RecordType.a || type == RecordType.aaaa,
      recordClass & ~RecordClass.highBit == RecordClass.internet
    else {
      try reader.skip(byteCount)
      return nil
    }
    guard byteCount == (type == RecordType.a ? 4 : 16) else { throw .invalid("address length") }
    if type == RecordType.a {
      address = IPAddress(ipv4: try reader.readUInt32())
    } else {
      let high = try reader.readUInt64()
      address = IPAddress(ipv6High: high, low: try reader.readUInt64())
    }
    // RFC 2181 §8: a value with the highest bit set counts as 0.
    timeToLiveSeconds = lifetime >> 31 == 0 ? lifetime : 0
    flushesCache = recordClass & RecordClass.highBit != 0
  }

  func write(into bytes: inout ByteWriter) {
    name.write(into: &bytes)
    bytes.write(address.family == .ipv4 ? RecordType.a : RecordType.aaaa)
    bytes.write(RecordClass.internet | (flushesCache ? RecordClass.highBit : 0))
    bytes.write(timeToLiveSeconds)
    if address.family == .ipv4 {
      bytes.write(4 as UInt16)
      bytes.write(address.ipv4Bits)
    } else {
      bytes.write(16 as UInt16)
      bytes.write(address.high)
      bytes.write(address.low)
    }
  }
}
