// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

/// RFC 5769 §2.4: a request with long-term credentials. The password is the one that SASLprep makes of the
/// sample's.
enum RFC5769LongTerm {
  static let username = "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}"
  static let realm = "example.org"
  static let password = "TheMatrIX"
  static let nonce = "f//499k954d6OL34oL9FSTvy64sA"
  static let transactionID = STUNTransactionID(prefix: 0x78ad_3433, suffix: 0xc6ad_72c0_29da_412e)
  static let request = hexadecimal(
    """
    00010060 2112a442 78ad3433 c6ad72c0 29da412e 00060012 e3839ee3 8388e383 aae38383 e382afe3 82b90000
    0015001c 662f2f34 39396b39 35346436 4f4c3334 6f4c3946 53547679 36347341
    0014000b 6578616d 706c652e 6f726700 00080014 f6702465 6dd64a3e 02b8e071 2e85c9a2 8ca89666
    """)
  static var key: STUNIntegrityKey {
    STUNIntegrityKey(username: username, realm: realm, password: Secret(password))
  }
}

/// What a ChannelData message holds; spans cannot be used in expectations.
func parseChannelData(_ bytes: [UInt8]) throws -> (channel: UInt16, payload: [UInt8]) {
  let message = try ChannelData(parsing: bytes.rawSpan)
  return (message.channel.rawValue, [UInt8](copying: message.payload))
}

/// Feeds bytes in pieces of one size and collects the frames.
func frames(of bytes: [UInt8], pieceByteCount: Int) throws -> [[UInt8]] {
  var framer = STUNStreamFramer()
  var result: [[UInt8]] = []
  for start in stride(from: 0, to: bytes.count, by: pieceByteCount) {
    let piece = Array(bytes[start..<min(start + pieceByteCount, bytes.count)])
    try framer.append(piece.rawSpan)
    while let frame = try framer.next() { result.append([UInt8](copying: frame)) }
  }
  let left = framer.bufferedByteCount
  #expect(left == 0)
  return result
}

@Suite("TURN's messages, RFC 8656 §11, §12, §18; RFC 8489 §9.2")
struct TURNMessageTests {
  @Test("The long-term sample of RFC 5769 is authentic, and is written byte by byte")
  func longTermVector() throws {
    let request = RFC5769LongTerm.request
    let message = try STUNMessage(parsing: request.rawSpan)
    let (isAuthentic, realm, nonce) = (
      message.isAuthentic(with: RFC5769LongTerm.key), message.realm, message.nonce
    )
    #expect(isAuthentic)
    #expect(realm == RFC5769LongTerm.realm)
    #expect(nonce == Array(RFC5769LongTerm.nonce.utf8))
    var builder = STUNMessageBuilder(.request, transactionID: RFC5769LongTerm.transactionID)
    builder.append(.username, RFC5769LongTerm.username)
    builder.append(.nonce, RFC5769LongTerm.nonce)
    builder.append(.realm, RFC5769LongTerm.realm)
    builder.appendIntegrity(with: RFC5769LongTerm.key)
    #expect(builder.bytes == request)
  }

  @Test("Another realm or password makes another key")
  func keysDiffer() throws {
    let request = RFC5769LongTerm.request
    let message = try STUNMessage(parsing: request.rawSpan)
    for (realm, password) in [("example.com", "TheMatrIX"), ("example.org", "TheMatrix")] {
      let key = STUNIntegrityKey(
        username: RFC5769LongTerm.username, realm: realm, password: Secret(password))
      let isAuthentic = message.isAuthentic(with: key)
      #expect(!isAuthentic)
    }
  }

