// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import SansIO

#if canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// What a ``DatagramPort`` tells its owner.
protocol DatagramPortDelegate: AnyObject {
  /// A datagram arrived.
  func port(_ port: DatagramPort, received datagram: RawSpan, from remote: TransportAddress)
  /// What was there to be read for now has been read.
  func portReceivedAll(_ port: DatagramPort)
  /// The system does not let the port receive; ``DatagramPort/open()`` tries again.
  func portLost(_ port: DatagramPort, because reason: String)
}

/// One bound UDP socket that no peer can take away from the others (threat T45).
///
/// A channel of the event loop reads; datagrams are sent past it with `sendto`, one call each. So an address that the
/// system refuses costs its own datagram and nothing else, where a channel would end at the error, and nothing waits
/// for a slow network: what the kernel does not take at once is dropped, as a router would. Confined to the loop.
final class DatagramPort {
  /// A call of the system that failed.
  struct Failure: Error, CustomStringConvertible {
    let operation: String
    let code: CInt
    var description: String { "\(operation): \(String(cString: strerror(code)))" }
  }

  /// What a send led to.
  enum SendResult {
    case sent
    /// The kernel's queue is full.
    case queueFull
    /// Nothing can be sent there.
    case refused
  }

  /// Bytes that the kernel is asked to keep in each direction: some 700 full datagrams, a burst of many viewers.
  static let bufferByteCount: CInt = 1 << 20
  /// Datagrams read before the loop turns to something else.
  static let messagesPerReadMax: UInt = 16
  /// Longest datagram.
  static let datagramByteCountMax = 65_535

  /// Where the port is bound; the port is never 0.
  let address: TransportAddress
  /// What its owner calls it.
  let name: LocalSocket
  private let descriptor: CInt
  private let eventLoop: any EventLoop
  private weak let delegate: (any DatagramPortDelegate)?
  private var channel: (any Channel)?
  private var isClosed = false

  /// Binds a socket; port 0 lets the kernel choose.
  init(
    id: UInt32, binding wanted: TransportAddress, eventLoop: any EventLoop,
    delegate: any DatagramPortDelegate
  ) throws(Failure) {
    let family = wanted.ip.family == .ipv4 ? AF_INET : AF_INET6
    let type = CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
    let descriptor = socket(family, type, 0)
    guard descriptor >= 0 else { throw Failure(operation: "socket", code: errno) }
    if wanted.ip.family == .ipv6 { Self.set(CInt(IPPROTO_IPV6), IPV6_V6ONLY, to: 1, on: descriptor) }
    Self.set(SOL_SOCKET, SO_RCVBUF, to: Self.bufferByteCount, on: descriptor)
    Self.set(SOL_SOCKET, SO_SNDBUF, to: Self.bufferByteCount, on: descriptor)
    guard wanted.withSocketAddress({ bind(descriptor, $0, $1) }) == 0,
      let port = Self.localPort(of: descriptor)
    else {
      let code = errno
      Self.close(descriptor)
      throw Failure(operation: "bind", code: code)
    }
    self.descriptor = descriptor
    self.eventLoop = eventLoop
    self.delegate = delegate
    address = TransportAddress(ip: wanted.ip, port: port)
    name = LocalSocket(id: id, address: address)
  }

  deinit { Self.close(descriptor) }

  /// Begins to receive. What arrived since the socket was bound waits in the kernel.
  func open() {
    eventLoop.preconditionInEventLoop()
    guard !isClosed, channel == nil else { return }
    // The channel closes its descriptor when it ends; ours keeps the port bound.
    let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0 else { return fail(because: Failure(operation: "dup", code: errno).description) }
    let bound = NIOLoopBound(self, eventLoop: eventLoop)
    let opening = DatagramBootstrap(group: eventLoop)
      .channelOption(.maxMessagesPerRead, value: Self.messagesPerReadMax)
      .channelOption(
        .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Self.datagramByteCountMax)
      )
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(Reader(port: bound.value))
        }
      }
      .withBoundSocket(copy)
    opening.assumeIsolated().whenComplete { result in
      switch result {
      case .success(let channel) where self.isClosed: channel.close(promise: nil)
      case .success(let channel): self.channel = channel
      case .failure(let error): self.fail(because: "\(error)")
      }
    }
  }

  /// Ends the port.
  func close() {
    isClosed = true
    channel?.close(promise: nil)
    channel = nil
  }

  /// Sends one datagram, or drops it.
  func send(_ datagram: RawSpan, to remote: TransportAddress) -> SendResult {
    let count = datagram.withUnsafeBytes { bytes in
      remote.withSocketAddress { sendto(descriptor, bytes.baseAddress, bytes.count, 0, $0, $1) }
    }
    guard count < 0 else { return .sent }
    return errno == EAGAIN || errno == ENOBUFS ? .queueFull : .refused
  }

  private func fail(because reason: String) {
    guard !isClosed else { return }
    delegate?.portLost(self, because: reason)
  }

  /// The channel ended without us: the next one is made in the loop's next step.
  private func channelEnded() {
    guard !isClosed else { return }
    channel = nil
    eventLoop.assumeIsolated().execute { self.open() }
  }

  @discardableResult
  private static func set(_ level: CInt, _ option: CInt, to value: CInt, on descriptor: CInt) -> Bool {
    var value = value
    return setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<CInt>.size)) == 0
  }

  private static func localPort(of descriptor: CInt) -> UInt16? {
    withUnsafeTemporaryAllocation(byteCount: TransportAddress.socketByteCountMax, alignment: 8) { bytes in
      var length = socklen_t(bytes.count)
      let start = bytes.bindMemory(to: sockaddr.self).baseAddress
      guard getsockname(descriptor, start, &length) == 0 else { return nil }
      return UInt16(
        bigEndian: bytes.loadUnaligned(fromByteOffset: TransportAddress.socketPortOffset, as: UInt16.self))
    }
  }

  private static func close(_ descriptor: CInt) {
    #if canImport(Musl)
      _ = Musl.close(descriptor)
    #else
      _ = Glibc.close(descriptor)
    #endif
  }

  /// The only handler of the channel.
  private final class Reader: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let port: DatagramPort

    init(port: DatagramPort) { self.port = port }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let envelope = unwrapInboundIn(data)
      guard !port.isClosed, let remote = TransportAddress(envelope.remoteAddress) else { return }
      port.delegate?.port(port, received: envelope.data.readableBytesSpan, from: remote)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
      if !port.isClosed { port.delegate?.portReceivedAll(port) }
    }

    func channelInactive(context: ChannelHandlerContext) { port.channelEnded() }

    /// Errors close the channel, or do not matter.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}
  }
}
