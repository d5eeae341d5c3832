// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1
import NIOWebSocket

/// Why a socket was closed by us.
enum WebSocketViolation: String, Error, CustomStringConvertible {
  case reservedBits = "a frame with reserved bits"
  case reservedOpcode = "a frame with a reserved opcode"
  case masked = "a masked frame from the server"
  case unread = "the server does not read what is sent"

  var description: String { rawValue }
}

/// Refuses what RFC 6455 forbids and the decoder lets pass: reserved bits without an extension and reserved opcodes
/// (§5.2), and masked frames from a server (§5.1).
final class FrameRules: ChannelInboundHandler {
  typealias InboundIn = WebSocketFrame
  typealias InboundOut = WebSocketFrame

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let frame = unwrapInboundIn(data)
    if frame.rsv1 || frame.rsv2 || frame.rsv3 {
      context.fireErrorCaught(WebSocketViolation.reservedBits)
    } else if frame.maskKey != nil {
      context.fireErrorCaught(WebSocketViolation.masked)
    } else {
      switch frame.opcode {
      case .continuation, .text, .binary, .connectionClose, .ping, .pong: context.fireChannelRead(data)
      default: context.fireErrorCaught(WebSocketViolation.reservedOpcode)
      }
    }
  }
}

/// Hands whole messages to the session, answers pings and closes (RFC 6455 §5.5).
///
/// Nothing is told after the end, which TLS may put off until its own goodbye.
final class MessageHandler: ChannelInboundHandler {
  typealias InboundIn = WebSocketFrame
  typealias OutboundOut = WebSocketFrame

  private let receive: @Sendable (WebSocketInput) -> Void
  /// The latest ping; of several that came together only this one is answered (§5.5.3).
  private var unansweredPing: ByteBuffer?
  private var isOver = false

  init(receive: @escaping @Sendable (WebSocketInput) -> Void) { self.receive = receive }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isOver else { return }
    let frame = unwrapInboundIn(data)
    switch frame.opcode {
    case .text: receive(.text(Array(frame.data.readableBytesView)))
    case .binary: receive(.binary)
    case .ping:
      receive(.controlFrame)
      unansweredPing = frame.data
    case .pong: receive(.controlFrame)
    case .connectionClose:
      var content = frame.data
      let code = content.readWebSocketErrorCode()
      write(
        .connectionClose,
        code == nil ? ByteBuffer() : frame.data.getSlice(at: frame.data.readerIndex, length: 2), context)
      let suffix = code.map { " (\(UInt16(webSocketErrorCode: $0)))" } ?? ""
      end("the service closed the connection" + suffix, context)
    default: break
    }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    if let ping = unansweredPing, !isOver { write(.pong, ping, context) }
    unansweredPing = nil
    context.fireChannelReadComplete()
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if !context.channel.isWritable { errorCaught(context: context, error: WebSocketViolation.unread) }
    context.fireChannelWritabilityChanged()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    end(LogText.escaped("the connection failed: \(error)"), context)
  }

  func channelInactive(context: ChannelHandlerContext) {
    end("the connection was closed", context)
    context.fireChannelInactive()
  }

  private func end(_ reason: String, _ context: ChannelHandlerContext) {
    guard !isOver else { return }
    isOver = true
    receive(.closed(reason: reason))
    context.close(promise: nil)
  }

  private func write(_ opcode: WebSocketOpcode, _ content: ByteBuffer?, _ context: ChannelHandlerContext) {
    let frame = WebSocketFrame(fin: true, opcode: opcode, maskKey: .random(), data: content ?? ByteBuffer())
    context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
  }
}

/// Reads the answer of a service that refuses the handshake, at most 64 KB of it, then closes.
final class RefusalHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart

  private let refusal: EventLoopPromise<KinesisVideoError>
  private let secrets: KnownSecrets
  private var head: HTTPResponseHead?
  private var body: [UInt8] = []

  init(refusal: EventLoopPromise<KinesisVideoError>, secrets: KnownSecrets) {
    self.refusal = refusal
    self.secrets = secrets
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): self.head = head
    case .body(let buffer):
      body += buffer.readableBytesView.prefix(KinesisVideoClient.responseBytesMax - body.count)
      if body.count >= KinesisVideoClient.responseBytesMax { finish(context: context) }
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
          statusCode: Int(head.status.code), header: { head.headers.first(name: $0) }, body: body,
          secrets: secrets)
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
