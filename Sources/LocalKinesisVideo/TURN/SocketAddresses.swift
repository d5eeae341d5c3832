// SPDX-License-Identifier: Apache-2.0

import NIOCore
import SansIO

#if canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Socket addresses in the system's form, read and written as the bytes that they are:
///
///     sockaddr_in   family (2), port (2), address (4), 8 bytes of nothing
///     sockaddr_in6  family (2), port (2), flow (4), address (16), scope (4)
extension TransportAddress {
  private static let (ipv4ByteCount, ipv6ByteCount) = (16, 28)
  private static let (ipv4AddressOffset, ipv6AddressOffset, scopeOffset) = (4, 8, 24)
  /// Where the port is, in both families.
  static let socketPortOffset = 2
  /// What both families fit in.
  static let socketByteCountMax = ipv6ByteCount

  /// The address of a socket. An IPv4 address that an IPv6 socket shows in IPv6 clothes is taken out of them;
  /// `nil` for families that we do not speak.
  init?(_ address: SocketAddress?) {
    let parsed = address?.withSockAddr { pointer, byteCount in
      TransportAddress(UnsafeRawBufferPointer(start: pointer, count: byteCount))
    }
    guard let parsed = parsed ?? nil else { return nil }
    self = parsed
  }

  private init?(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count >= Self.ipv4ByteCount else { return nil }
    let port = UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: Self.socketPortOffset, as: UInt16.self))
    switch CInt(bytes.loadUnaligned(as: sa_family_t.self)) {
    case AF_INET:
      let bits = bytes.loadUnaligned(fromByteOffset: Self.ipv4AddressOffset, as: UInt32.self)
      self.init(ip: IPAddress(ipv4: UInt32(bigEndian: bits)), port: port)
    case AF_INET6 where bytes.count >= Self.ipv6ByteCount:
      let high = bytes.loadUnaligned(fromByteOffset: Self.ipv6AddressOffset, as: UInt64.self)
      let low = bytes.loadUnaligned(fromByteOffset: Self.ipv6AddressOffset + 8, as: UInt64.self)
      let scope = bytes.loadUnaligned(fromByteOffset: Self.scopeOffset, as: UInt32.self)
      var ip = IPAddress(ipv6High: UInt64(bigEndian: high), low: UInt64(bigEndian: low))
      if ip.isIPv4Mapped {
        ip = IPAddress(ipv4: UInt32(truncatingIfNeeded: ip.low))
      } else if ip.isLinkLocal {
        ip = IPAddress(ipv6High: ip.high, low: ip.low, scopeID: scope)
      }
      self.init(ip: ip, port: port)
    default: return nil
    }
  }

  /// Lends the address in the system's form.
  func withSocketAddress<Result>(_ body: (UnsafePointer<sockaddr>?, socklen_t) -> Result) -> Result {
    let isIPv4 = ip.family == .ipv4
    let byteCount = isIPv4 ? Self.ipv4ByteCount : Self.ipv6ByteCount
    return withUnsafeTemporaryAllocation(byteCount: byteCount, alignment: 8) { bytes in
      bytes.initializeMemory(as: UInt8.self, repeating: 0)
      bytes.storeBytes(of: sa_family_t(isIPv4 ? AF_INET : AF_INET6), as: sa_family_t.self)
      bytes.storeBytes(of: port.bigEndian, toByteOffset: Self.socketPortOffset, as: UInt16.self)
      if isIPv4 {
        bytes.storeBytes(of: ip.ipv4Bits.bigEndian, toByteOffset: Self.ipv4AddressOffset, as: UInt32.self)
      } else {
        bytes.storeBytes(of: ip.high.bigEndian, toByteOffset: Self.ipv6AddressOffset, as: UInt64.self)
        bytes.storeBytes(of: ip.low.bigEndian, toByteOffset: Self.ipv6AddressOffset + 8, as: UInt64.self)
        bytes.storeBytes(of: ip.scopeID, toByteOffset: Self.scopeOffset, as: UInt32.self)
      }
      return body(
        UnsafePointer(bytes.bindMemory(to: sockaddr.self).baseAddress), socklen_t(byteCount))
    }
  }
}
