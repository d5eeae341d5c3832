// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

/// What the tests look at in a message; spans cannot be used in expectations.
struct ParsedMessage: Equatable {
  var messageClass: STUNMessageClass
  var transactionID: STUNTransactionID
  var hasIntegrity: Bool
  var hasFingerprint: Bool
  var isAuthentic: Bool
  var username: String?
  var priority: UInt32?
  var usesCandidate: Bool
  var controlling: UInt64?
  var controlled: UInt64?
  var mapped: TransportAddress?
  var error: STUNErrorCode?

  init(_ bytes: [UInt8], password: String = "") throws {
    let message = try STUNMessage(parsing: bytes.rawSpan)
    messageClass = message.messageClass
    transactionID = message.transactionID
    hasIntegrity = message.hasIntegrity
    hasFingerprint = message.hasFingerprint
    isAuthentic = message.isAuthentic(with: STUNIntegrityKey(password: Secret(password)))
    username = nil
    if let value = message.username { username = String(decoding: [UInt8](copying: value), as: UTF8.self) }
    priority = message.priority
    usesCandidate = message.usesCandidate
    controlling = message.controllingTieBreaker
    controlled = message.controlledTieBreaker
    mapped = message.xorMappedAddress
    error = message.errorCode
  }
}

func isSTUN(_ bytes: [UInt8]) -> Bool { STUNPeek.isSTUN(bytes.rawSpan) }

func kind(of bytes: [UInt8]) -> (isRequest: Bool, transactionPrefix: UInt32)? {
  STUNPeek.kind(of: bytes.rawSpan)
}

func peekedFragment(of bytes: [UInt8]) -> String? {
  STUNPeek.localUsernameFragment(ofRequest: bytes.rawSpan)
}

func hexadecimal(_ text: String) -> [UInt8] {
  let digits = text.filter(\.isHexDigit)
  return stride(from: 0, to: digits.count, by: 2).compactMap { offset in
    UInt8(digits.dropFirst(offset).prefix(2), radix: 16)
  }
}

