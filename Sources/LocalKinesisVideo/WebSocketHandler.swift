// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import NIOCore
import NIOWebSocket
import SansIO

/// One WebSocket after its handshake: puts messages together, answers pings, and hands the rest to the hub.
///
/// Extensions are never negotiated, so nothing is compressed (RFC 6455). All of it runs on the server's loop.
final class WebSocketHandler: ChannelInboundHandler {
  typealias InboundIn = WebSocketFrame
  typealias OutboundOut = WebSocketFrame

  /// A message of which not all fragments have come.
  private struct Fragments {
    let opcode: WebSocketOpcode
    var bytes: [UInt8]
    var count: Int
  }

  private let state: ServerState
  private let id: SignalingConnectionID
  private var context: ChannelHandlerContext?
  private var fragments: Fragments?
  /// A close frame was sent: nothing but its answer is of interest.
  private var isClosing = false

  init(state: ServerState, id: SignalingConnectionID) {
    self.state = state
    self.id = id
  }

  /// The channel that the handler is in.
  var channelIdentifier: ObjectIdentifier? { context.map { ObjectIdentifier($0.channel) } }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    state.attach(self, as: id)
  }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelInactive(context: ChannelHandlerContext) {
    state.ended(id)
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    switch error as? NIOWebSocketError {
    case .invalidFrameLength: fail(.messageTooBig, "Message too long")
    case .some: fail(.protocolError, "Malformed frame")
    case nil: context.close(promise: nil)
    }
  }

  // MARK: inbound

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let frame = unwrapInboundIn(data)
    if isClosing {
      if frame.opcode == .connectionClose { context.close(promise: nil) }
      return
    }
    // Clients mask every frame (RFC 6455 §5.1); reserved bits belong to extensions (§5.2).
    guard frame.maskKey != nil, !frame.rsv1, !frame.rsv2, !frame.rsv3 else {
      return fail(.protocolError, "Malformed frame")
    }
    var payload = frame.unmaskedData
    switch frame.opcode {
    case .text, .binary:
      guard fragments == nil else { return fail(.protocolError, "A message within a message") }
      receive(payload.readBytes(length: payload.readableBytes) ?? [], of: frame.opcode, isLast: frame.fin)
    case .continuation:
      guard let opcode = fragments?.opcode else { return fail(.protocolError, "A fragment of no message") }
      receive(payload.readBytes(length: payload.readableBytes) ?? [], of: opcode, isLast: frame.fin)
    case .ping:
      guard context.channel.isWritable else { return state.closeSlowReader(id) }
      context.writeAndFlush(
        wrapOutboundOut(WebSocketFrame(fin: true, opcode: .pong, data: payload)), promise: nil)
      state.withHub { hub, now in hub.receiveControl(on: id, at: now) }
    case .pong: state.withHub { hub, now in hub.receiveControl(on: id, at: now) }
    case .connectionClose: answerClose(payload, context: context)
    default: fail(.protocolError, "Unknown opcode")
    }
  }

  private func receive(_ bytes: [UInt8], of opcode: WebSocketOpcode, isLast: Bool) {
    if opcode == .binary { return state.withHub { hub, _ in hub.receiveBinary(on: id) } }
    var message = fragments ?? Fragments(opcode: opcode, bytes: [], count: 0)
    message.count += 1
    guard message.count <= ServerState.Limits.fragmentsMax else {
      return fail(.policyViolation, "Too many fragments")
    }
    guard message.bytes.count + bytes.count <= ServerState.Limits.messageBytesMax else {
      return fail(.messageTooBig, "Message too long")
    }
    message.bytes += bytes
    guard isLast else {
      fragments = message
      return
    }
    fragments = nil
    guard String(validating: message.bytes, as: UTF8.self) != nil else {
      return fail(.invalidData, "Not UTF-8")
    }
    state.withHub { hub, now in hub.receive(message.bytes, on: id, at: now) }
  }

  /// Answers a client's close frame with its own code and ends the connection (RFC 6455 §5.5.1).
  private func answerClose(_ payload: ByteBuffer, context: ChannelHandlerContext) {
    isClosing = true
    let answer = WebSocketFrame(
      fin: true, opcode: .connectionClose,
      data: payload.getSlice(at: payload.readerIndex, length: min(2, payload.readableBytes)) ?? ByteBuffer())
    let channel = context.channel
    context.writeAndFlush(wrapOutboundOut(answer)).whenComplete { _ in channel.close(promise: nil) }
    state.ended(id)
  }

  private func fail(_ code: SignalingCloseCode, _ reason: String) {
    guard !isClosing else { return }
    state.note("unusable WebSocket frames", detail: reason)
    state.withHub { hub, _ in hub.close(id, code, reason: reason) }
  }

  // MARK: outbound

  /// Sends a text message, unfragmented.
  func send(_ text: String) {
    guard let context, !isClosing else { return }
    guard context.channel.isWritable else { return state.closeSlowReader(id) }
    let data = context.channel.allocator.buffer(string: text)
    context.writeAndFlush(wrapOutboundOut(WebSocketFrame(fin: true, opcode: .text, data: data)), promise: nil)
  }

  /// Sends a close frame, and ends the connection when the client answered or took too long.
  func close(_ code: SignalingCloseCode, reason: String) {
    guard let context, !isClosing else { return }
    isClosing = true
    var data = context.channel.allocator.buffer(capacity: 2 + reason.utf8.count)
    data.writeInteger(code.rawValue)
    data.writeString(reason)
    context.writeAndFlush(
      wrapOutboundOut(WebSocketFrame(fin: true, opcode: .connectionClose, data: data)), promise: nil)
    let channel = context.channel
    context.eventLoop.scheduleTask(in: .nanoseconds(state.limits.closeTimeout.nanoseconds)) {
      channel.close(promise: nil)
    }
  }
}
