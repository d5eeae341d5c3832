// SPDX-License-Identifier: Apache-2.0

import NIOCore
import SansIO

/// The UDP sockets of a loop by their numbers: those on the host's addresses, shared by all connections, and
/// those that serve one connection alone.
///
/// It opens, closes and flushes them; what they carry is the business of their delegate. Confined to the event
/// loop.
final class HostSockets {
  /// How sockets are made.
  struct Options: Sendable {
    /// Addresses that are never sent to.
    var forbidden: Set<IPAddress> = []
    var sendsOffloaded = true
    var kernelBufferByteCount = 0
  }

  /// The sockets that all connections share, which have no sockets of their own.
  private(set) var shared: [UDPSocket] = []

  private let eventLoop: any EventLoop
  private unowned let delegate: any UDPSocketDelegate
  private var options = Options()
  /// By number; the numbers of closed sockets are given out again.
  private var sockets: [UDPSocket?] = []
  /// Rebuilds of sockets that are gone.
  private var pastRebuilds = 0

  /// Starts without sockets; the delegate owns this object.
  init(eventLoop: any EventLoop, delegate: any UDPSocketDelegate) {
    self.eventLoop = eventLoop
    self.delegate = delegate
  }

  /// The open socket of this number.
  subscript(id: UInt32) -> UDPSocket? { id < sockets.count ? sockets[Int(id)] : nil }

  /// How often any socket's channel was made again.
  var rebuildCount: Int { sockets.reduce(pastRebuilds) { $0 + ($1?.rebuildCount ?? 0) } }

  /// Takes bound kernel sockets into the loop as the shared ones.
  func openShared(_ kernelSockets: [KernelSocket], options: Options) {
    self.options = options
    shared = kernelSockets.map(open)
  }

  /// Opens sockets for one connection alone, on the addresses of the shared ones.
  func openOwn() -> [UDPSocket] {
    shared.compactMap { shared -> UDPSocket? in
      guard
        let kernel = try? KernelSocket(
          binding: shared.local.address.ip, port: 0, bufferByteCount: options.kernelBufferByteCount)
      else { return nil }
      return open(kernel)
    }
  }

  private func open(_ kernel: KernelSocket) -> UDPSocket {
    let number = sockets.firstIndex { $0 == nil } ?? sockets.count
    let socket = UDPSocket(
      id: UInt32(number), kernel: kernel, eventLoop: eventLoop, forbidden: options.forbidden,
      sendsOffloaded: options.sendsOffloaded, delegate: delegate)
    if number == sockets.count { sockets.append(socket) } else { sockets[number] = socket }
    socket.open()
    return socket
  }

  /// Sends what was queued on any socket since the last flush.
  func flush() {
    for socket in sockets { socket?.flush() }
  }

  /// Sends what waits on these sockets and closes them for good.
  func close(_ closing: [UDPSocket]) {
    for socket in closing {
      socket.flush()
      pastRebuilds += socket.rebuildCount
      socket.shutdown()
      sockets[Int(socket.local.id)] = nil
    }
  }

  /// Closes all sockets.
  func closeAll() {
    close(sockets.compactMap { $0 })
    sockets = []
    shared = []
  }
}
