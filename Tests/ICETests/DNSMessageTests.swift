// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import ICE

/// Messages by hand, field by field from RFC 1035 §4 and RFC 6762 §18, and everything that can be wrong with
/// them.
@Suite("Multicast DNS messages, RFC 1035 §4, RFC 6762 §18")
struct DNSMessageTests {
  static let name = "3f1a-7.local"
  /// A question for the IPv4 addresses of the name.
  static let query = hexadecimal(
    """
    0000 0000 0001 0000 0000 0000
    06 336631612d37 05 6c6f63616c 00 0001 0001
    """)
  /// What a browser answers: an A record that flushes the cache, 120 s, and an NSEC record beside it, whose
  /// names are pointers to the first.
  static let response = hexadecimal(
    """
    0000 8400 0000 0001 0000 0001
    06 336631612d37 05 6c6f63616c 00 0001 8001 00000078 0004 c0000207
    c00c 002f 8001 00000078 0005 c00c 000140
    """)
  /// An AAAA record whose name is one label and a pointer into the question's, behind a question for something
  /// else.
  static let compressed = hexadecimal(
    """
    0000 8400 0001 0001 0000 0000
    03 616263 05 6c6f63616c 00 0010 0001
    01 78 c010 001c 0001 00000e10 0010 20010db8000000000000000000000007
    """)

  /// Recorded from Chromium, asked for the IPv6 addresses of a name that has an IPv4 one: an NSEC record says
  /// that there are none, and the A record stands among the additional ones. All names are whole.
  static let chromium = hexadecimal(
    """
    0000 8400 0000 0001 0000 0001
    24 64613966353665632d656330372d343364332d613533632d383238313465653639313832 05 6c6f63616c 00
    002f 8001 00000078 0005 c00c000140
    24 64613966353665632d656330372d343364332d613533632d383238313465653639313832 05 6c6f63616c 00
    0001 8001 00000078 0004 c0000202
    """)

  static func parse(_ bytes: [UInt8]) throws -> DNSMessage { try DNSMessage(parsing: bytes.rawSpan) }

  private func error(of text: String) -> ParseError? {
    #expect(throws: ParseError.self) { try Self.parse(hexadecimal(text)) }
  }

  @Test("a question is written as a responder expects it, and read again")
  func question() throws {
    let name = try #require(DNSName(Self.name))
    let message = DNSMessage(isResponse: false, questions: [DNSQuestion(name: name, family: .ipv4)])
    let bytes = [UInt8](writing: message.byteCount) { message.write(into: &$0) }
    #expect(bytes == Self.query)
    #expect(try Self.parse(bytes) == message)
  }