  @Test("TURN's attributes are read, and are nil at any other length")
  func attributes() throws {
    let id = STUNTransactionID(prefix: 1, suffix: 2)
    let peer = try address("2001:db8::7", 77)
    var builder = STUNMessageBuilder(.request, .channelBind, transactionID: id)
    builder.append(.channelNumber, [0x40, 0x01, 0, 0])
    builder.append(.lifetime, 600 as UInt32)
    builder.append(.xorPeerAddress, peer)
    builder.append(.requestedTransport, [17, 0, 0, 0])
    builder.append(.requestedAddressFamily, [2, 0, 0, 0])
    let bytes = builder.bytes
    let message = try STUNMessage(parsing: bytes.rawSpan)
    let (channel, lifetime) = (message.channelNumber, message.lifetimeSeconds)
    let (transport, family) = (message.requestedTransport, message.requestedAddressFamily)
    let (method, parsedPeer) = (message.method, message.xorPeerAddress)
    #expect(method == .channelBind)
    #expect(channel == 0x4001)
    #expect(lifetime == 600)
    #expect(parsedPeer == peer)
    #expect(transport == 17)
    #expect(family == 2)

    var wrong = STUNMessageBuilder(.request, .channelBind, transactionID: id)
    for type in [STUNAttributeType.channelNumber, .lifetime, .requestedTransport, .xorPeerAddress] {
      wrong.append(type, [1, 2])
    }
    let wrongBytes = wrong.bytes
    let wrongMessage = try STUNMessage(parsing: wrongBytes.rawSpan)
    let isNothing =
      wrongMessage.channelNumber == nil && wrongMessage.lifetimeSeconds == nil
      && wrongMessage.requestedTransport == nil && wrongMessage.xorPeerAddress == nil
    #expect(isNothing)
  }

  @Test("ChannelData is read with and without padding; every prefix throws")
  func channelData() throws {
    let padded: [UInt8] = [0x40, 0x02, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0]
    for byteCount in 9...12 {
      let (channel, payload) = try parseChannelData(Array(padded.prefix(byteCount)))
      #expect(channel == 0x4002)
      #expect(payload == [1, 2, 3, 4, 5])
    }
    for byteCount in 0..<9 {
      #expect(throws: ParseError.truncated) { try parseChannelData(Array(padded.prefix(byteCount))) }
    }
    for number: [UInt8] in [[0x3f, 0xff], [0x50, 0x00], [0x4f + 1, 0xff]] {
      #expect(throws: ParseError.invalid("channel number")) { try parseChannelData(number + [0, 0]) }
    }
    let last = try parseChannelData([0x4f, 0xff, 0, 0])
    #expect(last.channel == 0x4fff)
    #expect(last.payload.isEmpty)
  }

  @Test(
    "A stream is cut into the same frames, whatever the pieces it comes in", arguments: [1, 3, 7, 64, 1000])
  func framing(pieceByteCount: Int) throws {
    let request = RFC5769LongTerm.request
    let channelData: [UInt8] = [0x40, 0x02, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0]
    let empty: [UInt8] = [0x40, 0x03, 0, 0]
    let result = try frames(
      of: channelData + request + empty + request + channelData, pieceByteCount: pieceByteCount)
    #expect(result == [Array(channelData.prefix(9)), request, empty, request, Array(channelData.prefix(9))])
  }

  @Test("A stream of something else is refused at its first bytes, and so is a backlog")
  func strangeStreams() throws {
    #expect(throws: ParseError.invalid("stream frame")) {
      try frames(of: Array("POST / HTTP/1.1\r\n".utf8), pieceByteCount: 1)
    }
    #expect(throws: ParseError.invalid("magic cookie")) {
      try frames(of: [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x43], pieceByteCount: 8)
    }
    #expect(throws: ParseError.invalid("message length")) {
      try frames(of: [0, 1, 0, 3], pieceByteCount: 4)
    }
    var framer = STUNStreamFramer()
    let piece = [UInt8](repeating: 0x40, count: 65_536)
    try framer.append(piece.rawSpan)
    try framer.append(piece.rawSpan)
    var refused = false
    do throws(ParseError) { try framer.append([0x40].rawSpan) } catch { refused = true }
    #expect(refused)
  }

  @Test("Damaged streams give frames or an error, never a trap", arguments: [UInt64(1), 2, 3])
  func damagedStreams(seed: UInt64) {
    var random = RandomSource(seed: seed)
    let whole = RFC5769LongTerm.request + [0x40, 0x02, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0]
    for _ in 0..<2000 {
      var bytes = whole
      for _ in 0..<3 {
        let bit = Int.random(in: 0..<(bytes.count * 8), using: &random)
        bytes[bit / 8] ^= 1 << UInt8(bit % 8)
      }
      var framer = STUNStreamFramer()
      do throws(ParseError) {
        try framer.append(bytes.rawSpan)
        while let frame = try framer.next() {
          _ = try? STUNMessage(parsing: frame)
          _ = try? ChannelData(parsing: frame)
        }
      } catch {}
    }
  }
}
