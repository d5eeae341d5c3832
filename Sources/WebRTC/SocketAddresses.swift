// SPDX-License-Identifier: Apache-2.0

import NIOCore
import SansIO

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension IPAddress {
  /// The address in a C socket address of either family; `nil` for others.
  init?(_ pointer: UnsafeMutablePointer<sockaddr>?) {
    guard let pointer else { return nil }
    switch CInt(pointer.pointee.sa_family) {
    case AF_INET:
      self = pointer.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { TransportAddress($0.pointee).ip }
    case AF_INET6:
      self = pointer.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { TransportAddress($0.pointee).ip }
    default:
      return nil
    }
  }
}

extension TransportAddress {
  /// The address in C's form.
  init(_ address: sockaddr_in) {
    self.init(
      ip: IPAddress(ipv4: UInt32(bigEndian: address.sin_addr.s_addr)),
      port: UInt16(bigEndian: address.sin_port))
  }

  /// The address in C's form; the scope is kept for link-local addresses only (RFC 4007).
  init(_ address: sockaddr_in6) {
    let (high, low) = withUnsafeBytes(of: address.sin6_addr) { bytes in
      (
        UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
        UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
      )
    }
    let scopeID = high >> 54 == 0x3fa ? address.sin6_scope_id : 0
    self.init(
      ip: IPAddress(ipv6High: high, low: low, scopeID: scopeID), port: UInt16(bigEndian: address.sin6_port))
  }

  /// The address of a received datagram; `nil` for families that we do not speak.
  init?(_ address: SocketAddress) {
    switch address {
    case .v4(let address): self.init(address.address)
    case .v6(let address): self.init(address.address)
    case .unixDomainSocket: return nil
    }
  }

  /// The address in NIO's form.
  var socketAddress: SocketAddress {
    ip.family == .ipv4 ? SocketAddress(ipv4SocketAddress) : SocketAddress(ipv6SocketAddress)
  }

  /// Lends the address in C's form.
  func withSocketAddress<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    func lend<Family>(_ address: Family) -> Result {
      withUnsafePointer(to: address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          body($0, socklen_t(MemoryLayout<Family>.size))
        }
      }
    }
    return ip.family == .ipv4 ? lend(ipv4SocketAddress) : lend(ipv6SocketAddress)
  }

  private var ipv4SocketAddress: sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = ip.ipv4Bits.bigEndian
    return address
  }

  private var ipv6SocketAddress: sockaddr_in6 {
    var address = sockaddr_in6()
    address.sin6_family = sa_family_t(AF_INET6)
    address.sin6_port = port.bigEndian
    address.sin6_scope_id = ip.scopeID
    withUnsafeMutableBytes(of: &address.sin6_addr) { bytes in
      bytes.storeBytes(of: ip.high.bigEndian, as: UInt64.self)
      bytes.storeBytes(of: ip.low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
    return address
  }
}
