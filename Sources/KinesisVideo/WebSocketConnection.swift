// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOWebSocket
import SansIO
import Synchronization

/// What a WebSocket tells its owner, on the socket's event loop.
enum WebSocketInput: Sendable {
  case text([UInt8])
  case binary
  case controlFrame
  case closed(reason: String)
}

/// One WebSocket to the service (RFC 6455), from the handshake to the close. Confined to the loop it was opened on.
///
/// No extension and no subprotocol is offered, so no frame is ever decompressed.
struct WebSocketConnection: Sendable {
  let channel: any Channel

  /// Largest message that is taken, in one frame or in many.
  static let messageBytesMax = SignalingMessage.frameBytesMax
  /// Most fragments of one message.
  static let fragmentsMax = 64
  /// What waits to be sent while the service does not read; 3 seconds of the most that a session sends.
  static let unsentBytesMax = 1 << 20
  /// Longest time from the first packet to the open socket.
  static let openTimeout: TimeAmount = .seconds(10)

  fileprivate enum Handshake: Sendable {
    case open(any Channel)
    case refused(EventLoopFuture<KinesisVideoError>)
  }

  /// Opens a socket.
  ///
  /// - Parameters:
  ///   - url: The presigned address. Never logged.
  ///   - userAgent: What we call ourselves.
  ///   - tls: The TLS context for `wss`; host names are verified.
  ///   - proxy: The HTTP proxy to go through, if any.
  ///   - secrets: What is taken out of the sentence of a refusal.
  ///   - loop: Where everything about the socket happens.
  ///   - receive: Takes what arrives; called on `loop` and only after this function has returned or is about to.
  /// - Throws: ``KinesisVideoError``; a refused handshake carries the service's status, type and sentence.
  static func open(
    _ url: ServiceURL, userAgent: String, tls: NIOSSLContext?, proxy: ProxyServer? = nil,
    secrets: KnownSecrets, on loop: any EventLoop,
    receive: @escaping @Sendable (WebSocketInput) -> Void
  ) async throws -> WebSocketConnection {
    let attempt = OpeningAttempt(outcome: loop.makePromise(of: Handshake.self))
    let deadline = loop.scheduleTask(in: openTimeout) { attempt.giveUp() }
    defer { deadline.cancel() }
    do {
      return try await withTaskCancellationHandler {
        Task {
          await connect(attempt, to: url, through: proxy, on: loop) { channel in
            try configure(
              channel, url: url, userAgent: userAgent, tls: tls, secrets: secrets, receive: receive)
          }
        }
        switch try await attempt.outcome.futureResult.get() {
        case .open(let channel): return WebSocketConnection(channel: channel)
        case .refused(let error): throw try await error.get()
        }
      } onCancel: {
        attempt.giveUp()
      }
    } catch {
      attempt.giveUp()
      throw KinesisVideoError(connecting: url, failure: error)
    }
  }

  private static func connect(
    _ attempt: OpeningAttempt, to url: ServiceURL, through proxy: ProxyServer?, on loop: any EventLoop,
    configure: @escaping @Sendable (any Channel) throws -> EventLoopFuture<Handshake>
  ) async {
    do {
      try await ClientBootstrap(group: loop)
        .connectTimeout(openTimeout)
        .channelOption(.socketOption(.tcp_nodelay), value: 1)
        .channelOption(.writeBufferWaterMark, value: .init(low: unsentBytesMax / 2, high: unsentBytesMax))
        .connect(host: proxy?.host ?? url.host, port: proxy.map { Int($0.port) } ?? url.effectivePort) {
          channel in
          channel.eventLoop.makeCompletedFuture {
            try attempt.add(channel)
            guard let proxy else { return try configure(channel) }
            return ProxyTunnel.open(on: channel, through: proxy, to: url, within: openTimeout)
              .flatMapThrowing { try configure(channel) }.flatMap { $0 }
          }
        }.cascade(to: attempt.outcome)
    } catch {
      attempt.outcome.fail(error)
    }
  }

