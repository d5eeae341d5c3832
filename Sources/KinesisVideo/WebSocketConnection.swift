// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOWebSocket

/// What a WebSocket tells its owner, on the socket's event loop.
enum WebSocketInput: Sendable {
  case text([UInt8])
  case binary
  case controlFrame
  case closed(reason: String)
}

/// One WebSocket to the service (RFC 6455), from the handshake to the close. Confined to the loop it was opened on.
///
/// No extension and no subprotocol is offered, so no frame is ever decompressed.
struct WebSocketConnection: Sendable {
  let channel: any Channel

  /// Largest message that is taken, in one frame or in many.
  static let messageBytesMax = SignalingMessage.frameBytesMax
  /// Most fragments of one message.
  static let fragmentsMax = 64
  /// Longest time from the first packet to the open socket.
  static let openTimeout: TimeAmount = .seconds(10)

  private enum Handshake: Sendable {
    case open(any Channel)
    case refused(EventLoopFuture<KinesisVideoError>)
  }

  /// Opens a socket.
  ///
  /// - Parameters:
  ///   - url: The presigned address. Never logged.
  ///   - userAgent: What we call ourselves.
  ///   - tls: The TLS context for `wss`; host names are verified.
  ///   - loop: Where everything about the socket happens.
  ///   - receive: Takes what arrives; called on `loop` and only after this function has returned or is about to.
  /// - Throws: ``KinesisVideoError``; a refused handshake carries the service's status, type and sentence.
  static func open(
    _ url: ServiceURL, userAgent: String, tls: NIOSSLContext?, on loop: any EventLoop,
    receive: @escaping @Sendable (WebSocketInput) -> Void
  ) async throws -> WebSocketConnection {
    let opening = loop.makePromise(of: (any Channel).self)
    let deadline = loop.scheduleTask(in: openTimeout) {
      opening.futureResult.whenSuccess { $0.close(promise: nil) }
    }
    defer { deadline.cancel() }
    do {
      let handshake = try await ClientBootstrap(group: loop)
        .connectTimeout(openTimeout)
        .channelOption(.socketOption(.tcp_nodelay), value: 1)
        .connect(host: url.host, port: url.effectivePort) { channel in
          channel.eventLoop.makeCompletedFuture {
            let result = try configure(channel, url: url, userAgent: userAgent, tls: tls, receive: receive)
            opening.succeed(channel)
            return result
          }
        }.get()
      switch handshake {
      case .open(let channel): return WebSocketConnection(channel: channel)
      case .refused(let error): throw try await error.get()
      }
    } catch {
      opening.fail(ChannelError.alreadyClosed)
      throw KinesisVideoError(connecting: url, failure: error)
    }
  }

  private static func configure(
    _ channel: any Channel, url: ServiceURL, userAgent: String, tls: NIOSSLContext?,
    receive: @escaping @Sendable (WebSocketInput) -> Void
  ) throws -> EventLoopFuture<Handshake> {
    let pipeline = channel.pipeline.syncOperations
    precondition(
      url.isSecure == (tls != nil), "a presigned address never leaves in clear when it asks for TLS")
    if let tls {
      // An address instead of a name cannot be asked for by SNI; it is verified against the certificate all the same.
      let name = url.host.contains(":") || url.host.utf8.allSatisfy({ $0 < 0x3a }) ? nil : url.host
      try pipeline.addHandler(NIOSSLClientHandler(context: tls, serverHostname: name))
    }
    let upgrader = NIOTypedWebSocketClientUpgrader<Handshake>(
      maxFrameSize: messageBytesMax,
      upgradePipelineHandler: { channel, _ in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          try pipeline.addHandler(FrameRules())
          try pipeline.addHandler(
            NIOWebSocketFrameAggregator(
              minNonFinalFragmentSize: 0, maxAccumulatedFrameCount: fragmentsMax,
              maxAccumulatedFrameSize: messageBytesMax))
          try pipeline.addHandler(MessageHandler(receive: receive))
          return .open(channel)
        }
      })
    var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: url.target)
    head.headers = ["host": url.authority, "user-agent": userAgent]
    var upgrade = NIOUpgradableHTTPClientPipelineConfiguration<Handshake>(
      upgradeConfiguration: .init(
        upgradeRequestHead: head, upgraders: [upgrader],
        notUpgradingCompletionHandler: { channel in
          channel.eventLoop.makeCompletedFuture {
            let refusal = channel.eventLoop.makePromise(of: KinesisVideoError.self)
            try channel.pipeline.syncOperations.addHandler(RefusalHandler(refusal: refusal))
            return .refused(refusal.futureResult)
          }
        }))
    // The first frames may come in the same segment as the end of the handshake; by default they would be lost.
    upgrade.leftOverBytesStrategy = .forwardBytes
    return try pipeline.configureUpgradableHTTPClientPipeline(configuration: upgrade)
  }

  /// Sends a text frame.
  func send(text: String) { write(.text, channel.allocator.buffer(string: text)) }

  /// Sends a ping.
  func ping() { write(.ping, channel.allocator.buffer(capacity: 0)) }

  /// Says goodbye (status 1000) and closes.
  func close() {
    var status = channel.allocator.buffer(capacity: 2)
    status.write(webSocketErrorCode: .normalClosure)
    write(.connectionClose, status)
    channel.close(promise: nil)
  }

  private func write(_ opcode: WebSocketOpcode, _ content: ByteBuffer) {
    channel.writeAndFlush(
      WebSocketFrame(fin: true, opcode: opcode, maskKey: .random(), data: content), promise: nil)
  }
}

