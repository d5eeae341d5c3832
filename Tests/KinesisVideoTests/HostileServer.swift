// SPDX-License-Identifier: Apache-2.0

import Crypto
import FoundationEssentials
import KinesisVideo
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import SansIO
import Synchronization
import Testing

/// A server on loopback that reads requests and WebSocket frames bit by bit and answers whatever bytes a test wants.
final class HostileServer: Sendable {
  /// What a client asked.
  struct Request: Sendable {
    var method: String
    var target: String
    var headers: [String: String]
    var body: [UInt8]
    /// How many WebSockets were asked for, this one included.
    var webSocketNumber: Int

    var isWebSocket: Bool { headers["upgrade"]?.lowercased() == "websocket" }
  }

  /// What it gets.
  enum Reply: Sendable {
    case http(Int, headers: [(String, String)] = [], body: String)
    /// Opens a WebSocket, sends these bytes, and answers each frame of the client by bytes.
    case webSocket(
      [UInt8], onFrame: @Sendable (_ opcode: UInt8, _ payload: [UInt8]) -> [UInt8] = { _, _ in [] })
    case raw([UInt8], thenClose: Bool = false)
  }

  typealias Script = @Sendable (Request) -> Reply

  let requests = Mutex<[Request]>([])
  /// What arrived in the clear: after TLS, if there is TLS.
  let bytesReceived = Mutex<Int>(0)
  let connectionsOpen = Mutex<Int>(0)
  private let listener: any Channel

  /// Listens on a free port of 127.0.0.1.
  init(tls: NIOSSLContext? = nil, _ script: @escaping Script) async throws {
    let owner = Owner()
    listener = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if let tls { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls)) }
          try channel.pipeline.syncOperations.addHandler(HostileHandler(owner: owner, script: script))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    owner.server.withLock { $0 = self }
  }

  var port: Int { listener.localAddress?.port ?? 0 }
  func stop() async throws { try await listener.close() }

  /// Ties connections to their server, which does not exist yet when it begins to listen.
  fileprivate final class Owner: Sendable {
    let server = Mutex<HostileServer?>(nil)
  }
}

// MARK: Frames

extension HostileServer {
  /// A frame as a server sends it, unless told otherwise.
  static func frame(_ first: UInt8, _ payload: [UInt8], mask: [UInt8]? = nil) -> [UInt8] {
    let flag: UInt8 = mask == nil ? 0 : 0x80
    var bytes = [first]
    switch payload.count {
    case ..<126: bytes.append(flag | UInt8(payload.count))
    case ..<65_536: bytes += [flag | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xff)]
    default: bytes += [flag | 127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
    }
    guard let mask else { return bytes + payload }
    return bytes + mask + payload.enumerated().map { $0.element ^ mask[$0.offset % 4] }
  }

  static func text(_ text: String) -> [UInt8] { frame(0x81, Array(text.utf8)) }

  /// A text frame with an offer of `viewer`.
  static func offer(_ sdp: String) -> [UInt8] { text(offerText(sdp)) }
  static func offerText(_ sdp: String) -> String {
    SignalingMessage.ServiceFrame.message(
      kind: .offer, payload: SDPPayload(type: "offer", sdp: sdp).payload, senderClientID: "viewer"
    ).text
  }

  /// The answers of a service that works, its WebSocket left to the test.
  static func ordinary(_ request: Request, webSocket: (Request) -> Reply) -> Reply {
    if request.isWebSocket { return webSocket(request) }
    let authority = request.headers["host"] ?? ""
    return control(request, http: "http://\(authority)", webSocket: "ws://\(authority)")
  }

