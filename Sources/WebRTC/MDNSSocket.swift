// SPDX-License-Identifier: Apache-2.0

import ICE
import NIOCore
import NIOPosix
import SansIO

/// A link on which multicast DNS is spoken: an interface and an address family.
struct MDNSLink: Hashable, Sendable {
  /// The interface's name, `eth0`.
  let interfaceName: String
  /// An address of that interface: IPv4 datagrams are sent from it.
  let address: IPAddress
  /// IPv4 or IPv6.
  var family: IPAddress.Family { address.family }

  /// The links that the addresses of these sockets belong to: names are asked for where media may flow, nowhere
  /// else.
  static func links(of interfaces: [NetworkInterface], using addresses: [IPAddress]) -> [MDNSLink] {
    let names = Set(interfaces.filter { addresses.contains($0.address) }.map(\.name))
    let used = interfaces.filter { addresses.contains($0.address) }
    let others = interfaces.filter { names.contains($0.name) && !addresses.contains($0.address) }
    var links: [MDNSLink] = []
    for interface in used + others {
      let link = MDNSLink(interfaceName: interface.name, address: interface.address)
      if !links.contains(where: { $0.interfaceName == link.interfaceName && $0.family == link.family }) {
        links.append(link)
      }
    }
    return links
  }
}

/// A socket in the group of multicast DNS on one link (RFC 6762 §3, §11), with nothing else to do.
///
/// It is bound to the group's address, not to all of the host's. Only datagrams to the group arrive, which no
/// router forwards, so that their senders are on the link (RFC 6762 §11); and other programs that speak
/// multicast DNS on this host go on getting what is sent to them alone. An error of sending closes this socket
/// and no other. Confined to the event loop.
final class MDNSSocket {
  /// Datagrams read before the loop turns to something else.
  static let messagesPerReadMax: UInt = 8

  private let group: SocketAddress
  private let channel: any Channel

  private init(family: IPAddress.Family, channel: any Channel) {
    // The socket's options say on which interface.
    group = MDNSResolver.group(family).socketAddress
    self.channel = channel
  }

  /// Joins the group on a link. `received` gets each datagram with its sender.
  static func open(
    _ link: MDNSLink, on eventLoop: any EventLoop,
    received: @escaping (RawSpan, TransportAddress) -> Void
  ) throws(NetworkError) -> EventLoopFuture<MDNSSocket>.Isolated {
    let descriptor = try MulticastDescriptor.open(link)
    let handler = LoopConfined(Handler(received), to: eventLoop)
    return DatagramBootstrap(group: eventLoop)
      .channelOption(.maxMessagesPerRead, value: messagesPerReadMax)
      .channelOption(
        .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: DNSMessage.byteCountMax)
      )
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(handler.value)
        }
      }
      .withBoundSocket(descriptor)
      .assumeIsolated().map { MDNSSocket(family: link.family, channel: $0) }
  }

  /// Sends a query to the group. An error is the end of this socket; the question is repeated by others.
  func send(_ query: ByteBuffer) {
    channel.writeAndFlush(
      AddressedEnvelope(remoteAddress: group, data: query), promise: nil)
  }

  /// Whether it can send and receive.
  var isActive: Bool { channel.isActive }

  /// Leaves the group.
  func close() { channel.close(promise: nil) }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    private let received: (RawSpan, TransportAddress) -> Void

    init(_ received: @escaping (RawSpan, TransportAddress) -> Void) { self.received = received }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let envelope = unwrapInboundIn(data)
      guard let sender = TransportAddress(envelope.remoteAddress) else { return }
      received(envelope.data.readableBytesSpan, sender)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}
