// SPDX-License-Identifier: Apache-2.0

import ICE
import NIOCore
import NIOPosix
import NIOSSL
import SansIO
import Testing

@testable import LocalKinesisVideo

/// A socket of a test: a UDP socket, or a TCP or TLS connection that carries STUN and ChannelData frames.
struct TestSocket: ~Copyable {
  struct Received: Sendable {
    let bytes: [UInt8]
    let from: TransportAddress?
  }

  private let channel: any Channel
  private var inbox: AsyncStream<Received>.Iterator
  private let isDatagram: Bool

  private init(channel: any Channel, inbox: AsyncStream<Received>, isDatagram: Bool) {
    self.channel = channel
    self.inbox = inbox.makeAsyncIterator()
    self.isDatagram = isDatagram
  }

  static func datagrams(host: String = "127.0.0.1") async throws -> TestSocket {
    let (stream, continuation) = AsyncStream<Received>.makeStream()
    let channel = try await DatagramBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(DatagramInbox(continuation))
        }
      }
      .bind(host: host, port: 0).get()
    return TestSocket(channel: channel, inbox: stream, isDatagram: true)
  }

  static func stream(
    toPort port: Int, trusting certificatePEM: String? = nil, serverName: String? = nil
  ) async throws -> TestSocket {
    let (stream, continuation) = AsyncStream<Received>.makeStream()
    var context: NIOSSLContext?
    if let certificatePEM {
      var configuration = TLSConfiguration.makeClientConfiguration()
      configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(certificatePEM.utf8)))
      context = try NIOSSLContext(configuration: configuration)
    }
    let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
      .channelInitializer { [context] channel in
        channel.eventLoop.makeCompletedFuture {
          if let context {
            try channel.pipeline.syncOperations.addHandler(
              NIOSSLClientHandler(context: context, serverHostname: serverName))
          }
          try channel.pipeline.syncOperations.addHandler(StreamInbox(continuation))
        }
      }
      .connect(host: "127.0.0.1", port: port).get()
    return TestSocket(channel: channel, inbox: stream, isDatagram: false)
  }

  var address: TransportAddress {
    get throws { try #require(TransportAddress(channel.localAddress)) }
  }

  func send(_ bytes: [UInt8], to remote: TransportAddress) async throws {
    let buffer = ByteBuffer(bytes: bytes)
    if isDatagram {
      let address = try SocketAddress(ipAddress: remote.ip.description, port: Int(remote.port))
      try await channel.writeAndFlush(AddressedEnvelope(remoteAddress: address, data: buffer)).get()
    } else {
      try await channel.writeAndFlush(buffer).get()
    }
  }

  /// The next datagram or frame; `nil` when the connection ended.
  mutating func receive() async -> Received? { await inbox.next(isolation: #isolation) }

  func close() async { try? await channel.close().get() }

  private final class DatagramInbox: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    private let continuation: AsyncStream<Received>.Continuation
    init(_ continuation: AsyncStream<Received>.Continuation) { self.continuation = continuation }
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let envelope = unwrapInboundIn(data)
      continuation.yield(
        Received(bytes: Array(buffer: envelope.data), from: TransportAddress(envelope.remoteAddress)))
    }
    func channelInactive(context: ChannelHandlerContext) { continuation.finish() }
  }

  private final class StreamInbox: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    private let continuation: AsyncStream<Received>.Continuation
    private var framer = STUNStreamFramer()
    init(_ continuation: AsyncStream<Received>.Continuation) { self.continuation = continuation }
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let bytes = unwrapInboundIn(data)
      do {
        try framer.append(bytes.readableBytesSpan)
        while let frame = try framer.next() {
          continuation.yield(Received(bytes: [UInt8](copying: frame), from: nil))
        }
      } catch {
        Issue.record("the server's stream has no frames: \(error)")
        context.close(promise: nil)
      }
    }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    func channelInactive(context: ChannelHandlerContext) { continuation.finish() }
  }
}

/// A TURN client that does what a test says and nothing by itself.
struct TURNTestClient: ~Copyable {
  var socket: TestSocket
  let server: TransportAddress
  var username: String
  var password: Secret<String>
  private var realm = ""
  private var nonce: [UInt8] = []
  private var nextID: UInt64 = 0

