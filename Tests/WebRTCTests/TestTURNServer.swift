// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import ICE
import NIOCore
import NIOPosix
import NIOSSL
import SansIO

@testable import DTLS
@testable import WebRTC

/// A TURN server on loopback over all four transports: the project's own decisions (``TURNServerCore``) with as
/// little around them as possible.
final class TestTURNServer: Sendable {
  private let state: LoopConfined<TURNServerState>
  private let ports: [TURNTransport: UInt16]
  let credentials: TURNCredentials

  /// Starts a server; over TLS and DTLS it shows the named certificate of the tests.
  init(certificate: String = "good") async throws {
    let secret = Secret(Array("a secret of the tests".utf8))
    let eventLoop = MultiThreadedEventLoopGroup.singleton.any()
    let server = TURNServerState(eventLoop: eventLoop, secret: secret)
    let state = LoopConfined(server, to: eventLoop)
    self.state = state
    credentials = TURNCredentials(identity: "tester", expiry: 1 << 40, secret: secret)
    let chain = try TestCertificates.pem(certificate)
    let key = try TestCertificates.pem("server.key")
    ports = try await eventLoop.flatSubmit { state.value.listen(chain: chain, key: key) }.get()
  }

  /// The port of a transport.
  func port(_ transport: TURNTransport) -> UInt16 { ports[transport] ?? 0 }

  /// The server as the gatherer's configuration names it.
  func iceServer(_ transports: [TURNTransport], host: String = "localhost") throws -> ICEServer {
    let urls = try transports.map { transport in
      let (scheme, parameter) =
        switch transport {
        case .udp: ("turn", "udp")
        case .tcp: ("turn", "tcp")
        case .dtls: ("turns", "udp")
        case .tls: ("turns", "tcp")
        }
      return try ICEServerURL(parsing: "\(scheme):\(host):\(port(transport))?transport=\(parameter)")
    }
    return ICEServer(urls: urls, username: credentials.username, credential: credentials.password)
  }

  /// A server for reflexive addresses alone.
  func stunServer() throws -> ICEServer {
    ICEServer(urls: [try ICEServerURL(parsing: "stun:localhost:\(port(.udp))")])
  }

  func run<Result: Sendable>(_ body: @escaping @Sendable (TURNServerState) -> Result) async -> Result {
    let state = state
    return await withCheckedContinuation { continuation in
      state.eventLoop.execute { continuation.resume(returning: body(state.value)) }
    }
  }

  /// Frames and datagrams of clients that arrived over a transport.
  func framesReceived(_ transport: TURNTransport) async -> Int {
    await run { $0.framesReceived[transport] ?? 0 }
  }

  func allocationCount() async -> Int { await run { $0.core.allocationCount } }

  /// Dies without a word: closes every socket.
  func kill() async { await run { $0.kill() } }
}

/// The server on its event loop.
final class TURNServerState {
  let eventLoop: any EventLoop
  var core: TURNServerCore
  private(set) var framesReceived: [TURNTransport: Int] = [:]
  private var channels: [ObjectIdentifier: any Channel] = [:]
  private var relays: [RelayID: any Channel] = [:]
  private var sessions: [TransportAddress: DTLSSession] = [:]
  /// How to answer a client, by the number of the socket or connection that it came over.
  private var writers: [UInt32: ([UInt8], TransportAddress) -> Void] = [:]
  private var nextNumber: UInt32 = 1
  private static let loopback = try? SocketAddress(ipAddress: "127.0.0.1", port: 0)

  /// A client over DTLS.
  private final class DTLSSession {
    var connection: DTLSClient
    init(_ connection: consuming DTLSClient) { self.connection = connection }
  }

  init(eventLoop: any EventLoop, secret: Secret<[UInt8]>) {
    self.eventLoop = eventLoop
    var configuration = TURNServerCore.Configuration(
      realm: "turn.test", secret: secret, unixTimeAtOrigin: .seconds(0))
    configuration.peerPolicy = TURNPeerPolicy(allowedPrefixes: [IPPrefix("127.0.0.0/8")].compactMap(\.self))
    core = TURNServerCore(configuration: configuration, random: .system)
  }

  // MARK: Listening

