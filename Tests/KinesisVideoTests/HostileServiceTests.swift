// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import KinesisVideo
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import SansIO
import Synchronization
import Testing

private typealias Server = HostileServer

@Suite("A service that refuses, or is not whom it claims to be", .timeLimit(.minutes(2)))
struct HostileServiceTests {
  @Test(
    "T37 A clock that is wrong by a quarter of an hour is corrected with one more request",
    arguments: [-900, 900])
  func clockSkew(seconds: Int64) async throws {
    let server = try await Server { request in
      let serverTime = UnixTime.now.advanced(bySeconds: seconds)
      let date =
        request.headers["x-amz-date"]
        ?? request.target.split(separator: "X-Amz-Date=").last.map { String($0.prefix(16)) } ?? ""
      let signed = UnixTime(basicFormat: date)?.seconds ?? 0
      guard abs(signed - serverTime.seconds) < 300 else {
        return .http(
          403, headers: [("x-amzn-ErrorType", "InvalidSignatureException"), ("date", serverTime.httpDate)],
          body: #"{"message":"Signature expired: it is too late"}"#)
      }
      return Server.ordinary(request) { _ in .webSocket(Server.offer("first")) }
    }
    let events = try await HostileSession(server).events { isOffer($0, "first") }
    #expect(disconnections(events).count == 1)
    let describes = server.requests.withLock { $0.count { $0.target == "/describeSignalingChannel" } }
    #expect(describes == 2)
    try await server.stop()
  }

  @Test("T37 Refusals for good end the first attempt after one request", arguments: [400, 403, 404])
  func refusedForGood(status: Int) async throws {
    let server = try await Server { _ in .http(status, body: "{}") }
    let session = HostileSession(server)
    await #expect(throws: KinesisVideoError.self) { try await session.client.run() }
    #expect(server.requests.withLock { $0.count } == 1)
    try await server.stop()
  }

  @Test("T37 A refused call of the REST client is tried again, attempts apart by a third of a second")
  func attemptsApart() async throws {
    #expect(try await elapsed(answering: 500) >= .milliseconds(334))
    #expect(try await elapsed(answering: 429) >= .milliseconds(334))
  }

  /// How long a call takes that is refused once.
  private func elapsed(answering status: Int) async throws -> Duration {
    let count = Mutex(0)
    let server = try await Server { request in
      let number = count.withLock {
        $0 += 1
        return $0
      }
      // A body beyond the bound does not hide the status.
      return number == 1
        ? .http(status, body: String(repeating: "x", count: 100_000))
        : Server.ordinary(request) { _ in .raw([]) }
    }
    let result = try await withREST(server) { client in
      try await ContinuousClock().measure { _ = try await client.describeSignalingChannel(name: "porch") }
    }
    try await server.stop()
    return result
  }

  private func withREST<Result: Sendable>(
    _ server: HostileServer, _ body: (KinesisVideoClient) async throws -> Result
  ) async throws -> Result {
    let region = try #require(ServiceRegion("us-west-2"))
    let http = HTTPClient(
      eventLoopGroup: .singletonMultiThreadedEventLoopGroup,
      configuration: KinesisVideoClient.httpConfiguration())
    let client = KinesisVideoClient(
      configuration: .init(
        region: region, controlEndpoint: ServiceURL("http://127.0.0.1:\(server.port)"),
        credentials: AWSCredentials(accessKeyID: "AKIDEXAMPLE", secretAccessKey: Secret("canary-secret"))),
      httpClient: http)
    do {
      let result = try await body(client)
      try await http.shutdown()
      return result
    } catch {
      try await http.shutdown()
      throw error
    }
  }

  @Test("Cancelled at any step, a session ends at once and leaves no connection", arguments: 0..<5)
  func cancelled(step: Int) async throws {
    let paths = ["/describeSignalingChannel", "/getSignalingChannelEndpoint", "/v1/get-ice-server-config"]
    let (reached, signal) = AsyncStream.makeStream(of: Void.self)
    let server = try await Server { request in
      let isStep = step < 3 ? request.target == paths[step] : request.isWebSocket
      guard isStep else { return Server.ordinary(request) { _ in .raw([]) } }
      signal.yield()
      return step == 4 ? .webSocket([]) : .raw([])
    }
    let session = HostileSession(server)
    let run = Task { try await session.client.run() }
    for await _ in reached { break }
    run.cancel()
    let time = try await ContinuousClock().measure { try await run.value }
    #expect(time < .seconds(5))
    for await _ in session.client.events {}
    while server.connectionsOpen.withLock({ $0 }) > 0 {
      try Task.checkCancellation()
      await Task.yield()
    }
    try await server.stop()
  }
}

@Suite("T38 TLS", .timeLimit(.minutes(2)))
struct HostileTLSTests {
  private static let folder =
    "/" + #filePath.split(separator: "/").dropLast().joined(separator: "/") + "/Certificates/"

  private static func context(_ name: String, newest: TLSVersion? = nil) throws -> NIOSSLContext {
    var configuration = TLSConfiguration.makeServerConfiguration(
      certificateChain: try NIOSSLCertificate.fromPEMFile(folder + name + ".pem").map { .certificate($0) },
      privateKey: .privateKey(try NIOSSLPrivateKey(file: folder + "server.key", format: .pem)))
    if let newest {
      configuration.minimumTLSVersion = .tlsv1
      configuration.maximumTLSVersion = newest
    }
    return try NIOSSLContext(configuration: configuration)
  }

  private static let faults = [
    "wrong-host", "expired", "future", "self-signed", "unknown-authority", "TLS 1.1", "plain",
  ]

  private static func context(fault: String) throws -> NIOSSLContext? {
    switch fault {
    case "plain": nil
    case "TLS 1.1": try context("good", newest: .tlsv11)
    default: try context(fault)
    }
  }

