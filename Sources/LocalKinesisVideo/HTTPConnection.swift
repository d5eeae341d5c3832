// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import NIOCore
import NIOHTTP1
import NIOWebSocket
import SansIO

/// What the handlers of one TCP connection share, on the server's loop.
final class HTTPConnection {
  let state: ServerState
  /// A WebSocket that was registered and whose handshake is being answered.
  var admitted: SignalingConnectionID?
  /// What to answer to a handshake that was refused.
  var refusal: KinesisVideoError?
  /// A request asked for an upgrade: the decoder reads no further ones after it, so the connection ends with its answer.
  var isLastRequest = false
  let deadline: RequestDeadlineHandler

  init(state: ServerState) {
    self.state = state
    deadline = RequestDeadlineHandler(timeout: .nanoseconds(state.limits.requestTimeout.nanoseconds))
  }

  /// Builds the pipeline of an accepted connection: HTTP, and WebSocket for a first request that asks for it and may.
  ///
  /// The upgrade handler removes all handlers that are typed for HTTP, so none of them meets a WebSocket's bytes.
  func configure(_ channel: any Channel) throws {
    let operations = channel.pipeline.syncOperations
    let encoder = HTTPResponseEncoder()
    var decoderLimits = NIOHTTPDecoderLimitConfiguration()
    decoderLimits.maxHeaderFieldSize = ServerState.Limits.headerFieldBytesMax
    decoderLimits.maxHeaderListSize = ServerState.Limits.headerListBytesMax
    decoderLimits.maxHeaderFieldCount = ServerState.Limits.headerFieldsMax
    let decoder = ByteToMessageHandler(
      HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes, limitConfiguration: decoderLimits))
    let pipelining = HTTPServerPipelineHandler()
    let validator = NIOHTTPResponseHeadersValidator()
    let faults = HTTPFaultHandler(state: state)
    let gate = UpgradeGate(connection: self)
    let upgrade = NIOTypedHTTPServerUpgradeHandler(
      httpEncoder: encoder, extraHTTPHandlers: [decoder, pipelining, validator, faults, gate],
      upgradeConfiguration: upgradeConfiguration(loop: channel.eventLoop))
    try operations.addHandler(deadline)
    try operations.addHandler(encoder)
    try operations.addHandler(decoder)
    try operations.addHandler(pipelining)
    try operations.addHandler(validator)
    try operations.addHandler(faults)
    try operations.addHandler(gate)
    try operations.addHandler(upgrade)
    let bound = NIOLoopBound(self, eventLoop: channel.eventLoop)
    channel.closeFuture.whenComplete { _ in
      if let id = bound.value.admitted { bound.value.state.ended(id) }
    }
  }

  private func upgradeConfiguration(loop: any EventLoop) -> NIOTypedHTTPServerUpgradeConfiguration<Void> {
    let bound = NIOLoopBound(self, eventLoop: loop)
    let upgrader = NIOTypedWebSocketServerUpgrader<Void>(
      maxFrameSize: ServerState.Limits.messageBytesMax,
      enableAutomaticErrorHandling: false,
      shouldUpgrade: { channel, _ in
        let connection = bound.value
        guard connection.admitted != nil else { return channel.eventLoop.makeSucceededFuture(nil) }
        let headers = connection.state.withService { service, now in service.commonHeaders(at: now) }
        return channel.eventLoop.makeSucceededFuture(HTTPHeaders(headers.map { ($0.name, $0.value) }))
      },
      upgradePipelineHandler: { channel, _ in
        channel.eventLoop.makeCompletedFuture {
          let connection = bound.value
          connection.deadline.stop()
          guard let id = connection.admitted else { throw ChannelError.inappropriateOperationForState }
          try channel.pipeline.syncOperations.addHandler(WebSocketHandler(state: connection.state, id: id))
        }
      })
    return NIOTypedHTTPServerUpgradeConfiguration(
      upgraders: [upgrader],
      notUpgradingCompletionHandler: { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(HTTPHandler(connection: bound.value))
        }
      })
  }
}

/// Closes a connection that takes too long for a request. It looks at no bytes, so it may stay in any pipeline.
final class RequestDeadlineHandler: ChannelInboundHandler {
  typealias InboundIn = NIOAny

  private let timeout: TimeAmount
  private var task: Scheduled<Void>?
  private var context: ChannelHandlerContext?

  init(timeout: TimeAmount) { self.timeout = timeout }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    restart()
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    stop()
    self.context = nil
  }

  /// Begins the time of the next request.
  func restart() {
    stop()
    guard let context else { return }
    let channel = context.channel
    task = context.eventLoop.scheduleTask(in: timeout) { channel.close(promise: nil) }
  }

  /// Ends the watch.
  func stop() {
    task?.cancel()
    task = nil
  }
}

