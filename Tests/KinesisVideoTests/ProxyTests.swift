// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import NIOCore
import NIOPosix
import NIOSSL
import SansIO
import Synchronization
import Testing

/// An HTTP proxy on loopback that knows one host, and opens tunnels to a port of its own choice.
private final class TunnelProxy: Sendable {
  /// The request lines and headers of all that asked.
  let requests = Mutex<[String]>([])
  private let listener: any Channel

  /// - Parameters:
  ///   - port: where tunnels lead, whatever host is asked for.
  ///   - refusal: a status line to answer with in place of a tunnel.
  init(to port: Int, refusal: String? = nil) async throws {
    let owner = Owner()
    listener = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(Tunnel(owner: owner, port: port, refusal: refusal))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    owner.proxy.withLock { $0 = self }
  }

  func configuration(exceptions: String = "", authorization: String? = nil) -> ProxyConfiguration {
    ProxyConfiguration(
      server: ProxyServer(
        host: "127.0.0.1", port: UInt16(listener.localAddress?.port ?? 0),
        authorization: authorization.map { Secret($0) }),
      exceptions: exceptions)
  }

  func stop() async throws { try await listener.close() }

  final class Owner: Sendable {
    let proxy = Mutex<TunnelProxy?>(nil)
  }

  private final class Tunnel: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let owner: Owner
    private let port: Int
    private let refusal: String?
    private var head = ""
    private var server: (any Channel)?

    init(owner: Owner, port: Int, refusal: String?) {
      self.owner = owner
      self.port = port
      self.refusal = refusal
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let bytes = unwrapInboundIn(data)
      if let server { return server.writeAndFlush(bytes, promise: nil) }
      head += String(buffer: bytes)
      guard head.hasSuffix("\r\n\r\n") else { return }
      owner.proxy.withLock { $0 }?.requests.withLock { $0.append(head) }
      let client = context.channel
      if let refusal {
        client.writeAndFlush(
          ByteBuffer(string: "HTTP/1.1 \(refusal)\r\nContent-Length: 0\r\n\r\n"), promise: nil)
        return
      }
      let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
      ClientBootstrap(group: context.eventLoop)
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(WayBack(client))
          }
        }
        .connect(host: "127.0.0.1", port: port).whenSuccess { server in
          bound.value.server = server
          client.writeAndFlush(ByteBuffer(string: "HTTP/1.1 200 Connected\r\n\r\n"), promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) { server?.close(promise: nil) }
  }

  private final class WayBack: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let client: any Channel
    init(_ client: any Channel) { self.client = client }
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      client.writeAndFlush(unwrapInboundIn(data), promise: nil)
    }
    func channelInactive(context: ChannelHandlerContext) { client.close(promise: nil) }
  }
}

@Suite("The service is reached through an HTTP proxy", .timeLimit(.minutes(2)))
struct ProxyTests {
  private static let folder =
    #filePath.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 }
    + "/Certificates/"

  private static func makeServer() async throws -> HostileServer {
    let tls = try NIOSSLContext(
      configuration: .makeServerConfiguration(
        certificateChain: NIOSSLCertificate.fromPEMFile(folder + "good.pem").map { .certificate($0) },
        privateKey: .privateKey(NIOSSLPrivateKey(file: folder + "server.key", format: .pem))))
    return try await HostileServer(tls: tls) { request in
      let authority = request.headers["host"] ?? ""
      return request.isWebSocket
        ? .webSocket(HostileServer.offer("first"))
        : HostileServer.control(request, http: "https://\(authority)", webSocket: "wss://\(authority)")
    }
  }

  private static func isOffer(_ event: SignalingEvent) -> Bool {
    if case .offer = event { true } else { false }
  }

  @Test("Calls and WebSocket go through tunnels, with the proxy's credentials and with TLS inside")
  func tunnels() async throws {
    let server = try await Self.makeServer()
    let proxy = try await TunnelProxy(to: server.port)
    // A port that nobody listens on: without the proxy there is no way.
    let session = HostileSession(
      "https://localhost:9", authority: Self.folder + "authority.pem",
      proxy: proxy.configuration(authorization: "Basic dTpw"))
    _ = try await session.events(until: Self.isOffer)
    let requests = proxy.requests.withLock { $0 }
    #expect(requests.count >= 2)
    for request in requests {
      #expect(request.hasPrefix("CONNECT localhost:9 HTTP/1.1\r\n"))
      #expect(request.lowercased().contains("\r\nproxy-authorization: basic dtpw\r\n"))
    }
    #expect(server.requests.withLock { $0.contains { $0.isWebSocket } })
    try await proxy.stop()
    try await server.stop()
  }

  @Test("Hosts that no_proxy names, and plain addresses, are reached directly")
  func exceptions() async throws {
    let server = try await Self.makeServer()
    let proxy = try await TunnelProxy(to: server.port, refusal: "403 Forbidden")
    let session = HostileSession(
      "https://localhost:\(server.port)", authority: Self.folder + "authority.pem",
      proxy: proxy.configuration(exceptions: "localhost"))
    _ = try await session.events(until: Self.isOffer)
    let plain = try await HostileServer { request in
      HostileServer.ordinary(request) { _ in .webSocket(HostileServer.offer("first")) }
    }
    let local = HostileSession("http://127.0.0.1:\(plain.port)", proxy: proxy.configuration())
    _ = try await local.events(until: Self.isOffer)
    #expect(proxy.requests.withLock { $0.isEmpty })
    try await plain.stop()
    try await proxy.stop()
    try await server.stop()
  }

  @Test(
    "A proxy that refuses is tried again later like any failing network",
    arguments: ["403 Forbidden", "407 Who"])
  func refusals(status: String) async throws {
    let server = try await Self.makeServer()
    let proxy = try await TunnelProxy(to: server.port, refusal: status)
    let session = HostileSession(
      "https://localhost:9", authority: Self.folder + "authority.pem", proxy: proxy.configuration())
    let events = await session.eventsIgnoringFailure { event in
      if case .disconnected = event { true } else { false }
    }
    #expect(!events.contains(.connected))
    #expect(server.requests.withLock { $0.isEmpty })
    try await proxy.stop()
    try await server.stop()
  }
}
