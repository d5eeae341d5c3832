// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import NIOCore
import Synchronization
import Testing

private typealias Server = HostileServer

/// Bytes of a hostile service; what follows them is a valid offer `first`.
struct HostileCase: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var bytes: [UInt8]
}

/// Each case runs a whole session over a real socket. Bytes that end a connection are followed by another connection,
/// on which the offer `second` arrives.
@Suite("T34 A service whose WebSocket is hostile", .timeLimit(.minutes(2)))
struct HostileWebSocketTests {
  static let fatal: [HostileCase] = [
    .init(testDescription: "masked frame", bytes: Server.frame(0x81, Array("{}".utf8), mask: [1, 2, 3, 4])),
    .init(testDescription: "RSV1", bytes: Server.frame(0xc1, Array("{}".utf8))),
    .init(testDescription: "RSV2", bytes: Server.frame(0xa1, Array("{}".utf8))),
    .init(testDescription: "RSV3 on a ping", bytes: Server.frame(0x99, [])),
    .init(testDescription: "reserved data opcode", bytes: Server.frame(0x83, [1])),
    .init(testDescription: "reserved control opcode", bytes: Server.frame(0x8b, [])),
    .init(testDescription: "length 2^63", bytes: [0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]),
    .init(testDescription: "length 2^63 - 1", bytes: [0x81, 127, 0x7f] + Array(repeating: 0xff, count: 7)),
    .init(
      testDescription: "length 2^64 - 1 in a ping", bytes: [0x89, 127] + Array(repeating: 0xff, count: 8)),
    .init(testDescription: "ping of 126", bytes: Server.frame(0x89, Array(repeating: 1, count: 126))),
    .init(testDescription: "close of 65,536", bytes: Server.frame(0x88, Array(repeating: 1, count: 65_536))),
    .init(testDescription: "fragmented ping", bytes: Server.frame(0x09, [])),
    .init(
      testDescription: "text over 64 KB", bytes: Server.frame(0x81, Array(repeating: 0x20, count: 65_537))),
    .init(
      testDescription: "65 fragments",
      bytes: Server.frame(0x01, []) + (0..<64).flatMap { _ in Server.frame(0x00, [0x20]) }),
    .init(
      testDescription: "fragments over 64 KB",
      bytes: Server.frame(0x01, Array(repeating: 0x20, count: 40_000))
        + Server.frame(0x80, Array(repeating: 0x20, count: 40_000))),
    .init(testDescription: "continuation of nothing", bytes: Server.frame(0x80, [0x20])),
    .init(testDescription: "text inside a text", bytes: Server.frame(0x01, []) + Server.frame(0x81, [])),
    .init(testDescription: "close 1000", bytes: Server.frame(0x88, [0x03, 0xe8])),
    .init(testDescription: "close 1013", bytes: Server.frame(0x88, [0x03, 0xf5] + Array("again".utf8))),
    .init(testDescription: "close 65535", bytes: Server.frame(0x88, [0xff, 0xff])),
    .init(testDescription: "close without code", bytes: Server.frame(0x88, [])),
    .init(testDescription: "close of one byte", bytes: Server.frame(0x88, [0x03])),
    .init(testDescription: "GO_AWAY", bytes: Server.text(#"{"messageType":"GO_AWAY"}"#)),
  ]

  @Test(
    "Bytes that RFC 6455 forbids, and closes, end the connection; the client comes back", arguments: fatal)
  func endsConnection(hostile: HostileCase) async throws {
    let server = try await Server { request in
      Server.ordinary(request) {
        $0.webSocketNumber == 1
          ? .webSocket(hostile.bytes + Server.offer("first")) : .webSocket(Server.offer("second"))
      }
    }
    let events = try await HostileSession(server).events { isOffer($0, "second") || isOffer($0, "first") }
    #expect(!events.contains { isOffer($0, "first") })
    #expect(disconnections(events).count == 1)
    try await server.stop()
  }

  static let harmless: [HostileCase] = [
    .init(testDescription: "binary frame", bytes: Server.frame(0x82, [0, 1, 2])),
    .init(testDescription: "empty text", bytes: Server.frame(0x81, [])),
    .init(testDescription: "invalid UTF-8", bytes: Server.frame(0x81, [0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d])),
    .init(testDescription: "lone surrogate", bytes: Server.frame(0x81, [0xed, 0xa0, 0x80])),
    .init(testDescription: "unasked pong", bytes: Server.frame(0x8a, [1])),
    .init(testDescription: "ping inside a message", bytes: Server.frame(0x89, [1])),
    .init(
      testDescription: "deep arrays",
      bytes: Server.frame(0x81, Array(repeating: UInt8(ascii: "["), count: 65_536))),
    .init(
      testDescription: "deep objects",
      bytes: Server.text(String(repeating: #"{"a":"#, count: 12_000))),
    .init(
      testDescription: "deep and complete",
      bytes: Server.text(String(repeating: "[", count: 30_000) + String(repeating: "]", count: 30_000))),
    .init(
      testDescription: "deep below a known member",
      bytes: Server.text(
        #"{"messageType":"STATUS_RESPONSE","statusResponse":"# + String(repeating: #"{"a":"#, count: 5_000)
          + "1" + String(repeating: "}", count: 5_001))),
    .init(testDescription: "wrong types", bytes: Server.text(#"{"messageType":[],"messagePayload":{}}"#)),
    .init(
      testDescription: "no object", bytes: Server.text("null") + Server.text("1e999") + Server.text("\"")),
    .init(
      testDescription: "duplicate members",
      bytes: Server.text(#"{"messageType":"X","messageType":"Y","MESSAGETYPE":"Z"}"#)),
    .init(testDescription: "unknown type", bytes: Server.text(#"{"messageType":"\u0000\u001b[2J\r\n"}"#)),
    .init(
      testDescription: "base64 of 60,000 characters that is no JSON",
      bytes: Server.text(
        #"{"messageType":"SDP_OFFER","senderClientId":"viewer","messagePayload":""#
          + String(repeating: "A", count: 60_000) + #""}"#)),
    .init(
      testDescription: "10,000 members",
      bytes: Server.text("{" + (0..<6_000).map { "\"\($0)\":1" }.joined(separator: ",") + "}")),
    .init(
      testDescription: "huge numbers",
      bytes: Server.text(#"{"messageType":"STATUS_RESPONSE","statusResponse":{"statusCode":1e400}}"#)),
    .init(
      testDescription: "sender with control characters",
      bytes: Server.text(
        #"{"messageType":"SDP_OFFER","senderClientId":"a\nb","messagePayload":"e30="}"#)),
    .init(
      testDescription: "2,000 pings and 2,000 refusals",
      bytes: (0..<2_000).flatMap { _ in
        Server.frame(0x89, [7]) + Server.text(#"{"messageType":"STATUS_RESPONSE","statusResponse":{}}"#)
      }),
  ]

  @Test("T33 What is merely nonsense is skipped, the connection stays", arguments: harmless)
  func isSkipped(hostile: HostileCase) async throws {
    let server = try await Server { request in
      Server.ordinary(request) { _ in .webSocket(hostile.bytes + Server.offer("first")) }
    }
    let isFlood = hostile.testDescription.contains("2,000")
    let events = try await HostileSession(server).events {
      // A flood overflows the application's queue, which keeps the oldest events.
      if case .statusResponse = $0, isFlood { true } else { isOffer($0, "first") }
    }
    #expect(disconnections(events).isEmpty)
    #expect(server.requests.withLock { $0.count { $0.isWebSocket } } == 1)
    try await server.stop()
  }

  @Test(
    "A message in fragments is read, also when the first or a middle one is empty and a ping comes between")
  func fragments() async throws {
    let text = Array(Server.offerText("first").utf8)
    let bytes =
      Server.frame(0x01, []) + Server.frame(0x00, Array(text.prefix(10))) + Server.frame(0x89, [1])
      + Server.frame(0x00, []) + Server.frame(0x80, Array(text.dropFirst(10)))
    let server = try await Server { request in Server.ordinary(request) { _ in .webSocket(bytes) } }
    let events = try await HostileSession(server).events { isOffer($0, "first") }
    #expect(disconnections(events).isEmpty)
    try await server.stop()
  }

  @Test("A ping is answered with its own bytes; the client masks")
  func pings() async throws {
    let payload = Array("canary".utf8)
    let server = try await Server { request in
      Server.ordinary(request) { _ in
        .webSocket(Server.frame(0x89, payload)) { opcode, content in
          opcode == 0xa && content == payload ? Server.offer("first") : []
        }
      }
    }
    _ = try await HostileSession(server).events { isOffer($0, "first") }
    try await server.stop()
  }

  @Test("A close is answered with its code before the client leaves")
  func closeIsAnswered() async throws {
    let closes = Mutex<[[UInt8]]>([])
    let server = try await Server { request in
      Server.ordinary(request) {
        $0.webSocketNumber > 1
          ? .webSocket(Server.offer("second"))
          : .webSocket(Server.frame(0x88, [0x03, 0xe9, 0x61])) { opcode, content in
            if opcode == 8 { closes.withLock { $0.append(content) } }
            return []
          }
      }
    }
    let events = try await HostileSession(server).events { isOffer($0, "second") }
    #expect(closes.withLock { $0 } == [[0x03, 0xe9]])
    #expect(disconnections(events).first?.contains("1001") == true)
    try await server.stop()
  }

  static let handshakes: [HostileCase] = [
    .init(testDescription: "no HTTP", bytes: Array("SSH-2.0-x\r\n\r\n".utf8)),
    .init(
      testDescription: "wrong accept key",
      bytes: Array(
        ("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          + "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n").utf8)),
    .init(
      testDescription: "no accept key",
      bytes: Array("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".utf8)),
    .init(
      testDescription: "headers of 1 MB",
      bytes: Array("HTTP/1.1 200 x\r\na: ".utf8) + Array(repeating: 0x61, count: 1 << 20)),
    .init(
      testDescription: "500 with a body of 1 MB",
      bytes: Array("HTTP/1.1 500 x\r\ncontent-length: 1048576\r\n\r\n".utf8)
        + Array(repeating: 0x61, count: 1 << 20)),
  ]

  @Test("A handshake that goes wrong leaves no connection behind, and is tried again", arguments: handshakes)
  func failedHandshake(hostile: HostileCase) async throws {
    let server = try await Server { request in
      Server.ordinary(request) {
        $0.webSocketNumber == 1 ? .raw(hostile.bytes) : .webSocket(Server.offer("second"))
      }
    }
    let events = try await HostileSession(server).events { isOffer($0, "second") }
    #expect(disconnections(events).count == 1)
    while server.connectionsOpen.withLock({ $0 }) > 0 {
      try Task.checkCancellation()
      await Task.yield()
    }
    try await server.stop()
  }
}
