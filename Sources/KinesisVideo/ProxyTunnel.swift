// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOExtras
import NIOHTTP1
import SansIO

/// Asks an HTTP proxy for a tunnel to the service by CONNECT (RFC 9110 §9.3.6).
enum ProxyTunnel {
  /// Why there is no tunnel: the proxy's own words stay out of it.
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  /// Turns a channel that will be connected to a proxy into one that is connected to a host; the HTTP handlers have
  /// left the pipeline when the future succeeds.
  static func open(
    on channel: any Channel, through proxy: ProxyServer, to url: ServiceURL, within time: TimeAmount
  ) -> EventLoopFuture<Void> {
    let host = url.host.contains(":") ? "[\(url.host)]" : url.host
    var headers: HTTPHeaders = ["Host": "\(host):\(url.effectivePort)"]
    if let authorization = proxy.authorization {
      headers.add(name: "Proxy-Authorization", value: authorization.unredacted)
    }
    let opened = channel.eventLoop.makePromise(of: Void.self)
    let encoder = HTTPRequestEncoder()
    let decoder = ByteToMessageHandler(HTTPResponseDecoder(leftOverBytesStrategy: .forwardBytes))
    let answer = AnswerNote()
    let connect = NIOHTTP1ProxyConnectHandler(
      targetHost: host, targetPort: url.effectivePort, headers: headers, deadline: .now() + time,
      promise: opened)
    let pipeline = channel.pipeline.syncOperations
    do { try pipeline.addHandlers([encoder, decoder, answer, connect]) } catch { opened.fail(error) }
    return opened.futureResult.assumeIsolated().flatMapErrorThrowing { _ -> Void in
      throw Failure(description: answer.reason)
    }.flatMap { () -> EventLoopFuture<Void> in
      let removals = [
        pipeline.removeHandler(encoder), pipeline.removeHandler(decoder), pipeline.removeHandler(answer),
      ]
      return EventLoopFuture.andAllSucceed(removals, on: channel.eventLoop)
    }.nonisolated()
  }

  /// Notes what the proxy answered.
  private final class AnswerNote: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPClientResponsePart

    private var status: UInt?
    private var isGarbled = false

    var reason: String {
      if isGarbled { return "the proxy's answer is no HTTP" }
      guard let status else { return "the proxy did not answer a CONNECT" }
      if status == 407 { return "the proxy wants other credentials (407)" }
      return (200..<300).contains(status)
        ? "the proxy's answer is no tunnel" : "the proxy refused the tunnel (\(status))"
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      if case .head(let head) = unwrapInboundIn(data) { status = head.status.code }
      context.fireChannelRead(data)
    }

    /// What is no HTTP ends the attempt at once.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      isGarbled = true
      context.close(promise: nil)
    }
  }
}
