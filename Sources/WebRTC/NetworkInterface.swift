// SPDX-License-Identifier: Apache-2.0

public import SansIO

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// One address of one network interface of this host.
public struct NetworkInterface: Hashable, Sendable {
  /// The interface's name, `eth0`.
  public let name: String
  /// The address.
  public let address: IPAddress
  /// The subnet's broadcast address (IPv4), which must not be sent to.
  public let broadcastAddress: IPAddress?

  /// Describes an address of an interface.
  public init(name: String, address: IPAddress, broadcastAddress: IPAddress? = nil) {
    self.name = name
    self.address = address
    self.broadcastAddress = broadcastAddress
  }
}

/// The host's interfaces and which of their addresses are worth a candidate (RFC 8445 §5.1.1.1).
public enum NetworkInterfaces {
  /// More addresses than this are not looked at: each costs a socket and a share of the check list.
  static let addressesMax = 32

  /// The addresses of all interfaces that are up and running.
  public static func current() -> [NetworkInterface] {
    var first: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&first) == 0 else { return [] }
    defer { freeifaddrs(first) }
    var found: [NetworkInterface] = []
    var next = first
    while let entry = next {
      next = entry.pointee.ifa_next
      let flags = entry.pointee.ifa_flags
      guard flags & UInt32(IFF_UP) != 0, flags & UInt32(IFF_RUNNING) != 0,
        let address = IPAddress(entry.pointee.ifa_addr)
      else { continue }
      let hasBroadcast = flags & UInt32(IFF_BROADCAST) != 0
      let broadcast = hasBroadcast ? IPAddress(entry.pointee.ifa_ifu.ifu_broadaddr) : nil
      found.append(
        NetworkInterface(
          name: String(cString: entry.pointee.ifa_name), address: address, broadcastAddress: broadcast))
    }
    return found
  }

  /// The addresses to gather host candidates on, IPv6 first (RFC 8421), each once.
  ///
  /// Loopback is left out unless there is nothing else or it is asked for; so are link-local IPv6 addresses
  /// unless there is nothing else.
  public static func usable(from all: [NetworkInterface], includingLoopback: Bool) -> [NetworkInterface] {
    var seen: Set<IPAddress> = []
    let candidates = all.filter { interface in
      let address = interface.address
      guard !address.isUnspecified, !address.isMulticastOrBroadcast, !address.isIPv4Mapped else {
        return false
      }
      return seen.insert(address).inserted
    }
    let loopback = candidates.filter(\.address.isLoopback)
    let linkLocal = candidates.filter { $0.address.family == .ipv6 && $0.address.isLinkLocal }
    let routable = candidates.filter {
      !$0.address.isLoopback && !($0.address.family == .ipv6 && $0.address.isLinkLocal)
    }
    var chosen = routable.isEmpty ? linkLocal : routable
    if includingLoopback || chosen.isEmpty { chosen += loopback }
    let sorted =
      chosen.filter { $0.address.family == .ipv6 } + chosen.filter { $0.address.family == .ipv4 }
    return Array(sorted.prefix(addressesMax))
  }
}
