// SPDX-License-Identifier: Apache-2.0

import NIOCore
import SansIO

/// The only handler of a socket's channel: hands received datagrams to the socket, and its writes to the
/// channel.
///
/// Confined to the channel's event loop.
final class DatagramHandler: ChannelInboundHandler {
  typealias InboundIn = AddressedEnvelope<ByteBuffer>
  typealias OutboundOut = AddressedEnvelope<ByteBuffer>

  private let socket: UDPSocket
  private var context: ChannelHandlerContext?

  init(socket: UDPSocket) { self.socket = socket }

  /// Whether datagrams can be written.
  var isActive: Bool { context?.channel.isActive ?? false }
  /// Whether the channel's queue is below its high-water mark.
  var isWritable: Bool { context?.channel.isWritable ?? false }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let envelope = unwrapInboundIn(data)
    guard let remote = TransportAddress(envelope.remoteAddress) else { return }
    socket.received(
      envelope.data.readableBytesSpan, segmentByteCount: envelope.metadata?.segmentSize, from: remote)
  }

  func channelReadComplete(context: ChannelHandlerContext) { socket.receivedAll() }

  func channelInactive(context: ChannelHandlerContext) { socket.channelClosed(self) }

  /// Read and write errors close the channel, or do not matter; the socket acts on the closing alone.
  func errorCaught(context: ChannelHandlerContext, error: any Error) { socket.noteError(error) }

  /// Appends a message to the channel's queue.
  func write(_ envelope: AddressedEnvelope<ByteBuffer>, promise: EventLoopPromise<Void>? = nil) {
    guard let context else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    context.write(wrapOutboundOut(envelope), promise: promise)
  }

  func flush() { context?.flush() }

  func close() { context?.close(promise: nil) }
}
