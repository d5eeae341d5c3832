// SPDX-License-Identifier: Apache-2.0

import DTLS
import ICE
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import SansIO

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A TCP connection to a TURN server, directly or through an HTTP proxy, with or without TLS in it.
///
/// Bytes that arrive are cut into frames. What is to be sent while the connection cannot take it is dropped if
/// it is media, as on ``TCPConnections`` to peers.
final class StreamServerLink: ServerLink {
  /// How long the connection may take.
  static let connectTime = TimeAmount.seconds(10)
  /// How long proxy and TLS may take after that.
  static let handshakeTime = TimeAmount.seconds(10)

  private let connection: ServerConnection
  private let environment: ServerLinkEnvironment
  private weak let delegate: (any ServerLinkDelegate)?
  private var framer: STUNStreamFramer? = STUNStreamFramer()
  private var handler: ServerStreamHandler?
  private var handshake: NIOSSLClientHandler?
  private var channel: (any Channel)?
  private var patience: Scheduled<Void>?
  private var isOpen = false
  private var isEnded = false

  init(
    _ connection: ServerConnection, in environment: ServerLinkEnvironment, delegate: any ServerLinkDelegate
  ) {
    self.connection = connection
    self.environment = environment
    self.delegate = delegate
  }

  // MARK: Opening

  func open() {
    guard connection.transport == .tls else { return connect(tls: nil) }
    environment.trust.tlsContext().assumeIsolated().whenComplete { result in
      switch result {
      case .success(let context): self.connect(tls: context)
      case .failure(let error): self.fail(because: "no authority can be trusted: \(error)")
      }
    }
  }

  private func connect(tls: NIOSSLContext?) {
    guard !isEnded else { return }
    let proxy = environment.proxy.server(forHost: connection.host, port: connection.server.port)
    guard proxy != nil || !connection.server.ip.isUnspecified else {
      return fail(because: "the server's address is not known")
    }
    let high = TCPConnections.writeQueueByteCount
    let bootstrap = ClientBootstrap(group: environment.eventLoop)
      .connectTimeout(Self.connectTime)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelOption(
        .tcpOption(.init(rawValue: TCP_NOTSENT_LOWAT)), value: TCPConnections.kernelUnsentByteCountMax
      )
      .channelOption(.writeBufferWaterMark, value: .init(low: high / 2, high: high))
    let connecting =
      if let proxy {
        bootstrap.connect(host: proxy.host, port: Int(proxy.port))
      } else {
        bootstrap.connect(to: connection.server.socketAddress)
      }
    connecting.assumeIsolated().whenComplete { result in
      switch result {
      case .success(let channel): self.connected(channel, through: proxy, tls: tls)
      case .failure(let error):
        let place = proxy.map { "the proxy \($0.host):\($0.port)" } ?? "\(self.connection.server)"
        self.fail(because: "\(place) cannot be reached: \(ServerLinkError.text(of: error))")
      }
    }
  }

  private func connected(_ channel: any Channel, through proxy: ProxyServer?, tls: NIOSSLContext?) {
    guard !isEnded else { return channel.close(promise: nil) }
    self.channel = channel
    patience = environment.eventLoop.assumeIsolated().scheduleTask(in: Self.handshakeTime) {
      let missing = proxy == nil ? "TLS handshake" : "tunnel"
      self.fail(because: "no \(missing) within \(Self.handshakeTime.nanoseconds / 1_000_000_000) s")
    }
    guard let proxy else { return startStream(on: channel, tls: tls) }
    let host = connection.hostName == nil ? connection.server.ip.bracketed : connection.host
    ProxyTunnel.open(on: channel, through: proxy, to: host, port: connection.server.port)
      .assumeIsolated().whenComplete { result in
        switch result {
        case .success: self.startStream(on: channel, tls: tls)
        case .failure(let error): self.fail(because: ServerLinkError.text(of: error))
        }
      }
  }

