// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import NIOCore
import NIOExtras
import NIOHTTP1
import SansIO

/// A way through an HTTP proxy to the service (CONNECT, RFC 9110 §9.3.6): the proxy carries bytes and sees no more of
/// them than a router would, for TLS begins behind it.
enum ProxyTunnel {
  /// Longest time that a proxy may take to open a tunnel.
  static let openTimeout: TimeAmount = .seconds(10)

  /// Asks the proxy at the other end of `channel` for a tunnel to `url`; what is sent later goes through it.
  ///
  /// The future fails when the proxy refuses. Called on the channel's loop, before anything else is in its pipeline.
  static func open(
    through proxy: ProxyServer, to url: ServiceURL, on channel: any Channel
  ) throws -> EventLoopFuture<Void> {
    let pipeline = channel.pipeline.syncOperations
    let isOpen = channel.eventLoop.makePromise(of: Void.self)
    var headers = HTTPHeaders()
    if let authorization = proxy.authorization {
      headers.add(name: "proxy-authorization", value: authorization.unredacted)
    }
    let encoder = HTTPRequestEncoder()
    // What follows the proxy's answer belongs to the tunnel.
    let decoder = ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .forwardBytes))
    let connect = NIOHTTP1ProxyConnectHandler(
      targetHost: url.host.contains(":") ? "[\(url.host)]" : url.host, targetPort: url.effectivePort,
      headers: headers, deadline: .now() + openTimeout,
      promise: isOpen)
    try pipeline.addHandlers([encoder, decoder, connect])
    return isOpen.futureResult.assumeIsolated().flatMap {
      let removals = [
        pipeline.removeHandler(connect), pipeline.removeHandler(decoder), pipeline.removeHandler(encoder),
      ]
      return EventLoopFuture.andAllSucceed(removals, on: channel.eventLoop)
    }.nonisolated()
  }
}

/// The HTTP clients of a session: one that goes to the service directly, and, where a proxy is set, one that goes through it.
struct HTTPClients: Sendable {
  private let direct: HTTPClient
  private let proxied: HTTPClient?
  private let proxy: ProxyConfiguration
  private let isOwner: Bool

  /// Uses a client of somebody else for everything.
  init(_ client: HTTPClient) {
    direct = client
    proxied = nil
    proxy = .none
    isOwner = false
  }

  /// Makes clients that end with ``shutdown()``.
  init(configuration: HTTPClient.Configuration, proxy: ProxyConfiguration, on group: any EventLoopGroup) {
    direct = HTTPClient(eventLoopGroup: group, configuration: configuration)
    self.proxy = proxy
    isOwner = true
    guard let server = proxy.server else {
      proxied = nil
      return
    }
    var throughProxy = configuration
    throughProxy.proxy = .server(
      host: server.host, port: Int(server.port),
      authorization: server.authorization.map { value in
        .basic(credentials: String(value.unredacted.dropFirst("Basic ".count)))
      })
    proxied = HTTPClient(eventLoopGroup: group, configuration: throughProxy)
  }

  /// The client for an address: plain addresses are the local stand-in's and never go through a proxy.
  func client(for url: ServiceURL) -> HTTPClient {
    guard let proxied, proxy.server(for: url) != nil else { return direct }
    return proxied
  }

  /// Ends the clients that were made here.
  func shutdown() async throws {
    guard isOwner else { return }
    try await direct.shutdown()
    try await proxied?.shutdown()
  }
}

extension ProxyConfiguration {
  /// The proxy that an address is reached through; `https_proxy` is for addresses with TLS.
  func server(for url: ServiceURL) -> ProxyServer? {
    guard url.isSecure, let port = UInt16(exactly: url.effectivePort) else { return nil }
    return server(forHost: url.host, port: port)
  }
}
