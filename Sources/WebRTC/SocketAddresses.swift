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

// The structures are read and written by their layout (the kernel's, netinet/in.h) and not by their members: to
// which C module those belong depends on what else of SwiftNIO is imported, and the compiler asks for it by name.
extension TransportAddress {
  private static let (portOffset, ipv4Offset, ipv6Offset, scopeOffset) = (2, 4, 8, 24)

  /// The address in C's form.
  init(_ address: sockaddr_in) {
    self = withUnsafeBytes(of: address) { bytes in
      let bits = bytes.loadUnaligned(fromByteOffset: Self.ipv4Offset, as: UInt32.self)
      let port = bytes.loadUnaligned(fromByteOffset: Self.portOffset, as: UInt16.self)
      return Self(ip: IPAddress(ipv4: UInt32(bigEndian: bits)), port: UInt16(bigEndian: port))
    }
  }

  /// The address in C's form; the scope is kept for link-local addresses only (RFC 4007).
  init(_ address: sockaddr_in6) {
    self = withUnsafeBytes(of: address) { bytes in
      func load<Word: FixedWidthInteger & BitwiseCopyable>(_ type: Word.Type, at offset: Int) -> Word {
        bytes.loadUnaligned(fromByteOffset: offset, as: type)
      }
      let high = UInt64(bigEndian: load(UInt64.self, at: Self.ipv6Offset))
      let low = UInt64(bigEndian: load(UInt64.self, at: Self.ipv6Offset + 8))
      let scopeID = high >> 54 == 0x3fa ? load(UInt32.self, at: Self.scopeOffset) : 0
      return Self(
        ip: IPAddress(ipv6High: high, low: low, scopeID: scopeID),
        port: UInt16(bigEndian: load(UInt16.self, at: Self.portOffset)))
    }
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
    Self.make(sockaddr_in.self, family: AF_INET, port: port) { bytes in
      bytes.storeBytes(of: ip.ipv4Bits.bigEndian, toByteOffset: Self.ipv4Offset, as: UInt32.self)
    }
  }

  private var ipv6SocketAddress: sockaddr_in6 {
    Self.make(sockaddr_in6.self, family: AF_INET6, port: port) { bytes in
      bytes.storeBytes(of: ip.high.bigEndian, toByteOffset: Self.ipv6Offset, as: UInt64.self)
      bytes.storeBytes(of: ip.low.bigEndian, toByteOffset: Self.ipv6Offset + 8, as: UInt64.self)
      bytes.storeBytes(of: ip.scopeID, toByteOffset: Self.scopeOffset, as: UInt32.self)
    }
  }

  /// A structure with family and port in it, all else 0 but what `fill` writes.
  private static func make<Address>(
    _ type: Address.Type, family: CInt, port: UInt16, _ fill: (UnsafeMutableRawBufferPointer) -> Void
  ) -> Address {
    withUnsafeTemporaryAllocation(
      byteCount: MemoryLayout<Address>.size, alignment: MemoryLayout<Address>.alignment
    ) { bytes in
      _ = bytes.initializeMemory(as: UInt8.self, repeating: 0)
      bytes.storeBytes(of: sa_family_t(family), as: sa_family_t.self)
      bytes.storeBytes(of: port.bigEndian, toByteOffset: portOffset, as: UInt16.self)
      fill(bytes)
      return bytes.load(as: type)
    }
  }
}