  private func startStream(on channel: any Channel, tls: NIOSSLContext?) {
    guard !isEnded else { return }
    let handler = ServerStreamHandler(link: self)
    do {
      if let tls {
        // Sent as SNI, which an address must not be (RFC 6066 §3).
        let name = connection.hostName == nil ? nil : connection.host
        let handshake = try NIOSSLClientHandler(context: tls, serverHostname: name)
        self.handshake = handshake
        try channel.pipeline.syncOperations.addHandlers([handshake, handler])
      } else {
        try channel.pipeline.syncOperations.addHandler(handler)
      }
    } catch {
      return fail(because: "TLS is not possible with \(connection.host): \(error)")
    }
    self.handler = handler
    if tls == nil { established() }
  }

  /// The handshake is complete: an authority vouches for the certificate. Is it the server's?
  func shookHands() {
    guard let certificate = try? handshake?.peerCertificate?.toDERBytes(),
      ServerIdentity.isCertificate(certificate, for: connection.host)
    else { return fail(because: "the server's certificate is for another host") }
    established()
  }

  /// The server is there, and it is the right one.
  private func established() {
    guard !isEnded, !isOpen else { return }
    isOpen = true
    patience?.cancel()
    patience = nil
    guard let address = channel?.localAddress.flatMap({ TransportAddress($0) }) else {
      return fail(because: "the connection to \(connection.server) has no address")
    }
    delegate?.link(connection.id, openedFrom: address)
  }

  // MARK: Receiving

  /// Takes what one read brought.
  func received(_ bytes: RawSpan) {
    guard isOpen, !isEnded, let delegate, var framer = framer.take() else { return }
    do throws(ParseError) {
      try framer.append(bytes)
      while let frame = try framer.next() { delegate.link(connection.id, received: frame) }
    } catch {
      fail(because: "the server's stream holds something that is neither STUN nor ChannelData")
    }
    self.framer = consume framer
  }

  func receivedAll() { if isOpen, !isEnded { delegate?.linkReceivedAll(connection.id) } }

  // MARK: Sending

  func send(_ burst: ByteBuffer, segmentByteCount: Int, mayDrop: Bool, at now: Instant) {
    guard isOpen, !isEnded, let handler else { return }
    guard handler.isWritable || !mayDrop else { return reportDrop() }
    handler.write(burst)
  }

  private func reportDrop() { delegate?.link(connection.id, dropped: .sendQueueFull) }

  func flush() { handler?.flush() }

  // MARK: End

  func close() {
    handler?.flush()
    end()
  }

  /// Ends the link for good and says why; later reasons are consequences of the first.
  func fail(because reason: String) {
    guard !isEnded else { return }
    end()
    delegate?.link(connection.id, failedBecause: reason)
  }

  private func end() {
    isEnded = true
    patience?.cancel()
    patience = nil
    handler = nil
    handshake = nil
    channel?.close(promise: nil)
    channel = nil
  }
}

/// The last handler of a server's stream: bytes to the link, and the link's bytes to the channel.
final class ServerStreamHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let link: StreamServerLink
  private var context: ChannelHandlerContext?
  private var needsFlush = false

  init(link: StreamServerLink) { self.link = link }

  /// Whether the channel's queue is below its high-water mark.
  var isWritable: Bool { context?.channel.isWritable ?? false }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let buffer = unwrapInboundIn(data)
    link.received(buffer.readableBytesSpan)
  }

  func channelReadComplete(context: ChannelHandlerContext) { link.receivedAll() }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case TLSUserEvent.handshakeCompleted? = event as? TLSUserEvent { link.shookHands() }
  }

  func channelInactive(context: ChannelHandlerContext) {
    link.fail(because: "the server closed the connection")
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    link.fail(because: ServerLinkError.text(of: error))
  }

  func write(_ bytes: ByteBuffer) {
    context?.write(wrapOutboundOut(bytes), promise: nil)
    needsFlush = true
  }

  func flush() {
    guard needsFlush else { return }
    needsFlush = false
    context?.flush()
  }
}
