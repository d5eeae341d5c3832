// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The kernel's side of a ``MDNSSocket``: joining a group needs options that NIO has no names for.
enum MulticastDescriptor {
  /// Bytes that the kernel keeps for us: a few answers. What a noisy link sends beside them may be lost.
  static let receiveBufferByteCount: CInt = 64 << 10
  /// The hop limit of what we send, which receivers may check (RFC 6762 §11).
  static let hopLimit: CInt = 255

  /// A descriptor that is bound to the group and has joined it on one interface; the caller owns it.
  static func open(_ link: MDNSLink) throws(NetworkError) -> CInt {
    func failure(_ operation: String) -> NetworkError {
      .socket(operation: operation, address: "\(MDNSResolver.group(link.family))", code: errno)
    }
    // Without a number the kernel would choose an interface.
    let interfaceIndex = if_nametoindex(link.interfaceName)
    guard interfaceIndex != 0 else { throw failure("if_nametoindex") }
    let type = CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
    let descriptor = socket(link.family == .ipv4 ? AF_INET : AF_INET6, type, 0)
    guard descriptor >= 0 else { throw failure("socket") }
    var isReady = false
    defer { if !isReady { close(descriptor) } }
    // Others on this host use the port as well, and the system's resolver does already.
    guard set(SOL_SOCKET, SO_REUSEADDR, to: 1 as CInt, on: descriptor) else { throw failure("SO_REUSEADDR") }
    _ = set(SOL_SOCKET, SO_RCVBUF, to: receiveBufferByteCount, on: descriptor)
    let hasJoined =
      link.family == .ipv4
      ? joinIPv4(descriptor, from: link.address, interfaceIndex: interfaceIndex)
      : joinIPv6(descriptor, interfaceIndex: interfaceIndex)
    guard hasJoined else { throw failure("joining the group") }
    let status = group(of: link, interfaceIndex: interfaceIndex).withSocketAddress {
      bind(descriptor, $0, $1)
    }
    guard status == 0 else { throw failure("bind") }
    isReady = true
    return descriptor
  }

  /// The group's address on a link; IPv6 names the interface in it (RFC 4007).
  private static func group(of link: MDNSLink, interfaceIndex: UInt32) -> TransportAddress {
    var group = MDNSResolver.group(link.family)
    if link.family == .ipv6 {
      group.ip = IPAddress(ipv6High: group.ip.high, low: group.ip.low, scopeID: interfaceIndex)
    }
    return group
  }

  /// `ip_mreqn` of ip(7). Like its sibling it is written down once more, because Swift sees
  /// the system's in two modules at once when NIO is imported, and which of them counts is left to chance.
  private struct IPv4Membership {
    /// In network byte order, as the next one.
    var group: UInt32
    var localAddress: UInt32
    var interfaceIndex: UInt32
  }

  /// `ipv6_mreq` of ipv6(7).
  private struct IPv6Membership {
    /// Two halves in network byte order.
    var groupHigh: UInt64
    var groupLow: UInt64
    var interfaceIndex: UInt32
  }

  private static func joinIPv4(_ descriptor: CInt, from address: IPAddress, interfaceIndex: UInt32) -> Bool {
    let level = CInt(IPPROTO_IP)
    let membership = IPv4Membership(
      group: MDNSResolver.group(.ipv4).ip.ipv4Bits.bigEndian, localAddress: address.ipv4Bits.bigEndian,
      interfaceIndex: interfaceIndex)
    return set(level, IP_ADD_MEMBERSHIP, to: membership, on: descriptor)
      && set(level, IP_MULTICAST_IF, to: membership, on: descriptor)
      && set(level, IP_MULTICAST_TTL, to: hopLimit, on: descriptor)
      && set(level, IP_MULTICAST_LOOP, to: 1 as CInt, on: descriptor)
      // Not what arrives on interfaces that other sockets joined the group on.
      && set(level, IP_MULTICAST_ALL, to: 0 as CInt, on: descriptor)
  }

  private static func joinIPv6(_ descriptor: CInt, interfaceIndex: UInt32) -> Bool {
    let level = CInt(IPPROTO_IPV6)
    let group = MDNSResolver.group(.ipv6).ip
    let membership = IPv6Membership(
      groupHigh: group.high.bigEndian, groupLow: group.low.bigEndian, interfaceIndex: interfaceIndex)
    return set(level, IPV6_V6ONLY, to: 1 as CInt, on: descriptor)
      && set(level, IPV6_JOIN_GROUP, to: membership, on: descriptor)
      && set(level, IPV6_MULTICAST_IF, to: interfaceIndex, on: descriptor)
      && set(level, IPV6_MULTICAST_HOPS, to: hopLimit, on: descriptor)
      && set(level, IPV6_MULTICAST_LOOP, to: 1 as CInt, on: descriptor)
  }

  private static func set<Value>(
    _ level: CInt, _ option: CInt, to value: Value, on descriptor: CInt
  ) -> Bool {
    withUnsafePointer(to: value) { pointer in
      setsockopt(descriptor, level, option, pointer, socklen_t(MemoryLayout<Value>.size)) == 0
    }
  }
}