  @Test(
    "A control endpoint with a bad certificate gets no request, and the session says why", arguments: faults)
  func control(fault: String) async throws {
    let server = try await Server(tls: Self.context(fault: fault)) { _ in .http(200, body: "{}") }
    let session = HostileSession("https://127.0.0.1:\(server.port)", authority: Self.folder + "authority.pem")
    let events = await session.eventsIgnoringFailure { if case .disconnected = $0 { true } else { false } }
    #expect(disconnections(events).count == 1)
    #expect(server.requests.withLock { $0.isEmpty })
    if fault != "plain" { #expect(server.bytesReceived.withLock { $0 } == 0) }
    try await server.stop()
  }

  @Test("A WebSocket endpoint with a bad certificate never sees the presigned address", arguments: faults)
  func webSocket(fault: String) async throws {
    let bad = try await Server(tls: Self.context(fault: fault)) { _ in .http(200, body: "{}") }
    let badPort = bad.port
    let good = try await Server(tls: Self.context("good")) { request in
      Server.control(
        request, http: "https://\(request.headers["host"] ?? "")", webSocket: "wss://127.0.0.1:\(badPort)")
    }
    let session = HostileSession("https://127.0.0.1:\(good.port)", authority: Self.folder + "authority.pem")
    let events = await session.eventsIgnoringFailure { if case .disconnected = $0 { true } else { false } }
    #expect(disconnections(events).count == 1)
    #expect(good.requests.withLock { $0.count } == 3)
    #expect(bad.requests.withLock { $0.isEmpty })
    if fault != "plain" { #expect(bad.bytesReceived.withLock { $0 } == 0) }
    try await bad.stop()
    try await good.stop()
  }

  @Test("A good certificate is taken, by name and by address; an endpoint may not lead out of TLS")
  func good() async throws {
    let server = try await Server(tls: Self.context("good")) { request in
      let authority = request.headers["host"] ?? ""
      return request.isWebSocket
        ? .webSocket(Server.offer("first"))
        : Server.control(request, http: "https://\(authority)", webSocket: "wss://\(authority)")
    }
    for host in ["127.0.0.1", "localhost"] {
      let session = HostileSession("https://\(host):\(server.port)", authority: Self.folder + "authority.pem")
      _ = try await session.events { isOffer($0, "first") }
    }
    try await server.stop()
    let downgrade = try await Server(tls: Self.context("good")) { request in
      let authority = request.headers["host"] ?? ""
      return Server.control(request, http: "https://\(authority)", webSocket: "ws://\(authority)")
    }
    let session = HostileSession(
      "https://127.0.0.1:\(downgrade.port)", authority: Self.folder + "authority.pem")
    await #expect(throws: KinesisVideoError.self) { try await session.client.run() }
    #expect(downgrade.requests.withLock { !$0.contains { $0.isWebSocket } })
    try await downgrade.stop()
  }
}

@Suite("T39 Secrets and logs", .timeLimit(.minutes(2)))
struct SecretsInLogsTests {
  /// Keeps every line at every level.
  private final class CapturedLog: Sendable {
    let lines = Mutex<[String]>([])

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
        log.lines.withLock {
          $0.append("\(event.level) \(event.message) \(metadata) \(event.metadata ?? [:])")
        }
      }
    }
  }

  /// What a server can quote of the request that it refuses, as the real service does with the canonical request.
  private static func quoting(_ request: HostileServer.Request, _ status: Int) -> HostileServer.Reply {
    let headers = request.headers.map { "\($0.key):\($0.value)" }.joined(separator: " ")
    return .http(
      status, headers: [("x-amzn-ErrorType", "ThrottlingException")],
      body: #"{"message":"not '"# + headers + " " + request.target + #"'"}"#)
  }

  private static func status(_ text: String) -> [UInt8] {
    Server.text(
      SignalingMessage.ServiceFrame.statusResponse(
        .init(correlationID: nil, errorType: "X", statusCode: "400", description: text)
      ).text)
  }

  @Test("A whole session, refusals that quote the request included, logs no secret at trace level")
  func canaries() async throws {
    let count = Mutex(0)
    let server = try await Server { request in
      let number = count.withLock {
        $0 += 1
        return $0
      }
      if number == 1 { return Self.quoting(request, 429) }
      return Server.ordinary(request) { socket in
        socket.webSocketNumber < 3
          ? Self.quoting(socket, 400 + socket.webSocketNumber)
          : .webSocket(
            Self.status(HostileSession.canaryToken) + Server.text("{")
              + Server.offer("a=ice-pwd:canary-ice-pwd"))
      }
    }
    let log = CapturedLog()
    let session = HostileSession("http://127.0.0.1:\(server.port)", logger: log.logger)
    let events = try await session.events { isOffer($0, "a=ice-pwd:canary-ice-pwd") }
    let lines = log.lines.withLock { $0 } + disconnections(events)
    let requests = server.requests.withLock { $0 }
    try await server.stop()
    let signatures = requests.compactMap { request in
      let text = (request.headers["authorization"] ?? "") + request.target
      return text.split(separator: "Signature=").dropFirst().first.map { String($0.prefix(64)) }
    }
    #expect(disconnections(events).count == 3)
    #expect(lines.contains { $0.contains("<redacted>") })
    #expect(lines.contains { $0.contains("dropped something") })
    #expect(signatures.count >= 7)
    let canaries =
      signatures + [
        HostileSession.canaryKey, HostileSession.canaryToken, "canary%2Bsession", "canary%252Bsession",
        "canary-turn-password", "canary-ice-pwd",
      ]
    for line in lines {
      for canary in canaries { #expect(!line.contains(canary)) }
    }
  }
}