  func listen(chain: String, key: String) -> EventLoopFuture<[TURNTransport: UInt16]> {
    let results: [EventLoopFuture<(TURNTransport, UInt16)>]
    do {
      var tls = TLSConfiguration.makeServerConfiguration(
        certificateChain: try NIOSSLCertificate.fromPEMBytes(Array(chain.utf8)).map { .certificate($0) },
        privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(key.utf8), format: .pem)))
      tls.minimumTLSVersion = .tlsv12
      let tlsContext = try NIOSSLContext(configuration: tls)
      let dtlsContext = try DTLSClientContext(servingWith: chain, key: key)
      results = [
        listenForDatagrams(.udp, dtls: nil), listenForDatagrams(.dtls, dtls: dtlsContext),
        listenForStreams(.tcp, tls: nil), listenForStreams(.tls, tls: tlsContext),
      ]
    } catch { return eventLoop.makeFailedFuture(error) }
    return EventLoopFuture.whenAllSucceed(results, on: eventLoop).map {
      Dictionary(uniqueKeysWithValues: $0)
    }
  }

  private func number() -> UInt32 {
    defer { nextNumber += 1 }
    return nextNumber
  }

  private func keep(_ channel: any Channel) {
    let id = ObjectIdentifier(channel)
    channels[id] = channel
    channel.closeFuture.assumeIsolated().whenComplete { _ in self.channels[id] = nil }
  }

  private func bindDatagrams(
    _ read: @escaping (ByteBuffer, TransportAddress) -> Void
  ) -> EventLoopFuture<any Channel>.Isolated {
    let handler = LoopConfined(TestDatagramHandler(read), to: eventLoop)
    guard let loopback = Self.loopback else {
      return eventLoop.makeFailedFuture(ChannelError.unknownLocalAddress).assumeIsolated()
    }
    return DatagramBootstrap(group: eventLoop)
      .channelOption(.socketOption(.so_rcvbuf), value: 1 << 20)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(handler.value)
        }
      }.bind(to: loopback).assumeIsolated()
  }

  private func listenForDatagrams(
    _ transport: TURNTransport, dtls: DTLSClientContext?
  ) -> EventLoopFuture<(TURNTransport, UInt16)> {
    let number = number()
    var local = LocalSocket(id: number, address: TransportAddress(ip: IPAddress(ipv4: 0x7f00_0001), port: 1))
    let bound = bindDatagrams { [weak self] buffer, remote in
      guard let self else { return }
      let route = Route(receivedOn: local, from: remote)
      if let dtls {
        self.receiveDTLS(buffer, on: route, context: dtls)
      } else {
        self.receive(Array(buffer: buffer), on: route, over: transport)
      }
    }
    return bound.map { channel in
      self.keep(channel)
      let port = UInt16(channel.localAddress?.port ?? 0)
      local = LocalSocket(id: number, address: TransportAddress(ip: local.address.ip, port: port))
      let send = { (bytes: [UInt8], remote: TransportAddress) in
        let envelope = AddressedEnvelope(
          remoteAddress: remote.socketAddress, data: ByteBuffer(bytes: bytes))
        channel.writeAndFlush(envelope, promise: nil)
      }
      self.writers[number] = { bytes, remote in
        guard dtls != nil else { return send(bytes, remote) }
        try? self.sessions[remote]?.connection.send(bytes.rawSpan, at: NetworkClock.now)
        self.transmit(to: remote, by: send)
      }
      self.datagramSenders[number] = send
      return (transport, port)
    }.nonisolated()
  }

  private var datagramSenders: [UInt32: ([UInt8], TransportAddress) -> Void] = [:]

  private func listenForStreams(
    _ transport: TURNTransport, tls: NIOSSLContext?
  ) -> EventLoopFuture<(TURNTransport, UInt16)> {
    let state = LoopConfined(self, to: eventLoop)
    return ServerBootstrap(group: eventLoop)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if let tls {
            try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls))
          }
          try channel.pipeline.syncOperations.addHandler(
            TestStreamHandler(state.value, number: state.value.number(), transport: transport))
          state.value.keep(channel)
        }
      }.bind(host: "127.0.0.1", port: 0).map { channel in
        state.value.keep(channel)
        return (transport, UInt16(channel.localAddress?.port ?? 0))
      }
  }

  func kill() {
    for channel in channels.values { channel.close(promise: nil) }
    channels = [:]
    writers = [:]
  }

  // MARK: Clients

  fileprivate func streamOpened(_ number: UInt32, write: @escaping ([UInt8]) -> Void) {
    writers[number] = { bytes, _ in write(bytes) }
  }

  fileprivate func streamClosed(_ route: Route) {
    writers[route.socket.id] = nil
    core.disconnected(route)
    drain()
  }

  private func receiveDTLS(_ buffer: ByteBuffer, on route: Route, context: DTLSClientContext) {
    let now = NetworkClock.now
    let session: DTLSSession
    if let known = sessions[route.remote] {
      session = known
    } else {
      guard let made = try? DTLSClient(context: context, host: "client.test") else { return }
      session = DTLSSession(made)
      session.connection.start(at: now)
      sessions[route.remote] = session
    }
    session.connection.receive(buffer.readableBytesSpan, at: now)
    if let send = datagramSenders[route.socket.id] { transmit(to: route.remote, by: send) }
    while let count = session.connection.nextMessageByteCount {
      let message = [UInt8](writing: count) { (output: inout OutputRawSpan) in
        _ = session.connection.pollMessage(into: &output)
      }
      receive(message, on: route, over: .dtls)
    }
  }

  private func transmit(to remote: TransportAddress, by send: ([UInt8], TransportAddress) -> Void) {
    guard let session = sessions[remote] else { return }
    while let count = session.connection.nextDatagramByteCount {
      let datagram = [UInt8](writing: count) { (output: inout OutputRawSpan) in
        _ = session.connection.pollTransmit(into: &output, at: NetworkClock.now)
      }
      send(datagram, remote)
    }
  }

  fileprivate func receive(_ frame: [UInt8], on route: Route, over transport: TURNTransport) {
    framesReceived[transport, default: 0] += 1
    let now = NetworkClock.now
    let forward = core.receive(frame.rawSpan, on: route, isStream: transport.isStream, at: now)
    if let forward, let relay = relays[forward.relay] {
      let envelope = AddressedEnvelope(
        remoteAddress: forward.peer.socketAddress,
        data: ByteBuffer(bytes: [UInt8](copying: forward.payload)))
      relay.writeAndFlush(envelope, promise: nil)
    }
    drain()
  }

  // MARK: Output

  private func drain() {
    while let action = core.pollAction() {
      switch action {
      case .openRelay(let id, _): openRelay(id)
      case .closeRelay(let id): relays.removeValue(forKey: id)?.close(promise: nil)
      }
    }
    while true {
      var transmit: Transmit?
      let message = [UInt8](writing: 2048) { (output: inout OutputRawSpan) in
        transmit = core.pollTransmit(into: &output, at: NetworkClock.now)
      }
      guard let transmit else { return }
      writers[transmit.route.socket.id]?(message, transmit.route.remote)
    }
  }

  private func openRelay(_ id: RelayID) {
    let bound = bindDatagrams { [weak self] buffer, peer in self?.relay(buffer, from: peer, on: id) }
    bound.whenComplete { result in
      guard case .success(let channel) = result,
        let address = channel.localAddress.flatMap({ TransportAddress($0) })
      else { return self.core.relayFailed(id, at: NetworkClock.now) }
      self.keep(channel)
      self.relays[id] = channel
      self.core.relayOpened(id, address: address, at: NetworkClock.now)
      self.drain()
    }
  }

  private func relay(_ datagram: ByteBuffer, from peer: TransportAddress, on id: RelayID) {
    let bytes = datagram.readableBytesSpan
    var transmit: Transmit?
    let frame = [UInt8](writing: bytes.byteCount + 100) { (output: inout OutputRawSpan) in
      transmit = core.relay(bytes, from: peer, on: id, into: &output, at: NetworkClock.now)
    }
    if let transmit { writers[transmit.route.socket.id]?(frame, transmit.route.remote) }
  }
}

