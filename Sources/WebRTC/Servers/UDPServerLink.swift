// SPDX-License-Identifier: Apache-2.0

import ICE
import NIOCore
import SansIO

/// Datagrams to a TURN server, over a socket of their own: the server tells allocations apart by our address and
/// port (RFC 8656 §2.2).
///
/// The socket is bound to the address that the kernel would send from. Datagrams of anyone but the server are
/// dropped.
final class UDPServerLink: ServerLink {
  private let id: ServerConnectionID
  private let server: TransportAddress
  private let environment: ServerLinkEnvironment
  private weak let delegate: (any ServerLinkDelegate)?
  private var socket: UDPSocket?

  init(
    _ connection: ServerConnection, in environment: ServerLinkEnvironment, delegate: any ServerLinkDelegate
  ) {
    id = connection.id
    server = connection.server
    self.environment = environment
    self.delegate = delegate
  }

  func open() {
    guard !server.ip.isUnspecified else {
      delegate?.link(id, failedBecause: "the server's address is not known, and a proxy takes no datagrams")
      return
    }
    do throws(NetworkError) {
      let kernel = try KernelSocket(
        binding: try KernelSocket.sourceAddress(toward: server), port: 0,
        bufferByteCount: environment.kernelBufferByteCount)
      let local = LocalSocket(id: 0, address: kernel.address)
      guard Route(sendingFrom: local, to: server) != nil else {
        delegate?.link(id, failedBecause: "nothing may be sent to \(server)")
        return
      }
      let socket = UDPSocket(
        id: local.id, kernel: kernel, eventLoop: environment.eventLoop,
        forbidden: environment.forbidden,
        sendsOffloaded: environment.sendsOffloaded, delegate: self)
      self.socket = socket
      socket.open()
      delegate?.link(id, openedFrom: local.address)
    } catch {
      delegate?.link(id, failedBecause: error.description)
    }
  }

  func send(_ burst: ByteBuffer, segmentByteCount: Int, mayDrop: Bool, at now: Instant) {
    guard let socket else { return }
    let transmit = Transmit(
      route: Route(receivedOn: socket.local, from: server), segmentByteCount: segmentByteCount)
    socket.send(burst, as: transmit, at: now)
  }

  func flush() { socket?.flush() }

  func close() {
    socket?.flush()
    socket?.shutdown()
    socket = nil
  }
}

extension UDPServerLink: UDPSocketDelegate {
  func socket(
    _ socket: UDPSocket, received datagrams: RawSpan, segmentByteCount: Int, from remote: TransportAddress
  ) {
    guard let delegate else { return }
    guard remote == server else { return delegate.link(id, dropped: .unknownAddress) }
    guard segmentByteCount > 0 else { return delegate.link(id, dropped: .emptyDatagram) }
    var start = 0
    while start < datagrams.byteCount {
      let end = min(start + segmentByteCount, datagrams.byteCount)
      delegate.link(id, received: datagrams.extracting(start..<end))
      start = end
    }
  }

  func socketReceivedAll(_ socket: UDPSocket) { delegate?.linkReceivedAll(id) }

  func socket(_ socket: UDPSocket, dropped cause: NetworkDropCause) { delegate?.link(id, dropped: cause) }

  /// The socket makes itself another channel; what was lost is repeated like any lost datagram.
  func socket(_ socket: UDPSocket, lostChannel reason: String) {}
}
