// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import KinesisVideo
import LocalKinesisVideo
import Logging
import NIOCore
import NIOPosix
import SansIO
import Synchronization
import Testing

/// A log that keeps its lines.
private final class CapturedLog: Sendable {
  private let storage = Mutex<[String]>([])

  var lines: [String] { storage.withLock { $0 } }

  var logger: Logger {
    var logger = Logger(label: "test") { _ in Handler(log: self) }
    logger.logLevel = .trace
    return logger
  }

  private struct Handler: LogHandler {
    let log: CapturedLog
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
      log.storage.withLock { $0.append("\(event.level) \(event.message) \(event.metadata ?? [:])") }
    }
  }
}

/// A running server on a free port.
private struct ServerHarness {
  static let secret = "canary-secret-7f3a"

  let server: LocalKinesisVideoServer
  let port: Int
  var authority: String { "127.0.0.1:\(port)" }

  /// Runs a server for as long as `body` takes.
  static func run(
    _ configure: (inout LocalKinesisVideoServer.Configuration) -> Void = { _ in }, log: CapturedLog? = nil,
    _ body: (ServerHarness) async throws -> Void
  ) async throws {
    var configuration = LocalKinesisVideoServer.Configuration()
    configuration.port = 0
    configuration.secretKey = Secret(secret)
    configure(&configuration)
    let server = LocalKinesisVideoServer(
      configuration: configuration, eventLoopGroup: .singletonMultiThreadedEventLoopGroup,
      logger: log?.logger ?? Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let address = try await server.start()
    do {
      try await body(ServerHarness(server: server, port: address.port))
    } catch {
      await server.shutdown()
      throw error
    }
    await server.shutdown()
  }

  private var credentials: AWSCredentials {
    AWSCredentials(accessKeyID: "local", secretAccessKey: Secret(Self.secret))
  }

  /// The bytes of a signed POST.
  func post(_ path: String, _ body: String, isSigned: Bool = true) throws -> String {
    let url = try #require(ServiceURL("http://\(authority)\(path)"))
    var headers: [(name: String, value: String)] = [("host", authority)]
    if isSigned {
      headers = SignatureV4.signedHeaders(
        method: "POST", url: url, headers: [], body: Array(body.utf8), credentials: credentials,
        region: "us-west-2", at: .now)
    }
    let lines = headers.map { "\($0.name): \($0.value)\r\n" }.joined()
    return "POST \(path) HTTP/1.1\r\n\(lines)content-length: \(body.utf8.count)\r\n\r\n\(body)"
  }

  /// The bytes of a handshake.
  func handshake(arn: String, clientID: String? = nil, secret: String = secret) throws -> String {
    let url = try #require(ServiceURL("ws://\(authority)/"))
    var parameters = [(name: "X-Amz-ChannelARN", value: arn)]
    if let clientID { parameters.append(("X-Amz-ClientId", clientID)) }
    let address = SignatureV4.presignedURL(
      url, parameters: parameters,
      credentials: AWSCredentials(accessKeyID: "local", secretAccessKey: Secret(secret)), region: "us-west-2",
      at: .now
    ).unredacted
    let target = address.dropFirst("ws://".count + authority.count)
    return "GET \(target) HTTP/1.1\r\nHost: \(authority)\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
  }

  /// Opens a WebSocket and lets `body` talk.
  func withSocket<Result>(
    arn: String, clientID: String? = nil, _ body: (inout RawConnection) async throws -> Result
  ) async throws -> Result {
    try await RawConnection.open(port: port) { connection in
      try await connection.send(try handshake(arn: arn, clientID: clientID))
      let answer = try await connection.readResponse()
      #expect(answer?.status == 101)
      #expect(answer?.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
      return try await body(&connection)
    }
  }
}

@Suite("The stand-in's server speaks HTTP", .timeLimit(.minutes(1)))
struct LocalServerTests {
  @Test("AT-18 several calls on one connection, each answered in HTTP/1.1 with its length")
  func keepAlive() async throws {
    try await ServerHarness.run { harness in
      try await RawConnection.open(port: harness.port) { connection in
        for (path, body, status) in [
          ("/createSignalingChannel", #"{"ChannelName":"porch"}"#, 200),
          ("/createSignalingChannel", #"{"ChannelName":"porch"}"#, 400), ("/listSignalingChannels", "", 200),
          ("/none", "{}", 403),
        ] {
          try await connection.send(try harness.post(path, body))
          let answer = try #require(try await connection.readResponse())
          #expect(answer.status == status)
          #expect(answer.headers["x-amzn-requestid"] != nil)
          #expect(answer.headers["date"] != nil)
          #expect(Int(answer.headers["content-length"] ?? "") == answer.body.utf8.count)
        }
        // Two at once are answered in order.
        try await connection.send(
          try harness.post("/listSignalingChannels", "")
            + harness.post("/listSignalingChannels", "", isSigned: false))
        #expect(try await connection.readResponse()?.status == 200)
        #expect(try await connection.readResponse()?.status == 403)
      }
    }
  }

  @Test("an offer of HTTP/2 is left alone, a HEAD has no body")
  func otherRequests() async throws {
    try await ServerHarness.run { harness in
      try await RawConnection.open(port: harness.port) { connection in
        try await connection.send(
          "GET / HTTP/1.1\r\nHost: \(harness.authority)\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            + "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
        let answer = try #require(try await connection.readResponse())
        #expect(answer.status == 200)
        #expect(answer.headers["content-type"]?.hasPrefix("text/html") == true)
        #expect(answer.headers["connection"] == "close")
        try await connection.readToEnd()
      }
      try await RawConnection.open(port: harness.port) { connection in
        try await connection.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\nOPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n")
        let head = try #require(try await connection.readResponse(toHead: true))
        #expect(Int(head.headers["content-length"] ?? "") ?? 0 > 0)
        let preflight = try #require(try await connection.readResponse())
        #expect(preflight.headers["access-control-allow-methods"] != nil)
      }
    }
  }

  @Test("a refused handshake gets its status and body before the connection ends")
  func refusedUpgrade() async throws {
    try await ServerHarness.run { harness in
      let arn = try await harness.server.createChannelIfMissing(named: "porch")
      try await RawConnection.open(port: harness.port) { connection in
        try await connection.send(try harness.handshake(arn: arn, secret: "wrong"))
        let refused = try #require(try await connection.readResponse())
        #expect(refused.status == 403)
        #expect(refused.headers["x-amzn-errortype"] == "InvalidSignatureException")
        #expect(refused.body.hasPrefix(#"{"message":""#))
        #expect(refused.headers["connection"] == "close")
        try await connection.readToEnd()
      }
      for (other, status) in [(arn + "4", 404), ("nonsense", 400)] {
        try await RawConnection.open(port: harness.port) { connection in
          try await connection.send(try harness.handshake(arn: other))
          #expect(try await connection.readResponse()?.status == status)
        }
      }
    }
  }

  @Test("bodies, headers and bytes that are none are answered, and the server lives")
  func malformedHTTP() async throws {
    try await ServerHarness.run { harness in
      let long = String(repeating: "a", count: 70_000)
      let requests = [
        ("NONSENSE\r\n\r\n", 400), ("GET / HTTP/9.9\r\n\r\n", 400), ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nX: \(long)\r\n\r\n", 400),
        ("GET /\(long) HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n\(long)", 413),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
      ]
      for (bytes, status) in requests {
        try await RawConnection.open(port: harness.port) { connection in
          try await connection.send(bytes)
          let answer = try await connection.readResponse()
          #expect(answer?.status == status, "\(bytes.prefix(40))")
        }
      }
      try await RawConnection.open(port: harness.port) { connection in
        try await connection.send(try harness.post("/listSignalingChannels", ""))
        #expect(try await connection.readResponse()?.status == 200)
      }
    }
  }

  @Test("a port in use is one sentence that names --port")
  func portInUse() async throws {
    try await ServerHarness.run { harness in
      var configuration = LocalKinesisVideoServer.Configuration()
      configuration.port = harness.port
      let second = LocalKinesisVideoServer(
        configuration: configuration, eventLoopGroup: .singletonMultiThreadedEventLoopGroup,
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
      do throws(LocalServerError) {
        _ = try await second.start()
        Issue.record("two servers on one port")
      } catch {
        #expect(error == .portInUse(host: "127.0.0.1", port: harness.port))
        #expect(error.description.contains("--port"))
      }
      configuration.port = 70_000
      let third = LocalKinesisVideoServer(
        configuration: configuration, eventLoopGroup: .singletonMultiThreadedEventLoopGroup,
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
      await #expect(throws: LocalServerError.invalidPort(70_000)) { _ = try await third.start() }
    }
  }

  @Test("stored channels are there after a restart; a broken file is one sentence that names --data-dir")
  func restart() async throws {
    let directory = FileManager.default.temporaryDirectory.appending(
      path: "local-kvs-\(UInt64.random(in: 0...(.max)))")
    defer { try? FileManager.default.removeItem(at: directory) }
    var arn = ""
    try await ServerHarness.run {
      $0.dataDirectory = directory.path
    } _: { harness in
      arn = try await harness.server.createChannelIfMissing(named: "porch")
    }
    try await ServerHarness.run {
      $0.dataDirectory = directory.path
    } _: { harness in
      let found = try await harness.server.withService { service, _ in service.registry.channels.map(\.arn) }
      #expect(found == [arn])
    }
    try Data("{".utf8).write(to: directory.appending(path: "channels.json"))
    await #expect {
      try await ServerHarness.run {
        $0.dataDirectory = directory.path
      } _: { _ in
      }
    } throws: { error in
      "\(error)".contains("--data-dir")
    }
  }

  @Test("connections beyond the limit are closed, and a slow request ends")
  func limits() async throws {
    try await ServerHarness.run {
      $0.connectionsMax = 2
      $0.requestTimeout = .milliseconds(300)
    } _: { harness in
      try await RawConnection.open(port: harness.port) { first in
        try await RawConnection.open(port: harness.port) { second in
          // On a slow machine the time for a request may be over before it begins: that ends it as well.
          try? await second.send("GET / HT")
          try await RawConnection.open(port: harness.port) { third in
            try await third.readToEnd()
          }
          try await second.readToEnd()
        }
        try await first.readToEnd()
      }
    }
  }

  @Test("T39 and T43 a flood of refusals makes few lines, none with a secret")
  func logs() async throws {
    let log = CapturedLog()
    try await ServerHarness.run({ $0.region = "us-west-2" }, log: log) { harness in
      let arn = try await harness.server.createChannelIfMissing(named: "porch")
      try await RawConnection.open(port: harness.port) { connection in
        for _ in 0..<300 {
          try await connection.send(try harness.post("/listSignalingChannels", "", isSigned: false))
          #expect(try await connection.readResponse()?.status == 403)
        }
      }
      try await harness.withSocket(arn: arn, clientID: "a") { socket in
        for _ in 0..<300 { try await socket.send(RawConnection.frame(1, Array("{".utf8))) }
        try await socket.send(RawConnection.frame(9, [1]))
        #expect(try await socket.readFrame() == RawConnection.Frame(opcode: 10, payload: [1]))
      }
      try await RawConnection.open(port: harness.port) { connection in
        try await connection.send(try harness.handshake(arn: arn, secret: "wrong"))
        #expect(try await connection.readResponse()?.status == 403)
      }
      try await RawConnection.open(port: harness.port) { connection in
        try await connection.send("GET /%1b[31m?X-Amz-Signature=canary HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try await connection.readResponse()?.status == 403)
      }
    }
    let lines = log.lines
    #expect(lines.count < 30)
    #expect(lines.contains { $0.contains("MissingAuthenticationTokenException") })
    for line in lines {
      #expect(!line.contains(ServerHarness.secret) && !line.contains("X-Amz-") && !line.contains("\u{1b}"))
    }
  }
}

@Suite("The stand-in's server speaks WebSocket", .timeLimit(.minutes(1)))
struct LocalServerWebSocketTests {
  private func offer(_ payload: String) -> [UInt8] {
    Array(#"{"action":"SDP_OFFER","messagePayload":"\#(payload)"}"#.utf8)
  }

  @Test("AT-30, AT-41 and AT-46 an offer in fragments with a ping between them reaches the master")
  func exchange() async throws {
    try await ServerHarness.run { harness in
      let arn = try await harness.server.createChannelIfMissing(named: "porch")
      try await harness.withSocket(arn: arn) { master in
        try await harness.withSocket(arn: arn, clientID: "viewer-1") { viewer in
          let bytes = offer("QUJD")
          try await viewer.send(RawConnection.frame(1, [], isLast: false))
          try await viewer.send(RawConnection.frame(0, Array(bytes.prefix(9)), isLast: false))
          try await viewer.send(RawConnection.frame(9, [7, 7]))
          #expect(try await viewer.readFrame() == RawConnection.Frame(opcode: 10, payload: [7, 7]))
          try await viewer.send(RawConnection.frame(0, Array(bytes.dropFirst(9))))
          let received = try #require(try await master.readFrame())
          #expect(
            received.text
              == #"{"messagePayload":"QUJD","messageType":"SDP_OFFER","senderClientId":"viewer-1"}"#)
          // A close frame is answered with its own code.
          try await viewer.send(RawConnection.frame(8, [0x03, 0xe8]))
          #expect(try await viewer.readFrame()?.closeCode == 1000)
          try await viewer.readToEnd()
        }
      }
    }
  }

  @Test("frames that come with the handshake's last bytes are not lost")
  func earlyFrame() async throws {
    try await ServerHarness.run { harness in
      let arn = try await harness.server.createChannelIfMissing(named: "porch")
      try await RawConnection.open(port: harness.port) { viewer in
        try await viewer.send(
          Array(try harness.handshake(arn: arn, clientID: "a").utf8) + RawConnection.frame(9, [5]))
        #expect(try await viewer.readResponse()?.status == 101)
        #expect(try await viewer.readFrame() == RawConnection.Frame(opcode: 10, payload: [5]))
      }
    }
  }

  @Test("T34 frames that break the rules end their own connection with the right code, and no other")
  func brokenFrames() async throws {
    try await ServerHarness.run { harness in
      let arn = try await harness.server.createChannelIfMissing(named: "porch")
      let kilobytes = [UInt8](repeating: UInt8(ascii: "a"), count: 40_000)
      let fragment = RawConnection.frame(0, [], isLast: false)
      let cases: [(String, [UInt8], Int)] = [
        ("not masked", RawConnection.frame(1, offer("QQ=="), isMasked: false), 1002),
        ("reserved bit", RawConnection.frame(1, offer("QQ=="), reservedBits: 4), 1002),
        ("unknown opcode", RawConnection.frame(3, [1]), 1002),
        ("binary", RawConnection.frame(2, [1]), 1003),
        ("not UTF-8", RawConnection.frame(1, [0xff, 0xfe]), 1007),
        ("fragment of nothing", RawConnection.frame(0, [1]), 1002),
        (
          "message in a message", RawConnection.frame(1, [], isLast: false) + RawConnection.frame(1, []), 1002
        ),
        ("length of 2^63", [0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], 1009),
        ("long frame", RawConnection.frame(1, [UInt8](repeating: 0x20, count: 65_537)), 1009),
        ("long control frame", RawConnection.frame(9, [UInt8](repeating: 1, count: 126)), 1002),
        ("control frame in fragments", RawConnection.frame(9, [1], isLast: false), 1002),
        (
          "long message in fragments",
          RawConnection.frame(1, kilobytes, isLast: false) + RawConnection.frame(0, kilobytes), 1009
        ),
        (
          "many fragments",
          RawConnection.frame(1, [], isLast: false) + (0..<64).flatMap { _ in fragment }, 1008
        ),
      ]
      try await harness.withSocket(arn: arn) { master in
        for (index, (name, bytes, code)) in cases.enumerated() {
          try await harness.withSocket(arn: arn, clientID: "v\(index)") { viewer in
            try await viewer.send(bytes)
            #expect(try await viewer.readFrame()?.closeCode == code, "\(name)")
          }
        }
        try await master.send(RawConnection.frame(9, [3]))
        #expect(try await master.readFrame() == RawConnection.Frame(opcode: 10, payload: [3]))
      }
    }
  }

  @Test("T34 random frames never end the server")
  func randomFrames() async throws {
    try await ServerHarness.run { harness in
      let arn = try await harness.server.createChannelIfMissing(named: "porch")
      var random = RandomSource(seed: 11)
      for _ in 0..<40 {
        try await harness.withSocket(arn: arn, clientID: "fuzz") { viewer in
          var bytes: [UInt8] = []
          for _ in 0..<20 {
            var frame = RawConnection.frame(UInt8(random.next() % 3), offer("QUJD"))
            frame[Int(random.next() % UInt64(frame.count))] ^= UInt8(1) << UInt8(random.next() % 8)
            bytes += frame
          }
          try await viewer.send(bytes)
        }
      }
      try await harness.withSocket(arn: arn, clientID: "fuzz") { viewer in
        try await viewer.send(RawConnection.frame(9, [3]))
        #expect(try await viewer.readFrame() == RawConnection.Frame(opcode: 10, payload: [3]))
      }
    }
  }

  @Test("AT-39 a second master takes over, and the first is closed with 1001")
  func takeover() async throws {
    try await ServerHarness.run { harness in
      let arn = try await harness.server.createChannelIfMissing(named: "porch")
      try await harness.withSocket(arn: arn) { first in
        try await harness.withSocket(arn: arn) { second in
          #expect(try await first.readFrame()?.closeCode == 1001)
          try await harness.withSocket(arn: arn, clientID: "a") { viewer in
            try await viewer.send(RawConnection.frame(1, offer("QUJD")))
            #expect(try await second.readFrame()?.text.contains("QUJD") == true)
          }
        }
      }
    }
  }

  @Test("AT-42 and AT-43 notices and ends come by the server's own timer")
  func timers() async throws {
    try await ServerHarness.run {
      $0.signaling.connectionLifetime = .milliseconds(400)
      $0.signaling.goAwayGrace = .milliseconds(200)
    } _: { harness in
      let arn = try await harness.server.createChannelIfMissing(named: "porch")
      try await harness.withSocket(arn: arn) { master in
        #expect(try await master.readFrame()?.text == #"{"messageType":"GO_AWAY"}"#)
        #expect(try await master.readFrame()?.closeCode == 1001)
        try await master.readToEnd()
      }
    }
  }

  @Test("a client that vanishes leaves its place, and a shutdown says 1001")
  func shutdown() async throws {
    try await ServerHarness.run { harness in
      let arn = try await harness.server.createChannelIfMissing(named: "porch")
      try await harness.withSocket(arn: arn, clientID: "a") { _ in }
      try await harness.withSocket(arn: arn) { master in
        // The first viewer's end has been seen once the second one's answer is there: both are on one loop.
        try await harness.withSocket(arn: arn, clientID: "b") { viewer in
          try await viewer.send(RawConnection.frame(1, offer("QUJD")))
          _ = try await master.readFrame()
        }
        async let end: Void = harness.server.shutdown()
        #expect(try await master.readFrame()?.closeCode == 1001)
        try await master.send(RawConnection.frame(8, [0x03, 0xe9]))
        try await master.readToEnd()
        await end
      }
    }
  }
}
