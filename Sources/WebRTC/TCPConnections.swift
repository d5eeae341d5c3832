// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import SansIO

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What the TCP connections tell the loop that they belong to.
protocol TCPConnectionsDelegate: AnyObject {
  /// A connection to this candidate stands; its packets take this route.
  func tcpConnected(to remote: TransportAddress, _ route: Route, of peer: PeerDriver)
  /// A connection could not be made, or was not allowed.
  func tcpConnectionFailed(to remote: TransportAddress, of peer: PeerDriver)
  /// A connection that stood is gone.
  func tcpConnectionLost(_ route: Route, of peer: PeerDriver)
  /// A packet arrived.
  func tcpReceived(_ packet: RawSpan, on route: Route, for peer: PeerDriver)
  /// What was there to be read for now has been read.
  func tcpReceivedAll()
  /// A packet was dropped instead of sent.
  func tcpDropped(_ cause: NetworkDropCause)
}

/// The connections to TCP candidates of peers (RFC 6544): we are the active side, of connections that peers offer
/// to accept.
///
/// Each has a number as sockets have and belongs to one peer, so that nothing has to be told apart on it.
/// Confined to the event loop.
final class TCPConnections {
  /// The numbers of TCP connections among those of sockets. They are not given out again.
  static let ids: Range<UInt32> = 0x4000_0000..<0x8000_0000
  /// How long a connection may take to stand. A firewall that drops the request lets it hang; other pairs have
  /// been tried by then.
  static let connectTime = TimeAmount.seconds(5)
  /// Connections of one peer: one for each of our addresses and a few candidates. They bound what a peer can
  /// make us knock at.
  static let connectionsPerPeerMax = 8
  /// Connections of a loop; each holds a descriptor.
  static let connectionsMax = 256
  /// Bytes that wait to be sent on one connection before packets are dropped. A connection that cannot keep
  /// up must not turn into a delay: media that is late is worth less than media that is missing, which is
  /// repeated if there is time. A large key frame fits, and at 5 Mbit/s it is 0.4 s.
  static let writeQueueByteCount = 256 << 10
  /// Bytes that the kernel may hold unsent beside them (TCP_NOTSENT_LOWAT), for the same reason; else it is
  /// megabytes.
  static let kernelUnsentByteCountMax = 64 << 10

  private let eventLoop: any EventLoop
  private unowned let delegate: any TCPConnectionsDelegate
  private var connections: [UInt32: Connection] = [:]
  private var nextID = ids.lowerBound

  /// Starts without connections; the delegate owns this object.
  init(eventLoop: any EventLoop, delegate: any TCPConnectionsDelegate) {
    self.eventLoop = eventLoop
    self.delegate = delegate
  }

  /// How many connections there are, those that are being made included.
  var count: Int { connections.count }

  /// The routes of the connections that stand, by number.
  var routes: [Route] {
    connections.values.filter { $0.channel != nil }.map(\.route).sorted { $0.socket.id < $1.socket.id }
  }

