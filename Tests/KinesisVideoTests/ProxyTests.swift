// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import NIOSSL
import SansIO
import Synchronization
import Testing

private typealias Server = HostileServer

@Suite("A proxy on the way to the service", .timeLimit(.minutes(2)))
struct ProxyTests {
  private static let folder =
    "/" + #filePath.split(separator: "/").dropLast().joined(separator: "/") + "/Certificates/"

  /// A service over TLS whose WebSocket brings an offer.
  private static func service() async throws -> HostileServer {
    let tls = try NIOSSLContext(
      configuration: TLSConfiguration.makeServerConfiguration(
        certificateChain: try NIOSSLCertificate.fromPEMFile(folder + "good.pem").map { .certificate($0) },
        privateKey: .privateKey(try NIOSSLPrivateKey(file: folder + "server.key", format: .pem))))
    return try await Server(tls: tls) { request in
      let authority = request.headers["host"] ?? ""
      return request.isWebSocket
        ? .webSocket(Server.offer("first"))
        : Server.control(request, http: "https://\(authority)", webSocket: "wss://\(authority)")
    }
  }

  private static func session(
    _ service: HostileServer, through proxy: ConnectProxy, user: String = "", exceptions: String = ""
  ) throws -> HostileSession {
    let server = try ProxyServer(parsing: "http://\(user)127.0.0.1:\(proxy.port)")
    return HostileSession(
      "https://localhost:\(service.port)", authority: folder + "authority.pem",
      proxy: ProxyConfiguration(server: server, exceptions: exceptions))
  }

  @Test("Calls and the WebSocket go through the tunnel, TLS end to end, with the proxy's user and password")
  func tunnel() async throws {
    let (service, proxy) = (try await Self.service(), try await ConnectProxy())
    _ = try await Self.session(service, through: proxy, user: "porch:canary-proxy-password@").events {
      isOffer($0, "first")
    }
    let requests = proxy.requests.withLock { $0 }
    #expect(requests.count >= 2, "one tunnel for calls, one for the WebSocket")
    for request in requests {
      #expect(request.hasPrefix("CONNECT localhost:\(service.port) HTTP/1.1\r\n"))
      let lines = request.lowercased().split(separator: "\r\n")
      #expect(lines.contains("proxy-authorization: basic cg9yy2g6y2fuyxj5lxbyb3h5lxbhc3n3b3jk"))
    }
    try await proxy.stop()
    try await service.stop()
  }

  @Test("What no_proxy names is reached directly")
  func exception() async throws {
    let (service, proxy) = (try await Self.service(), try await ConnectProxy())
    _ = try await Self.session(service, through: proxy, exceptions: "example.com,localhost").events {
      isOffer($0, "first")
    }
    #expect(proxy.requests.withLock { $0.isEmpty })
    try await proxy.stop()
    try await service.stop()
  }

  @Test("A proxy that refuses is named as a failure of the connection; nothing reaches the service")
  func refusal() async throws {
    let service = try await Self.service()
    let proxy = try await ConnectProxy(refusal: "407 Proxy Authentication Required")
    let events = try await Self.session(service, through: proxy).eventsIgnoringFailure {
      if case .disconnected = $0 { true } else { false }
    }
    #expect(disconnections(events).count == 1)
    #expect(proxy.requests.withLock { !$0.isEmpty })
    #expect(service.bytesReceived.withLock { $0 } == 0)
    try await proxy.stop()
    try await service.stop()
  }
}