  init(_ socket: consuming TestSocket, port: Int, username: String, password: String) throws {
    self.socket = socket
    server = TransportAddress(ip: try #require(IPAddress("127.0.0.1")), port: UInt16(port))
    self.username = username
    self.password = Secret(password)
  }

  init(_ socket: consuming TestSocket, port: Int, credentials: TURNCredentials) throws {
    try self.init(
      socket, port: port, username: credentials.username, password: credentials.password.unredacted)
  }

  /// An answer without what a test does not look at.
  struct Answer {
    var bytes: [UInt8] = []
    var error: STUNErrorCode?
    var relayed: TransportAddress?
    var mapped: TransportAddress?
  }

  mutating func request(
    _ method: STUNMethod, isSigned: Bool, _ attributes: (inout STUNMessageBuilder) -> Void = { _ in }
  ) -> [UInt8] {
    nextID += 1
    var builder = STUNMessageBuilder(
      .request, method, transactionID: STUNTransactionID(prefix: 7, suffix: nextID),
      byteCountMax: TURNLimits.messageByteCountMax)
    attributes(&builder)
    if isSigned {
      builder.append(.username, username)
      builder.append(.realm, realm)
      builder.append(.nonce, nonce)
      builder.appendIntegrity(
        with: STUNIntegrityKey(username: username, realm: realm, password: password))
    }
    return builder.bytes
  }

  func send(_ bytes: [UInt8]) async throws { try await socket.send(bytes, to: server) }

  /// Sends a request and waits for what comes next.
  mutating func ask(_ bytes: [UInt8]) async throws -> Answer {
    try await send(bytes)
    return try read(try #require(await socket.receive()).bytes)
  }

  /// Reads an answer, and takes realm and nonce out of it.
  private mutating func read(_ bytes: [UInt8]) throws -> Answer {
    let message = try STUNMessage(parsing: bytes.rawSpan)
    if let text = message.realm { realm = text }
    if let bytes = message.nonce { nonce = bytes }
    return Answer(
      bytes: bytes, error: message.errorCode, relayed: message.xorRelayedAddress,
      mapped: message.xorMappedAddress)
  }

  /// Asks with credentials, after a challenge where there was none yet.
  mutating func authenticated(
    _ method: STUNMethod, _ attributes: (inout STUNMessageBuilder) -> Void
  ) async throws -> Answer {
    if nonce.isEmpty {
      let challenge = try await ask(request(.allocate, isSigned: false))
      #expect(challenge.error == .unauthenticated)
    }
    return try await ask(request(method, isSigned: true, attributes))
  }

  mutating func allocate() async throws -> Answer {
    try await authenticated(.allocate) { $0.append(.requestedTransport, [17, 0, 0, 0]) }
  }

  mutating func permit(_ peer: TransportAddress) async throws -> STUNErrorCode? {
    try await authenticated(.createPermission) { $0.append(.xorPeerAddress, peer) }.error
  }

  mutating func bind(_ number: UInt16, to peer: TransportAddress) async throws -> STUNErrorCode? {
    try await authenticated(.channelBind) { builder in
      builder.append(.channelNumber, UInt32(number) << 16)
      builder.append(.xorPeerAddress, peer)
    }.error
  }

  mutating func sendIndication(_ payload: [UInt8], to peer: TransportAddress) async throws {
    nextID += 1
    var builder = STUNMessageBuilder(
      .indication, .send, transactionID: STUNTransactionID(prefix: 7, suffix: nextID))
    builder.append(.xorPeerAddress, peer)
    builder.append(.data, payload)
    try await send(builder.bytes)
  }

  /// Sends on a channel; streams want multiples of four bytes, which all tests' payloads are.
  func send(_ payload: [UInt8], onChannel number: UInt16) async throws {
    let header = [number >> 8, number & 0xff, UInt16(payload.count >> 8), UInt16(payload.count & 0xff)]
    try await send(header.map { UInt8($0) } + payload)
  }
}
