// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOExtras
import NIOHTTP1
import SansIO

/// Asks an HTTP proxy for a tunnel by CONNECT (RFC 9110 §9.3.6).
enum ProxyTunnel {
  /// Turns a channel that is connected to a proxy into one that is connected to a host.
  ///
  /// The HTTP handlers have left the pipeline when the future succeeds. It fails with ``ServerLinkError``.
  static func open(
    on channel: any Channel, through proxy: ProxyServer, to host: String, port: UInt16
  ) -> EventLoopFuture<Void> {
    var headers: HTTPHeaders = ["Host": "\(host):\(port)"]
    if let authorization = proxy.authorization {
      headers.add(name: "Proxy-Authorization", value: authorization.unredacted)
    }
    let opened = channel.eventLoop.makePromise(of: Void.self)
    let encoder = HTTPRequestEncoder()
    let decoder = ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .forwardBytes))
    let answer = ProxyAnswer()
    let connect = NIOHTTP1ProxyConnectHandler(
      targetHost: host, targetPort: Int(port), headers: headers,
      deadline: .now() + StreamServerLink.handshakeTime, promise: opened)
    let pipeline = channel.pipeline.syncOperations
    do { try pipeline.addHandlers([encoder, decoder, answer, connect]) } catch {
      opened.fail(error)
    }
    return opened.futureResult.assumeIsolated().flatMapErrorThrowing { error -> Void in
      throw answer.failure(because: error)
    }.flatMap { () -> EventLoopFuture<Void> in
      let removals = [
        pipeline.removeHandler(encoder), pipeline.removeHandler(decoder), pipeline.removeHandler(answer),
      ]
      return EventLoopFuture.andAllSucceed(removals, on: channel.eventLoop)
    }.nonisolated()
  }
}

/// Notes what a proxy answered, for the sentence that tells why there is no tunnel.
private final class ProxyAnswer: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPClientResponsePart

  private var status: HTTPResponseStatus?
  private var isGarbled = false

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if case .head(let head) = unwrapInboundIn(data) { status = head.status }
    context.fireChannelRead(data)
  }

  /// What is no HTTP ends the attempt at once.
  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    isGarbled = true
    context.close(promise: nil)
  }

  func failure(because error: any Error) -> ServerLinkError {
    if isGarbled { return ServerLinkError("the proxy's answer is no HTTP") }
    guard let status else { return ServerLinkError("the proxy did not answer a CONNECT") }
    // The code alone: the rest of the answer is the proxy's own text.
    if status.code == 407 { return ServerLinkError("the proxy wants other credentials (407)") }
    if (200..<300).contains(status.code) { return ServerLinkError("the proxy's answer is no tunnel") }
    return ServerLinkError("the proxy refused the tunnel (\(status.code))")
  }
}