  static func control(_ request: Request, http: String, webSocket: String) -> Reply {
    switch request.target {
    case "/describeSignalingChannel":
      .http(
        200,
        body: #"{"ChannelInfo":{"ChannelARN":"arn:aws:kinesisvideo:us-west-2:1:channel/porch/1","#
          + #""ChannelStatus":"ACTIVE"}}"#)
    case "/getSignalingChannelEndpoint":
      .http(
        200,
        body: #"{"ResourceEndpointList":[{"Protocol":"WSS","ResourceEndpoint":""# + webSocket
          + #""},{"Protocol":"HTTPS","ResourceEndpoint":""# + http + #""}]}"#)
    case "/v1/get-ice-server-config":
      .http(
        200,
        body:
          #"{"IceServerList":[{"Uris":["turn:192.0.2.1:443"],"Username":"u","Password":"canary-turn-password","#
          + #""Ttl":300}]}"#)
    default: .http(404, body: #"{"Message":"no such path"}"#)
    }
  }
}

// MARK: The connection

private final class HostileHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let owner: HostileServer.Owner
  private let script: HostileServer.Script
  private var input: [UInt8] = []
  private var onFrame: (@Sendable (UInt8, [UInt8]) -> [UInt8])?

  init(owner: HostileServer.Owner, script: @escaping HostileServer.Script) {
    self.owner = owner
    self.script = script
  }

  private var server: HostileServer? { owner.server.withLock { $0 } }

  func channelActive(context: ChannelHandlerContext) { server?.connectionsOpen.withLock { $0 += 1 } }
  func channelInactive(context: ChannelHandlerContext) { server?.connectionsOpen.withLock { $0 -= 1 } }
  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let buffer = unwrapInboundIn(data)
    server?.bytesReceived.withLock { $0 += buffer.readableBytes }
    input += buffer.readableBytesView
    while true {
      if let onFrame {
        guard let (opcode, payload) = takeFrame() else { return }
        write(onFrame(opcode, payload), context)
      } else {
        guard let request = takeRequest() else { return }
        server?.requests.withLock { $0.append(request) }
        answer(request, context)
      }
    }
  }

  private func takeRequest() -> HostileServer.Request? {
    let end = Array("\r\n\r\n".utf8)
    guard let range = input.firstRange(of: end) else { return nil }
    let lines = String(decoding: input[..<range.lowerBound], as: UTF8.self).split(separator: "\r\n")
    var headers: [String: String] = [:]
    for line in lines.dropFirst() {
      let parts = line.split(separator: ":", maxSplits: 1)
      if parts.count == 2 { headers[parts[0].lowercased()] = String(parts[1].drop { $0 == " " }) }
    }
    let length = headers["content-length"].flatMap { Int($0) } ?? 0
    guard input.count >= range.upperBound + length, let words = lines.first?.split(separator: " "),
      words.count == 3
    else { return nil }
    let body = Array(input[range.upperBound..<(range.upperBound + length)])
    input.removeFirst(range.upperBound + length)
    let isWebSocket = headers["upgrade"] != nil
    let earlier = server?.requests.withLock { $0.count { $0.isWebSocket } } ?? 0
    return HostileServer.Request(
      method: String(words[0]), target: String(words[1]), headers: headers, body: body,
      webSocketNumber: earlier + (isWebSocket ? 1 : 0))
  }

  private func takeFrame() -> (UInt8, [UInt8])? {
    guard input.count >= 6 else { return nil }
    var length = Int(input[1] & 0x7f)
    var start = 2
    if length == 126 {
      length = Int(input[2]) << 8 | Int(input[3])
      start = 4
    }
    guard input.count >= start + 4 + length else { return nil }
    let mask = Array(input[start..<(start + 4)])
    let payload = input[(start + 4)..<(start + 4 + length)].enumerated().map {
      $0.element ^ mask[$0.offset % 4]
    }
    let opcode = input[0] & 0x0f
    input.removeFirst(start + 4 + length)
    return (opcode, payload)
  }

  private func answer(_ request: HostileServer.Request, _ context: ChannelHandlerContext) {
    switch script(request) {
    case .http(let status, let headers, let body):
      var head = "HTTP/1.1 \(status) x\r\ncontent-length: \(body.utf8.count)\r\n"
      for (name, value) in headers { head += "\(name): \(value)\r\n" }
      write(Array((head + "\r\n" + body).utf8), context)
    case .webSocket(let bytes, let onFrame):
      let key = (request.headers["sec-websocket-key"] ?? "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
      let accept = Data(Insecure.SHA1.hash(data: Array(key.utf8))).base64EncodedString()
      let head =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + "Sec-WebSocket-Accept: \(accept)\r\n\r\n"
      self.onFrame = onFrame
      write(Array(head.utf8) + bytes, context)
    case .raw(let bytes, let thenClose):
      write(bytes, context)
      if thenClose { context.close(promise: nil) }
    }
  }

  private func write(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
    guard !bytes.isEmpty else { return }
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
  }
}

// MARK: The client

/// A client against such a server, and what it told.
struct HostileSession {
  static let canaryKey = "canary-secret-access-key"
  static let canaryToken = "canary+session/token=="

  var client: SignalingClient

  init(
    _ endpoint: String, authority: String? = nil, proxy: ProxyConfiguration = .none,
    logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
  ) {
    var configuration = SignalingClient.Configuration(
      channelName: "porch", role: .master, region: "us-west-2", endpointURL: endpoint,
      credentials: AWSCredentials(
        accessKeyID: "AKIDEXAMPLE", secretAccessKey: Secret(Self.canaryKey),
        sessionToken: Secret(Self.canaryToken)))
    configuration.certificateAuthorityFile = authority
    configuration.proxy = proxy
    client = SignalingClient(
      configuration: configuration, eventLoopGroup: .singletonMultiThreadedEventLoopGroup, httpClient: nil,
      logger: logger)
  }

  init(_ server: HostileServer) { self.init("http://127.0.0.1:\(server.port)") }

  /// Runs until an event is the wanted one, then cancels; gives all events up to it.
  func events(until isWanted: (SignalingEvent) -> Bool) async throws -> [SignalingEvent] {
    let (seen, result) = await outcome(until: isWanted)
    try result.get()
    return seen
  }

  /// The same for a session that may fail.
  func eventsIgnoringFailure(until isWanted: (SignalingEvent) -> Bool) async -> [SignalingEvent] {
    await outcome(until: isWanted).events
  }

  private func outcome(
    until isWanted: (SignalingEvent) -> Bool
  ) async -> (events: [SignalingEvent], result: Result<Void, any Error>) {
    let run = Task { [client] in try await client.run() }
    var seen: [SignalingEvent] = []
    for await event in client.events {
      seen.append(event)
      if isWanted(event) { break }
    }
    run.cancel()
    return (seen, await run.result)
  }
}

func isOffer(_ event: SignalingEvent, _ wanted: String) -> Bool {
  if case .offer(wanted, "viewer") = event { true } else { false }
}

func disconnections(_ events: [SignalingEvent]) -> [String] {
  events.compactMap { if case .disconnected(let reason, _) = $0 { reason } else { nil } }
}