  @Test("records are read with their address, lifetime and cache-flush bit; other types are stepped over")
  func records() throws {
    let message = try Self.parse(Self.response)
    let name = try #require(DNSName(Self.name))
    #expect(
      message
        == DNSMessage(
          isResponse: true,
          records: [
            DNSAddressRecord(
              name: name, address: IPAddress(ipv4: 0xc000_0207), timeToLiveSeconds: 120, flushesCache: true)
          ]))
    let second = try Self.parse(Self.compressed)
    #expect(second.questions.isEmpty)
    #expect(second.records.map(\.name.description) == ["x.local"])
    #expect(second.records.map(\.address.description) == ["2001:db8::7"])
    #expect(second.records.map(\.flushesCache) == [false])
    #expect(second.records.map(\.timeToLiveSeconds) == [3600])
  }

  @Test("Chromium's answer is read")
  func chromiumAnswer() throws {
    let message = try Self.parse(Self.chromium)
    let name = try #require(DNSName("da9f56ec-ec07-43d3-a53c-82814ee69182.local"))
    #expect(
      message.records == [
        DNSAddressRecord(
          name: name, address: IPAddress(ipv4: 0xc000_0202), timeToLiveSeconds: 120, flushesCache: true)
      ])
  }

  @Test("a response that is written is read the same, with both families and bits")
  func roundTrip() throws {
    let name = try #require(DNSName("A-b_9.LOCAL."))
    let message = DNSMessage(
      isResponse: true, questions: [DNSQuestion(name: name, family: .ipv6, wantsUnicast: true)],
      records: [
        DNSAddressRecord(name: name, address: IPAddress(ipv4: 1), timeToLiveSeconds: 1, flushesCache: false),
        DNSAddressRecord(
          name: name, address: IPAddress(ipv6High: 2, low: 3), timeToLiveSeconds: 0, flushesCache: true),
      ])
    let bytes = [UInt8](writing: message.byteCount) { message.write(into: &$0) }
    #expect(bytes.count == message.byteCount)
    #expect(try Self.parse(bytes) == message)
    #expect(name.description == "a-b_9.local")
  }

  @Test("every prefix of a message is refused, and nothing behind it matters", arguments: 0..<4)
  func prefixes(index: Int) throws {
    let fixture = [Self.query, Self.response, Self.compressed, Self.chromium][index]
    for count in 0..<fixture.count {
      #expect(throws: ParseError.truncated, "prefix of \(count) bytes") {
        try Self.parse(Array(fixture.prefix(count)))
      }
    }
    #expect(try Self.parse(fixture + [0xff]) == Self.parse(fixture))
  }

  @Test(
    "names that lead in circles, forward, into the header or on and on are refused",
    arguments: [
      // To itself; to a later place; to each other; into the header; to a label of another kind.
      "000084000001000000000000 c00c 0001 0001",
      "000084000001000000000000 c010 0001 0001 0161 00",
      "000084000002000000000000 0161c012 0001 0001 0162c00c c00c 0001 0001",
      "000084000001000000000000 c000 0001 0001",
      "000084000001000000000000 4161 00 0001 0001",
      "000084000001000000000000 8161 00 0001 0001",
    ])
  func hostileNames(text: String) {
    let cause = error(of: text)
    #expect(cause != .truncated)
  }

  @Test("a chain of pointers is followed for a bounded way")
  func pointerChain() throws {
    func chain(_ count: Int) -> [UInt8] {
      // A name, then pointers, each in a question of its own, each to the one before.
      var bytes = hexadecimal("000080000000000000000000 0161 00 0001 0001")
      bytes[5] = UInt8(count + 1)
      var target = 12
      for _ in 0..<count {
        let position = bytes.count
        bytes += [0xc0, UInt8(target), 0, 1, 0, 1]
        target = position
      }
      return bytes
    }
    #expect(try Self.parse(chain(DNSName.pointersMax)).questions.count == DNSName.pointersMax + 1)
    #expect(throws: ParseError.invalid("name pointer")) { try Self.parse(chain(DNSName.pointersMax + 1)) }
  }

  @Test(
    "a label or a record that claims more bytes than there are, and an address of a wrong length, are refused"
  )
  func lyingLengths() {
    #expect(error(of: "000084000001000000000000 3f61 00 0001 0001") == .truncated)
    #expect(error(of: "000084000000000100000000 0161 00 0001 8001 00000078 0004 c00002") == .truncated)
    #expect(error(of: "000084000000000100000000 0161 00 0010 8001 00000078 ffff 00") == .truncated)
    #expect(
      error(of: "000084000000000100000000 0161 00 0001 8001 00000078 0010 c0000207")
        == .invalid("address length"))
    #expect(error(of: "00008400ffff000000000000 0161 00 0001 0001") == .truncated)
    #expect(error(of: "00008401000000000000 0000") == .invalid("operation or result"))
    #expect(error(of: "00008800000000000000 0000") == .invalid("operation or result"))
  }

  @Test("names end at 255 bytes and labels at 63, parsed and made")
  func nameLength() throws {
    let label = String(repeating: "a", count: 63)
    #expect(DNSName(label) != nil)
    #expect(DNSName(label + "a") == nil)
    let longest = [label, label, label, String(repeating: "b", count: 61)].joined(separator: ".")
    let name = try #require(DNSName(longest))
    #expect(name.byteCount == 255)
    #expect(DNSName(longest + "b") == nil)
    for text in ["", ".", "a..local", ".local", "a b.local", "a\r\n.local", "é.local"] {
      #expect(DNSName(text) == nil, "\(text)")
    }
    var bytes = hexadecimal("000084000001000000000000")
    for _ in 0..<4 { bytes += [63] + Array(label.utf8) }
    #expect(throws: ParseError.invalid("name length")) { try Self.parse(bytes + [0, 0, 1, 0, 1]) }
  }

  @Test("a name from the network shows nothing in a log that could pass for a line of its own")
  func description() throws {
    let bytes = hexadecimal("000084000001000000000000 03 610a2e 01 62 00 0001 0001")
    #expect(try Self.parse(bytes).questions.map(\.name.description) == ["a??.b"])
  }

  @Test("a message is kept in part only: a bounded number of entries, a bounded length")
  func bounds() throws {
    let record = DNSAddressRecord(
      name: try #require(DNSName("a.local")), address: IPAddress(ipv4: 1), timeToLiveSeconds: 1)
    let many = DNSMessage(isResponse: true, records: Array(repeating: record, count: 200))
    let bytes = [UInt8](writing: many.byteCount) { many.write(into: &$0) }
    #expect(try Self.parse(bytes).records.count == DNSMessage.entriesMax)
    let padded = bytes + [UInt8](repeating: 0, count: DNSMessage.byteCountMax + 1 - bytes.count)
    #expect(throws: ParseError.invalid("message length")) { try Self.parse(padded) }
  }

  @Test("damaged messages are read or refused, never more", arguments: 0..<20)
  func damaged(seed: UInt64) {
    var random = RandomSource(seed: seed)
    for fixture in [Self.query, Self.response, Self.compressed, Self.chromium] {
      for _ in 0..<200 {
        var bytes = fixture
        for _ in 0..<Int.random(in: 1...4, using: &random) {
          bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
        }
        guard let message = try? Self.parse(bytes) else { continue }
        #expect(message.records.count <= 2, "seed \(seed), \(bytes)")
      }
    }
  }
}
