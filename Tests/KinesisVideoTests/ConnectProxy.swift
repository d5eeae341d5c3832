// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import Synchronization

/// An HTTP proxy on loopback that opens tunnels by CONNECT and notes whom it was asked for.
final class ConnectProxy: Sendable {
  /// The first lines and headers of the requests, in order.
  let requests = Mutex<[String]>([])
  private let listener: any Channel

  /// Listens on a free port of 127.0.0.1.
  ///
  /// - Parameter refusal: the status line of every answer, `nil` to open the tunnel.
  init(refusal: String? = nil) async throws {
    let owner = Owner()
    listener = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .childChannelOption(.allowRemoteHalfClosure, value: false)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(RequestHandler(owner: owner, refusal: refusal))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    owner.proxy.withLock { $0 = self }
  }

  var port: UInt16 { UInt16(listener.localAddress?.port ?? 0) }
  func stop() async throws { try await listener.close() }

  fileprivate final class Owner: Sendable {
    let proxy = Mutex<ConnectProxy?>(nil)
  }
}

/// Reads the request, then carries what comes to the target.
private final class RequestHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let owner: ConnectProxy.Owner
  private let refusal: String?
  private var input = ByteBuffer()
  private var target: (any Channel)?

  init(owner: ConnectProxy.Owner, refusal: String?) {
    self.owner = owner
    self.refusal = refusal
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    if let target {
      target.writeAndFlush(bytes, promise: nil)
      return
    }
    input.writeBuffer(&bytes)
    let head = String(buffer: input)
    guard head.hasSuffix("\r\n\r\n") else { return }
    input.clear()
    owner.proxy.withLock { $0 }?.requests.withLock { $0.append(head) }
    answer(head, context)
  }

  private func answer(_ head: String, _ context: ChannelHandlerContext) {
    let place = head.split(separator: " ").dropFirst().first?.split(separator: ":")
    guard refusal == nil, let place, place.count == 2, let port = Int(place[1]) else {
      write("HTTP/1.1 \(refusal ?? "400 Bad Request")\r\ncontent-length: 0\r\n\r\n", context)
      return
    }
    let client = context.channel
    ClientBootstrap(group: context.eventLoop)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(ReturnHandler(client: client))
        }
      }
      .connect(host: String(place[0]), port: port)
      .assumeIsolated()
      .whenSuccess { channel in
        self.target = channel
        self.write("HTTP/1.1 200 Connection established\r\n\r\n", context)
      }
  }

  private func write(_ text: String, _ context: ChannelHandlerContext) {
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) { target?.close(promise: nil) }
}

/// Carries what the target says back.
private final class ReturnHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let client: any Channel

  init(client: any Channel) { self.client = client }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    client.writeAndFlush(unwrapInboundIn(data), promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) { client.close(promise: nil) }
}