/// Why a socket was closed by us.
enum WebSocketViolation: String, Error, CustomStringConvertible {
  case reservedBits = "a frame with reserved bits"
  case masked = "a masked frame from the server"

  var description: String { rawValue }
}

/// Refuses what RFC 6455 forbids and the decoder lets pass: reserved bits without an extension (§5.2) and masked frames
/// from a server (§5.1).
private final class FrameRules: ChannelInboundHandler {
  typealias InboundIn = WebSocketFrame
  typealias InboundOut = WebSocketFrame

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let frame = unwrapInboundIn(data)
    if frame.rsv1 || frame.rsv2 || frame.rsv3 {
      context.fireErrorCaught(WebSocketViolation.reservedBits)
    } else if frame.maskKey != nil {
      context.fireErrorCaught(WebSocketViolation.masked)
    } else {
      context.fireChannelRead(data)
    }
  }
}

/// Hands whole messages to the session, answers pings and closes (RFC 6455 §5.5).
private final class MessageHandler: ChannelInboundHandler {
  typealias InboundIn = WebSocketFrame
  typealias OutboundOut = WebSocketFrame

  private let receive: @Sendable (WebSocketInput) -> Void
  private var reason = "the connection was closed"

  init(receive: @escaping @Sendable (WebSocketInput) -> Void) { self.receive = receive }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let frame = unwrapInboundIn(data)
    switch frame.opcode {
    case .text: receive(.text(Array(frame.data.readableBytesView)))
    case .binary: receive(.binary)
    case .ping:
      receive(.controlFrame)
      answer(.pong, frame.data, context: context)
    case .pong: receive(.controlFrame)
    case .connectionClose:
      var content = frame.data
      if let code = content.readWebSocketErrorCode() {
        reason = "the service closed the connection (\(UInt16(webSocketErrorCode: code)))"
      }
      answer(
        .connectionClose,
        frame.data.getSlice(at: frame.data.readerIndex, length: min(2, frame.data.readableBytes))
          ?? ByteBuffer(), context: context)
      context.close(promise: nil)
    default: break
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    reason = LogText.escaped("the connection failed: \(error)")
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    receive(.closed(reason: reason))
    context.fireChannelInactive()
  }

  private func answer(_ opcode: WebSocketOpcode, _ content: ByteBuffer, context: ChannelHandlerContext) {
    let frame = WebSocketFrame(fin: true, opcode: opcode, maskKey: .random(), data: content)
    context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
  }
}

/// Reads the answer of a service that refuses the handshake, at most 64 KB of it, then closes.
private final class RefusalHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart

  private let refusal: EventLoopPromise<KinesisVideoError>
  private var head: HTTPResponseHead?
  private var body: [UInt8] = []

  init(refusal: EventLoopPromise<KinesisVideoError>) { self.refusal = refusal }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): self.head = head
    case .body(let buffer):
      body += buffer.readableBytesView.prefix(KinesisVideoClient.responseBytesMax - body.count)
    case .end: finish(context: context)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { finish(context: context) }

  func channelInactive(context: ChannelHandlerContext) {
    finish(context: context)
    context.fireChannelInactive()
  }

  private func finish(context: ChannelHandlerContext) {
    let answer = head.map { head in
      head.status.code >= 400
        ? KinesisVideoError(
          statusCode: Int(head.status.code), header: { head.headers.first(name: $0) }, body: body)
        : KinesisVideoClient.unexpected(
          "The server answered with status \(head.status.code) and opened no WebSocket.")
    }
    refusal.succeed(
      answer
        ?? KinesisVideoError(
          errorType: KinesisVideoError.connectionFailure,
          message: "The WebSocket was refused without an answer.",
          statusCode: 0))
    context.close(promise: nil)
  }
}
