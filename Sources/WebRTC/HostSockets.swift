// SPDX-License-Identifier: Apache-2.0

import NIOCore
import SansIO

/// The UDP sockets of a loop by their numbers: those on the host's addresses, shared by all connections, and
/// those that serve one connection alone.
///
/// It opens, closes and flushes them, and follows the host's addresses as they come and go; what the sockets
/// carry is the business of their delegate. Confined to the event loop.
final class HostSockets {
  /// Which sockets are made, and how.
  struct Options: Sendable {
    /// The addresses to bind, `nil` for those of the host's interfaces.
    var addresses: [IPAddress]?
    var includesLoopback = false
    /// The ports to bind, `nil` for those that the kernel chooses.
    var ports: ClosedRange<UInt16>?
    var sendsOffloaded = true
    var kernelBufferByteCount = 0
  }

  /// What a look at the host's addresses led to.
  struct Changes {
    /// Shared sockets that were opened.
    var opened: [UDPSocket] = []
    /// Shared sockets whose addresses are gone. They are to be closed once nobody uses them.
    var gone: [UDPSocket] = []
    /// When to look again, if an address is missing that may come back.
    var nextLook: Instant?
  }

  /// The sockets that all connections share, which have no sockets of their own.
  private(set) var shared: [UDPSocket] = []

  private let eventLoop: any EventLoop
  private unowned let delegate: any UDPSocketDelegate
  private var options = Options()
  private var tracker = AddressTracker()
  /// Broadcast addresses of the host's networks.
  private(set) var forbidden: Set<IPAddress> = []
  /// Where in the range of ports the next socket of a single connection begins to look.
  private var nextPort: UInt16 = 0
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

  // MARK: The host's addresses

  /// Binds a kernel socket to each address that is to be used; can be called on any thread.
  ///
  /// An address that cannot be bound is left out (an interface may be about to go); when none is left the
  /// first error is thrown.
  static func bind(
    _ options: Options, interfaces: [NetworkInterface]
  ) throws(NetworkError) -> [KernelSocket] {
    var sockets: [KernelSocket] = []
    var firstError: NetworkError?
    for address in wantedAddresses(options, interfaces: interfaces) {
      do throws(NetworkError) {
        sockets.append(
          try KernelSocket(
            binding: address, ports: options.ports, bufferByteCount: options.kernelBufferByteCount))
      } catch { firstError = firstError ?? error }
    }
    guard !sockets.isEmpty else { throw firstError ?? .noUsableAddress }
    return sockets
  }

  private static func wantedAddresses(
    _ options: Options, interfaces: [NetworkInterface]
  ) -> [IPAddress] {
    options.addresses
      ?? NetworkInterfaces.usable(from: interfaces, includingLoopback: options.includesLoopback).map(
        \.address)
  }

  /// Takes bound kernel sockets into the loop as the shared ones.
  func openShared(_ kernelSockets: [KernelSocket], options: Options, interfaces: [NetworkInterface]) {
    self.options = options
    forbidden = Set(interfaces.compactMap(\.broadcastAddress))
    shared = kernelSockets.map(open)
  }

  /// Compares the shared sockets with the host's addresses: opens what is missing, and names what is gone.
  func refresh(interfaces: [NetworkInterface], at now: Instant) -> Changes {
    forbidden = Set(interfaces.compactMap(\.broadcastAddress))
    for socket in sockets { socket?.forbidden = forbidden }
    let bound = shared.map(\.local.address.ip)
    // Addresses that were named may be local without being listed (127.0.0.2): whether they can be bound
    // tells.
    let existing =
      options.addresses == nil
      ? Set(interfaces.map(\.address)) : Set(bound.filter(Self.canBeBound))
    let plan = tracker.plan(
      bound: bound, wanted: Self.wantedAddresses(options, interfaces: interfaces), existing: existing, at: now
    )
    var changes = Changes(nextLook: plan.nextLook)
    changes.gone = shared.filter { plan.toClose.contains($0.local.address.ip) }
    shared.removeAll { plan.toClose.contains($0.local.address.ip) }
    for address in plan.toOpen {
      // An address that cannot be bound yet (IPv6 looks for a duplicate first) is reported again by the kernel.
      guard
        let kernel = try? KernelSocket(
          binding: address, ports: options.ports, bufferByteCount: options.kernelBufferByteCount)
      else { continue }
      changes.opened.append(open(kernel))
    }
    shared += changes.opened
    return changes
  }

  private static func canBeBound(_ address: IPAddress) -> Bool {
    (try? KernelSocket(binding: address, port: 0, bufferByteCount: 0)) != nil
  }

  // MARK: Opening and closing

  /// Opens a socket for one connection alone on each of these addresses, as far as there are free ports.
  func openOwn(on addresses: [IPAddress]) throws(NetworkError) -> [UDPSocket] {
    var opened: [UDPSocket] = []
    var firstError: NetworkError?
    for address in addresses {
      do throws(NetworkError) {
        let kernel = try KernelSocket(
          binding: address, ports: options.ports, from: nextPort,
          bufferByteCount: options.kernelBufferByteCount)
        nextPort = kernel.address.port &+ 1
        opened.append(open(kernel))
      } catch { firstError = firstError ?? error }
    }
    if opened.isEmpty, let firstError { throw firstError }
    return opened
  }

  private func open(_ kernel: KernelSocket) -> UDPSocket {
    let number = sockets.firstIndex { $0 == nil } ?? sockets.count
    let socket = UDPSocket(
      id: UInt32(number), kernel: kernel, eventLoop: eventLoop, forbidden: forbidden,
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