func address(_ ip: String, _ port: UInt16) throws -> TransportAddress {
  TransportAddress(ip: try #require(IPAddress(ip)), port: port)
}

/// The sample messages of RFC 5769.
enum RFC5769 {
  static let password = "VOkJxbRl1RmTxUk/WvJxBt"
  static let transactionID = STUNTransactionID(prefix: 0xb7e7_a701, suffix: 0xbc34_d686_fa87_dfae)
  static let request = hexadecimal(
    """
    00010058 2112a442 b7e7a701 bc34d686 fa87dfae 80220010 5354554e 20746573 7420636c 69656e74
    00240004 6e0001ff 80290008 932ff9b1 51263b36 00060009 6576746a 3a683676 59202020
    00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2 80280004 e57a3bcf
    """)
  static let responseIPv4 = hexadecimal(
    """
    0101003c 2112a442 b7e7a701 bc34d686 fa87dfae 8022000b 74657374 20766563 746f7220
    00200008 0001a147 e112a643 00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7 80280004 c07d4c96
    """)
  static let responseIPv6 = hexadecimal(
    """
    01010048 2112a442 b7e7a701 bc34d686 fa87dfae 8022000b 74657374 20766563 746f7220
    00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9
    00080014 a382954e 4be67bf1 1784c97c 8292c275 bfe3ed41 80280004 c8fb0b4c
    """)
  static let all = [request, responseIPv4, responseIPv6]
}

@Suite("STUN messages, RFC 8489 with the vectors of RFC 5769")
struct STUNMessageTests {
  @Test("The sample request is read and authenticated (RFC 5769 §2.1)")
  func sampleRequest() throws {
    let parsed = try ParsedMessage(RFC5769.request, password: RFC5769.password)
    #expect(parsed.messageClass == .request)
    #expect(parsed.transactionID == RFC5769.transactionID)
    #expect(parsed.isAuthentic && parsed.hasFingerprint)
    #expect(parsed.username == "evtj:h6vY")
    #expect(parsed.priority == 0x6e00_01ff)
    #expect(parsed.controlled == 0x932f_f9b1_5126_3b36)
    #expect(parsed.controlling == nil && !parsed.usesCandidate)
    let wrong = try ParsedMessage(RFC5769.request, password: "VOkJxbRl1RmTxUk/WvJxBu")
    #expect(!wrong.isAuthentic && wrong.hasIntegrity)
  }

  @Test("The sample responses are read and authenticated (RFC 5769 §2.2, §2.3)")
  func sampleResponses() throws {
    let ipv4 = try ParsedMessage(RFC5769.responseIPv4, password: RFC5769.password)
    #expect(ipv4.messageClass == .successResponse && ipv4.isAuthentic)
    #expect(ipv4.mapped == (try address("192.0.2.1", 32853)))
    let ipv6 = try ParsedMessage(RFC5769.responseIPv6, password: RFC5769.password)
    #expect(ipv6.isAuthentic)
    #expect(ipv6.mapped == (try address("2001:db8:1234:5678:11:2233:4455:6677", 32853)))
  }

  @Test("T5: no prefix of a message is taken for a message", arguments: RFC5769.all)
  func prefixes(message: [UInt8]) {
    for count in 0..<message.count {
      #expect(throws: ParseError.self) { try ParsedMessage(Array(message[..<count])) }
    }
  }

  @Test("T5: flipped bits and random bytes never trap nor pass for the original", arguments: 0..<3)
  func mutations(index: Int) {
    let original = RFC5769.all[index]
    for bit in 0..<(original.count * 8) {
      var message = original
      message[bit / 8] ^= 1 << (bit % 8)
      let parsed = try? ParsedMessage(message, password: RFC5769.password)
      // What is left is a message whose fingerprint became something else.
      #expect(parsed?.hasFingerprint != true)
      _ = peekedFragment(of: message)
    }
    var random = RandomSource(seed: UInt64(index))
    for _ in 0..<3000 {
      var message = Array(original.dropLast(8))
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let index = Int.random(in: 20..<message.count, using: &random)
        message[index] = .random(in: 0...255, using: &random)
      }
      message[2] = 0
      message[3] = UInt8(message.count - 20)
      let parsed = try? ParsedMessage(message, password: RFC5769.password)
      #expect(parsed?.isAuthentic != true || Array(original[20..<message.count]) == Array(message[20...]))
      _ = peekedFragment(of: message)
    }
  }

  @Test("T5: what follows the integrity is ignored, also a second integrity")
  func afterIntegrity() throws {
    let key = STUNIntegrityKey(password: Secret("password"))
    var builder = STUNMessageBuilder(.request, transactionID: RFC5769.transactionID)
    builder.append(.priority, 1 as UInt32)
    builder.appendIntegrity(with: key)
    builder.append(.username, "a:b")
    builder.append(.useCandidate, [])
    builder.append(.messageIntegrity, [UInt8](repeating: 0, count: 20))
    let parsed = try ParsedMessage(builder.bytes, password: "password")
    #expect(parsed.isAuthentic && parsed.priority == 1)
    #expect(parsed.username == nil && !parsed.usesCandidate)
    #expect(peekedFragment(of: builder.bytes) == nil)
  }

  @Test("T5: a fingerprint that is not last, and an integrity of a wrong length, are refused")
  func misplaced() {
    var builder = STUNMessageBuilder(.request, transactionID: RFC5769.transactionID)
    builder.appendFingerprint()
    builder.append(.username, "a:b")
    #expect(throws: ParseError.self) { try ParsedMessage(builder.bytes) }
    var short = STUNMessageBuilder(.request, transactionID: RFC5769.transactionID)
    short.append(.messageIntegrity, [UInt8](repeating: 0, count: 16))
    #expect(throws: ParseError.self) { try ParsedMessage(short.bytes) }
  }

  @Test("T4: padding bytes are 0", arguments: 0..<9)
  func padding(count: Int) {
    var builder = STUNMessageBuilder(.request, transactionID: RFC5769.transactionID)
    builder.append(.username, [UInt8](repeating: 0xff, count: count))
    let padded = (count + 3) & ~3
    #expect(builder.bytes.count == 24 + padded)
    #expect(builder.bytes[(24 + count)...].allSatisfy { $0 == 0 })
    #expect(Array(builder.bytes[2..<4]) == [0, UInt8(4 + padded)])
    #expect(Array(builder.bytes[22..<24]) == [0, UInt8(count)])
  }

  @Test("Everything that is written is read back")
  func roundTrip() throws {
    let key = STUNIntegrityKey(password: Secret("0123456789012345678901"))
    let mapped = try address("2001:db8::5", 6000)
    var builder = STUNMessageBuilder(.errorResponse, transactionID: RFC5769.transactionID)
    builder.append(.roleConflict)
    builder.append(.username, "abcd:efgh")
    builder.append(.priority, 0xfedc_ba98 as UInt32)
    builder.append(.useCandidate, [])
    builder.append(.iceControlling, UInt64.max)
    builder.append(.xorMappedAddress, mapped)
    builder.appendIntegrity(with: key)
    builder.appendFingerprint()
    let parsed = try ParsedMessage(builder.bytes, password: "0123456789012345678901")
    #expect(parsed.messageClass == .errorResponse && parsed.error == .roleConflict)
    #expect(parsed.isAuthentic && parsed.hasFingerprint && parsed.usesCandidate)
    #expect(parsed.username == "abcd:efgh" && parsed.priority == 0xfedc_ba98)
    #expect(parsed.controlling == .max && parsed.mapped == mapped)
  }

  @Test("Methods and classes are interleaved as RFC 8489 §5 draws them")
  func types() throws {
    for method in [1, 3, 0x0f, 0x10, 0x7f, 0x80, 0xfff] as [UInt16] {
      for messageClass in [.request, .indication, .successResponse, .errorResponse] as [STUNMessageClass] {
        let builder = STUNMessageBuilder(
          messageClass, STUNMethod(rawValue: method), transactionID: RFC5769.transactionID)
        let message = try STUNMessage(parsing: builder.bytes.rawSpan)
        let read = (message.messageClass, message.method.rawValue)
        #expect(read == (messageClass, method))
      }
    }
    let allocateSuccess = STUNMessageBuilder(
      .successResponse, STUNMethod(rawValue: 3), transactionID: RFC5769.transactionID)
    #expect(Array(allocateSuccess.bytes[..<2]) == [0x01, 0x03])
  }

  @Test("A shared socket finds requests by user fragment and responses by transaction id")
  func peek() throws {
    #expect(isSTUN(RFC5769.request))
    let request = try #require(kind(of: RFC5769.request))
    #expect(request.isRequest && request.transactionPrefix == 0xb7e7_a701)
    let response = try #require(kind(of: RFC5769.responseIPv4))
    #expect(!response.isRequest)
    #expect(peekedFragment(of: RFC5769.request) == "evtj")
    #expect(peekedFragment(of: RFC5769.responseIPv4) == nil)
    for count in 0..<RFC5769.request.count {
      let prefix = Array(RFC5769.request[..<count])
      #expect(!isSTUN(prefix))
      #expect(peekedFragment(of: prefix) == nil)
    }
  }
}