  /// Makes a connection from an address of ours to a candidate that a peer accepts connections at.
  func open(from local: IPAddress, to remote: TransportAddress, for peer: PeerDriver) {
    let socket = LocalSocket(id: nextID, address: TransportAddress(ip: local, port: Self.discardPort))
    guard let route = Route(sendingFrom: socket, to: remote), Self.mayConnect(to: remote.port),
      Self.ids.contains(nextID), connections.count < Self.connectionsMax,
      connections.values.count(where: { $0.peer === peer }) < Self.connectionsPerPeerMax
    else { return delegate.tcpConnectionFailed(to: remote, of: peer) }
    nextID += 1
    let connection = Connection(to: remote, route: route, peer: peer, owner: self)
    connections[route.socket.id] = connection
    let handler = LoopConfined(connection, to: eventLoop)
    let high = Self.writeQueueByteCount
    ClientBootstrap(group: eventLoop)
      .connectTimeout(Self.connectTime)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelOption(
        .tcpOption(.init(rawValue: TCP_NOTSENT_LOWAT)), value: Self.kernelUnsentByteCountMax
      )
      .channelOption(.writeBufferWaterMark, value: .init(low: high / 2, high: high))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(handler.value)
        }
      }
      .bind(to: TransportAddress(ip: local, port: 0).socketAddress)
      .connect(to: route.remote.socketAddress)
      .assumeIsolated().whenComplete { result in self.connected(result, connection) }
  }

  /// Queues a burst on its connection; ``flush()`` sends it.
  func send(_ burst: ByteBuffer, as transmit: Transmit) {
    guard let connection = connections[transmit.route.socket.id], let channel = connection.channel else {
      return delegate.tcpDropped(.socketClosed)
    }
    guard channel.isWritable else { return delegate.tcpDropped(.sendQueueFull) }
    let framed = PacketFraming.framed(
      burst, segmentByteCount: transmit.segmentByteCount, allocator: channel.allocator)
    channel.write(framed, promise: nil)
    connection.needsFlush = true
  }

  /// Sends what was queued since the last flush.
  func flush() {
    for connection in connections.values where connection.needsFlush {
      connection.needsFlush = false
      connection.channel?.flush()
    }
  }

  /// Closes all connections of a peer; it hears no more of them.
  func closeAll(of peer: PeerDriver) {
    for (id, connection) in connections where connection.peer === peer {
      connections[id] = nil
      connection.close()
    }
  }

  /// Closes all connections.
  func closeAll() {
    for connection in connections.values { connection.close() }
    connections = [:]
  }

  /// RFC 6544 §4.5: what an active candidate names as its port.
  private static let discardPort: UInt16 = 9

  /// Whether a port may be knocked at because a peer said so. Media servers listen above the system's ports, or
  /// at those of the web where nothing else is let through; the others belong to services that are not meant
  /// (threat T8). The agent is stricter.
  private static func mayConnect(to port: UInt16) -> Bool { port >= 1024 || port == 443 || port == 80 }

  private func connected(_ result: Result<any Channel, any Error>, _ connection: Connection) {
    let id = connection.route.socket.id
    switch result {
    case .success(let channel):
      guard connections[id] != nil, let local = channel.localAddress.flatMap(TransportAddress.init) else {
        connections[id] = nil
        return channel.close(promise: nil)
      }
      connection.route = Route(
        receivedOn: LocalSocket(id: id, address: local), from: connection.route.remote)
      connection.channel = channel
      delegate.tcpConnected(to: connection.remote, connection.route, of: connection.peer)
      connection.deliverEarly()
    case .failure:
      guard connections.removeValue(forKey: id) != nil else { return }
      delegate.tcpConnectionFailed(to: connection.remote, of: connection.peer)
    }
  }

  private func closed(_ connection: Connection) {
    guard connection.channel != nil, connections.removeValue(forKey: connection.route.socket.id) != nil
    else { return }
    connection.channel = nil
    delegate.tcpConnectionLost(connection.route, of: connection.peer)
  }

  /// One connection and the only handler of its channel.
  private final class Connection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    let peer: PeerDriver
    /// The candidate as the peer named it.
    let remote: TransportAddress
    /// From the connection's local address, once it stands.
    var route: Route
    /// The channel of a connection that stands.
    var channel: (any Channel)?
    var needsFlush = false
    private weak let owner: TCPConnections?
    private var framing = PacketFraming()

    init(to remote: TransportAddress, route: Route, peer: PeerDriver, owner: TCPConnections) {
      self.remote = remote
      self.route = route
      self.peer = peer
      self.owner = owner
    }

    /// Sends what was queued, the goodbye among it, and ends the connection.
    func close() {
      channel?.flush()
      channel?.close(promise: nil)
      channel = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      framing.append(unwrapInboundIn(data))
      deliver()
    }

    /// Hands out what arrived before the loop heard that the connection stands.
    func deliverEarly() {
      guard framing.bufferedByteCount > 0 else { return }
      deliver()
      owner?.delegate.tcpReceivedAll()
    }

    private func deliver() {
      // A packet may end the connection; what follows it is nobody's.
      while channel != nil, let packet = framing.next() {
        owner?.delegate.tcpReceived(packet.readableBytesSpan, on: route, for: peer)
      }
    }

    func channelReadComplete(context: ChannelHandlerContext) { owner?.delegate.tcpReceivedAll() }

    func channelInactive(context: ChannelHandlerContext) { owner?.closed(self) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}