private final class TestDatagramHandler: ChannelInboundHandler {
  typealias InboundIn = AddressedEnvelope<ByteBuffer>
  private let read: (ByteBuffer, TransportAddress) -> Void

  init(_ read: @escaping (ByteBuffer, TransportAddress) -> Void) { self.read = read }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let envelope = unwrapInboundIn(data)
    if let remote = TransportAddress(envelope.remoteAddress) { read(envelope.data, remote) }
  }
}

private final class TestStreamHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer
  private let server: TURNServerState
  private let number: UInt32
  private let transport: TURNTransport
  private var framer: STUNStreamFramer? = STUNStreamFramer()
  private var route: Route?

  init(_ server: TURNServerState, number: UInt32, transport: TURNTransport) {
    self.server = server
    self.number = number
    self.transport = transport
  }

  func channelActive(context: ChannelHandlerContext) {
    guard let local = context.localAddress.flatMap({ TransportAddress($0) }),
      let remote = context.remoteAddress.flatMap({ TransportAddress($0) })
    else { return }
    route = Route(receivedOn: LocalSocket(id: number, address: local), from: remote)
    let context = NIOLoopBound(context, eventLoop: context.eventLoop)
    server.streamOpened(number) { bytes in
      context.value.writeAndFlush(NIOAny(ByteBuffer(bytes: bytes)), promise: nil)
    }
    context.value.fireChannelActive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let buffer = unwrapInboundIn(data)
    guard let route, var framer = framer.take() else { return }
    do {
      try framer.append(buffer.readableBytesSpan)
      while let frame = try framer.next() {
        let copy = [UInt8](copying: frame)
        server.receive(copy, on: route, over: transport)
      }
    } catch { context.close(promise: nil) }
    self.framer = consume framer
  }

  func channelInactive(context: ChannelHandlerContext) { if let route { server.streamClosed(route) } }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

/// The certificates that the tests of the service's TLS use; a script beside them makes them.
enum TestCertificates {
  static func pem(_ name: String) throws -> String {
    let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let file = tests.appending(path: "KinesisVideoTests/Certificates/\(name)")
    return try String(
      contentsOf: file.pathExtension.isEmpty ? file.appendingPathExtension("pem") : file, encoding: .utf8)
  }
}
