// SPDX-License-Identifier: Apache-2.0

import SansIO

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A bound UDP socket of the kernel that outlives the channels working on it.
///
/// SwiftNIO closes a datagram channel at most send errors. Each channel therefore gets a duplicate of this
/// descriptor: closing the duplicate leaves the port bound, and what arrives meanwhile waits in the kernel.
final class KernelSocket {
  /// The address and the port that it is bound to.
  let address: TransportAddress
  private let descriptor: CInt

  /// Opens a socket of `ip`'s family and binds it; port 0 lets the kernel choose.
  ///
  /// - Parameter bufferByteCount: what the kernel is asked to buffer in each direction; it may grant less.
  convenience init(binding ip: IPAddress, port: UInt16, bufferByteCount: Int) throws(NetworkError) {
    try self.init(binding: ip, candidates: CollectionOfOne(port), bufferByteCount: bufferByteCount)
  }

  /// Opens a socket of `ip`'s family and binds it to the first free port of a range, looking from `first` on
  /// and around; without a range the kernel chooses.
  ///
  /// - Throws: ``NetworkError/noFreePort(address:ports:)`` when all are taken, and
  ///   ``NetworkError/socket(operation:address:code:)``.
  convenience init(
    binding ip: IPAddress, ports: ClosedRange<UInt16>?, from first: UInt16 = 0, bufferByteCount: Int
  ) throws(NetworkError) {
    guard let ports else {
      try self.init(binding: ip, port: 0, bufferByteCount: bufferByteCount)
      return
    }
    let start = ports.contains(first) ? first : ports.lowerBound
    let candidates = [start...ports.upperBound, ports.lowerBound...start].joined()
    do throws(NetworkError) {
      try self.init(binding: ip, candidates: candidates, bufferByteCount: bufferByteCount)
    } catch {
      guard case .socket(operation: "bind", _, code: EADDRINUSE) = error else { throw error }
      throw .noFreePort(address: ip.description, ports: ports)
    }
  }

  private init(
    binding ip: IPAddress, candidates: some Sequence<UInt16>, bufferByteCount: Int
  ) throws(NetworkError) {
    var wanted = TransportAddress(ip: ip, port: 0)
    func failure(_ operation: String) -> NetworkError {
      .socket(operation: operation, address: wanted.description, code: errno)
    }
    let family = ip.family == .ipv4 ? AF_INET : AF_INET6
    let type = CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
    let descriptor = socket(family, type, 0)
    guard descriptor >= 0 else { throw failure("socket") }
    self.descriptor = descriptor
    var isUsable = false
    defer { if !isUsable { close(descriptor) } }
    if ip.family == .ipv6 {
      guard Self.set(CInt(IPPROTO_IPV6), IPV6_V6ONLY, to: 1, on: descriptor) else {
        throw failure("setsockopt(IPV6_V6ONLY)")
      }
    }
    // Best effort: the kernel clamps to rmem_max and wmem_max.
    _ = Self.set(SOL_SOCKET, SO_RCVBUF, to: CInt(clamping: bufferByteCount), on: descriptor)
    _ = Self.set(SOL_SOCKET, SO_SNDBUF, to: CInt(clamping: bufferByteCount), on: descriptor)
    var isBound = false
    for port in candidates {
      wanted.port = port
      isBound = wanted.withSocketAddress { bind(descriptor, $0, $1) } == 0
      if isBound || errno != EADDRINUSE { break }
    }
    guard isBound else { throw failure("bind") }
    guard let address = Self.localAddress(of: descriptor) else { throw failure("getsockname") }
    self.address = TransportAddress(ip: ip, port: address.port)
    isUsable = true
  }

  deinit { close(descriptor) }

  /// The address that the kernel sends from to reach a destination. Nothing is sent.
  static func sourceAddress(toward remote: TransportAddress) throws(NetworkError) -> IPAddress {
    func failure(_ operation: String) -> NetworkError {
      .socket(operation: operation, address: remote.description, code: errno)
    }
    let family = remote.ip.family == .ipv4 ? AF_INET : AF_INET6
    let probe = socket(family, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    guard probe >= 0 else { throw failure("socket") }
    defer { close(probe) }
    // Connecting a datagram socket looks up the route, and no more.
    guard remote.withSocketAddress({ connect(probe, $0, $1) }) == 0 else { throw failure("connect") }
    guard let local = localAddress(of: probe), !local.ip.isUnspecified else { throw failure("getsockname") }
    return local.ip
  }

  /// Another descriptor of the same socket, owned by the caller.
  func duplicate() throws(NetworkError) -> CInt {
    let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
    guard copy >= 0 else { throw .socket(operation: "dup", address: address.description, code: errno) }
    return copy
  }

  private static func set(_ level: CInt, _ option: CInt, to value: CInt, on descriptor: CInt) -> Bool {
    var value = value
    return setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<CInt>.size)) == 0
  }

  private static func localAddress(of descriptor: CInt) -> TransportAddress? {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    return withUnsafeMutablePointer(to: &storage) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address -> TransportAddress? in
        guard getsockname(descriptor, address, &length) == 0 else { return nil }
        switch CInt(address.pointee.sa_family) {
        case AF_INET:
          return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { TransportAddress($0.pointee) }
        case AF_INET6:
          return address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
            TransportAddress($0.pointee)
          }
        default:
          return nil
        }
      }
    }
  }
}
