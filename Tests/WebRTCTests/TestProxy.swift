// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import SansIO
import Synchronization

@testable import WebRTC

/// An HTTP proxy on loopback that opens tunnels by CONNECT, or refuses to.
final class TestProxy: Sendable {
  /// What it answers with.
  enum Manner: Sendable {
    case tunnels
    /// A status line other than success.
    case refuses(String)
    /// Something that is no HTTP.
    case babbles
    /// Not at all; it closes.
    case closes
  }

  let manner: Manner
  /// What Proxy-Authorization has to be.
  let authorization: String?
  /// The heads of the requests.
  let requests = Mutex<[String]>([])
  private let channel: any Channel

  var server: ProxyServer { server(authorization: nil) }

  func server(authorization: String?) -> ProxyServer {
    ProxyServer(
      host: "localhost", port: UInt16(channel.localAddress?.port ?? 0),
      authorization: authorization.map { Secret($0) })
  }

  init(_ manner: Manner = .tunnels, authorization: String? = nil) async throws {
    self.manner = manner
    self.authorization = authorization
    let box = Mutex<TestProxy?>(nil)
    let owner = Owner(box: box)
    channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          guard let proxy = owner.proxy else { return }
          try channel.pipeline.syncOperations.addHandler(ProxyHandler(proxy))
        }
      }.bind(host: "127.0.0.1", port: 0).get()
    owner.set(self)
  }

  func close() async { try? await channel.close() }

  private final class Owner: Sendable {
    private let box: Mutex<TestProxy?>
    init(box: consuming sending Mutex<TestProxy?>) { self.box = box }
    var proxy: TestProxy? { box.withLock { $0 } }
    func set(_ proxy: TestProxy) { box.withLock { $0 = proxy } }
  }
}

/// One connection of a client to the proxy: first a request, then bytes in both directions.
private final class ProxyHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let proxy: TestProxy
  private var head = ""
  private var other: (any Channel)?

  init(_ proxy: TestProxy) { self.proxy = proxy }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let buffer = unwrapInboundIn(data)
    if let other { return other.writeAndFlush(buffer, promise: nil) }
    head += String(buffer: buffer)
    guard head.hasSuffix("\r\n\r\n") else { return }
    proxy.requests.withLock { $0.append(head) }
    switch proxy.manner {
    case .tunnels: tunnel(context)
    case .refuses(let status): answer("HTTP/1.1 \(status)\r\nContent-Length: 0\r\n\r\n", on: context)
    case .babbles: answer("no proxy is here\r\n\r\n", on: context)
    case .closes: context.close(promise: nil)
    }
  }

  private func answer(_ text: String, on context: ChannelHandlerContext) {
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
  }

  private func tunnel(_ context: ChannelHandlerContext) {
    if let wanted = proxy.authorization, !head.contains("Proxy-Authorization: \(wanted)\r\n") {
      return answer("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", on: context)
    }
    let words = head.split(separator: " ")
    guard words.count > 2, words[0] == "CONNECT", let colon = words[1].lastIndex(of: ":"),
      let port = Int(words[1][words[1].index(after: colon)...])
    else { return answer("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", on: context) }
    let client = context.channel
    let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
    let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
    // Names that only the proxy knows all mean this host.
    ClientBootstrap(group: context.eventLoop).channelInitializer { channel in
      channel.eventLoop.makeCompletedFuture {
        try channel.pipeline.syncOperations.addHandler(BackHandler(client))
      }
    }.connect(host: "127.0.0.1", port: port).whenComplete { result in
      guard case .success(let server) = result else {
        return handler.value.answer("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", on: bound.value)
      }
      handler.value.other = server
      handler.value.answer("HTTP/1.1 200 Connection established\r\n\r\n", on: bound.value)
    }
  }

  func channelInactive(context: ChannelHandlerContext) { other?.close(promise: nil) }
}

/// The way back.
private final class BackHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  private let client: any Channel

  init(_ client: any Channel) { self.client = client }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    client.writeAndFlush(unwrapInboundIn(data), promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) { client.close(promise: nil) }
}