  private static func configure(
    _ channel: any Channel, url: ServiceURL, userAgent: String, tls: NIOSSLContext?, secrets: KnownSecrets,
    receive: @escaping @Sendable (WebSocketInput) -> Void
  ) throws -> EventLoopFuture<Handshake> {
    let pipeline = channel.pipeline.syncOperations
    precondition(
      url.isSecure == (tls != nil), "a presigned address never leaves in clear when it asks for TLS")
    if let tls {
      // An address instead of a name cannot be asked for by SNI; it is verified against the certificate all the same.
      let name = url.host.contains(":") || url.host.utf8.allSatisfy({ $0 < 0x3a }) ? nil : url.host
      try pipeline.addHandler(NIOSSLClientHandler(context: tls, serverHostname: name))
    }
    let upgrader = NIOTypedWebSocketClientUpgrader<Handshake>(
      maxFrameSize: messageBytesMax,
      upgradePipelineHandler: { channel, _ in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          try pipeline.addHandler(FrameRules())
          try pipeline.addHandler(
            NIOWebSocketFrameAggregator(
              minNonFinalFragmentSize: 0, maxAccumulatedFrameCount: fragmentsMax,
              maxAccumulatedFrameSize: messageBytesMax))
          try pipeline.addHandler(MessageHandler(receive: receive))
          return .open(channel)
        }
      })
    var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: url.target)
    head.headers = ["host": url.authority, "user-agent": userAgent]
    var upgrade = NIOUpgradableHTTPClientPipelineConfiguration<Handshake>(
      upgradeConfiguration: .init(
        upgradeRequestHead: head, upgraders: [upgrader],
        notUpgradingCompletionHandler: { channel in
          channel.eventLoop.makeCompletedFuture {
            let refusal = channel.eventLoop.makePromise(of: KinesisVideoError.self)
            try channel.pipeline.syncOperations.addHandler(
              RefusalHandler(refusal: refusal, secrets: secrets))
            return .refused(refusal.futureResult)
          }
        }))
    // The first frames may come in the same segment as the end of the handshake; by default they would be lost.
    upgrade.leftOverBytesStrategy = .forwardBytes
    return try pipeline.configureUpgradableHTTPClientPipeline(configuration: upgrade)
  }

  /// Sends a text frame.
  func send(text: String) { write(.text, channel.allocator.buffer(string: text)) }

  /// Sends a ping.
  func ping() { write(.ping, channel.allocator.buffer(capacity: 0)) }

  /// Says goodbye (status 1000) and closes.
  func close() {
    var status = channel.allocator.buffer(capacity: 2)
    status.write(webSocketErrorCode: .normalClosure)
    write(.connectionClose, status)
    channel.close(promise: nil)
  }

  private func write(_ opcode: WebSocketOpcode, _ content: ByteBuffer) {
    channel.writeAndFlush(
      WebSocketFrame(fin: true, opcode: opcode, maskKey: .random(), data: content), promise: nil)
  }
}

/// The channels of one attempt to open a socket: a name with several addresses is tried on several.
private final class OpeningAttempt: Sendable {
  /// Fails as soon as the attempt is given up, however long a name is being resolved.
  let outcome: EventLoopPromise<WebSocketConnection.Handshake>
  /// `nil` once the attempt is given up.
  private let channels = Mutex<[any Channel]?>([])

  init(outcome: EventLoopPromise<WebSocketConnection.Handshake>) { self.outcome = outcome }

  func add(_ channel: any Channel) throws {
    let isWanted = channels.withLock { channels in
      channels?.append(channel)
      return channels != nil
    }
    guard isWanted else { throw ChannelError.alreadyClosed }
  }

  func giveUp() {
    let open = channels.withLock { channels in
      defer { channels = nil }
      return channels ?? []
    }
    for channel in open { channel.close(promise: nil) }
    outcome.fail(ChannelError.alreadyClosed)
  }
}
