// SPDX-License-Identifier: Apache-2.0

import ICE
import NIOCore
import SansIO

/// One TCP or TLS connection of a TURN client: cuts its bytes into frames and writes what the server has for it.
final class TURNStreamHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// The connection as the server's core knows it.
  let route: Route
  /// When the last whole frame came, or the connection.
  private(set) var lastFrameAt: Instant

  private let server: TURNServerState
  private var framer: STUNStreamFramer? = STUNStreamFramer()
  private var context: ChannelHandlerContext?
  private var needsFlush = false

  init(route: Route, server: TURNServerState, at now: Instant) {
    self.route = route
    self.server = server
    lastFrameAt = now
  }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelInactive(context: ChannelHandlerContext) {
    server.ended(self)
    context.fireChannelInactive()
  }

  /// Errors of TLS and of the system end the connection.
  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    // Answers are written while a frame is lent, and may end the connection: the framer is ours meanwhile.
    guard var framer = framer.take() else { return }
    let bytes = unwrapInboundIn(data)
    do {
      try framer.append(bytes.readableBytesSpan)
      while let frame = try framer.next() {
        lastFrameAt = server.now
        server.receive(frame, from: self)
      }
      self.framer = consume framer
    } catch {
      server.note("TURN streams closed that are none")
      context.close(promise: nil)
    }
  }

  func channelReadComplete(context: ChannelHandlerContext) { server.flush() }

  /// Queues a frame; `false` where the client reads too slowly and the frame is dropped.
  func write(_ frame: ByteBuffer) -> Bool {
    guard let context, context.channel.isWritable else { return false }
    context.write(wrapOutboundOut(frame), promise: nil)
    needsFlush = true
    return true
  }

  /// Sends what was queued since the last flush.
  func flush() {
    guard needsFlush else { return }
    needsFlush = false
    context?.flush()
  }

  func close() { context?.close(promise: nil) }
}