/// Decides about a connection's first request before the upgrade handler sees it.
///
/// A refused handshake, and an offer of any other protocol, loses its `Upgrade` header and is answered like any other
/// request: the upgrade handler would swallow it without an answer.
final class UpgradeGate: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias InboundOut = HTTPServerRequestPart

  private let connection: HTTPConnection
  private var isFirst = true

  init(connection: HTTPConnection) { self.connection = connection }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard case .head(var head) = unwrapInboundIn(data) else { return context.fireChannelRead(data) }
    if head.headers.contains(name: "upgrade") { connection.isLastRequest = true }
    let isUpgrade = head.headers[canonicalForm: "upgrade"].contains { $0.lowercased() == "websocket" }
    if isFirst, isUpgrade {
      do throws(KinesisVideoError) {
        connection.admitted = try connection.state.admit(ServiceRequest(head))
      } catch {
        connection.refusal = error
      }
    }
    if connection.admitted == nil { head.headers.remove(name: "upgrade") }
    isFirst = false
    context.fireChannelRead(wrapInboundOut(.head(head)))
  }
}

/// Answers bytes that are no HTTP with 400, counts them, and ends the connection.
final class HTTPFaultHandler: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias InboundOut = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let state: ServerState
  private var hasFailed = false

  init(state: ServerState) { self.state = state }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if !hasFailed { context.fireChannelRead(data) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard error is HTTPParserError else {
      context.close(promise: nil)
      return
    }
    guard !hasFailed else { return }
    hasFailed = true
    let response = state.refuse(
      KinesisVideoError(.invalidArgument, "The request is not HTTP/1.1 as it should be."))
    let channel = context.channel
    let head = HTTPResponseHead(response, keepAlive: false)
    context.write(wrapOutboundOut(.head(head)), promise: nil)
    context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: response.body)))), promise: nil)
    context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in channel.close(promise: nil) }
  }
}

/// Reads whole requests and writes whole answers, one after the other.
final class HTTPHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let connection: HTTPConnection
  private var head: HTTPRequestHead?
  private var body: [UInt8] = []
  private var discardedByteCount = 0

  init(connection: HTTPConnection) { self.connection = connection }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      self.head = head
      body.removeAll()
      discardedByteCount = 0
    case .body(let bytes):
      if discardedByteCount == 0, body.count + bytes.readableBytes <= ServerState.Limits.bodyBytesMax {
        body += bytes.readableBytesView
      } else {
        discardedByteCount += bytes.readableBytes
        if discardedByteCount > ServerState.Limits.discardedBytesMax { context.close(promise: nil) }
      }
    case .end:
      guard let head = head.take() else { return context.close(promise: nil) }
      write(answer(to: head), to: head, context: context)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func answer(to head: HTTPRequestHead) -> ServiceResponse {
    if let error = connection.refusal.take() { return connection.state.refuse(error) }
    if let id = connection.admitted.take() {
      connection.state.ended(id)
      return connection.state.refuse(
        KinesisVideoError(.invalidArgument, "The WebSocket handshake is malformed."))
    }
    guard discardedByteCount == 0 else {
      return connection.state.refuse(
        KinesisVideoError(
          .requestEntityTooLarge, "A request's body has at most \(ServerState.Limits.bodyBytesMax) bytes."))
    }
    return connection.state.respond(to: ServiceRequest(head, body: body))
  }

  private func write(_ response: ServiceResponse, to request: HTTPRequestHead, context: ChannelHandlerContext)
  {
    let keepAlive = request.isKeepAlive && discardedByteCount == 0 && !connection.isLastRequest
    context.write(wrapOutboundOut(.head(HTTPResponseHead(response, keepAlive: keepAlive))), promise: nil)
    if request.method != .HEAD, !response.body.isEmpty {
      context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: response.body)))), promise: nil)
    }
    let channel = context.channel
    let written = context.writeAndFlush(wrapOutboundOut(.end(nil)))
    if keepAlive {
      connection.deadline.restart()
    } else {
      written.whenComplete { _ in channel.close(promise: nil) }
    }
  }
}

extension ServiceRequest {
  /// A request without the connection.
  init(_ head: HTTPRequestHead, body: [UInt8] = []) {
    self.init(
      method: head.method.rawValue, target: head.uri, headers: head.headers.map { ($0.name, $0.value) },
      body: body)
  }
}

extension HTTPResponseHead {
  /// The head of an answer.
  init(_ response: ServiceResponse, keepAlive: Bool) {
    var headers = HTTPHeaders(response.headers.map { ($0.name, $0.value) })
    headers.add(name: "Content-Length", value: String(response.body.count))
    if !keepAlive { headers.add(name: "Connection", value: "close") }
    self.init(version: .http1_1, status: HTTPResponseStatus(statusCode: response.status), headers: headers)
  }
}
