// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOPosix
import SansIO

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Looks up the names of servers with the system's resolver.
///
/// That one blocks for up to half a minute: it has threads of its own, which start with the first name, so that
/// nothing else waits behind it. Confined to the event loop.
final class HostNames {
  /// Names that are looked up at a time; others wait.
  static let lookupsMax = 2
  /// Addresses of one name that are looked at.
  static let addressesMax = 16

  private let eventLoop: any EventLoop
  private var threads: NIOThreadPool?

  init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

  /// Calls back with the addresses of a name in the order in which they should be tried (RFC 6724); with none
  /// where it has none, or where the resolver fails. Not after ``shutdown()``.
  func look(up host: String, _ body: @escaping ([IPAddress]) -> Void) {
    let threads = threads ?? NIOThreadPool(numberOfThreads: Self.lookupsMax)
    if self.threads == nil {
      threads.start()
      self.threads = threads
    }
    threads.runIfActive(eventLoop: eventLoop) { Self.addresses(of: host) }
      .assumeIsolated().whenComplete { [weak self] result in
        guard let self, self.threads != nil, case .success(let addresses) = result else { return }
        body(addresses)
      }
  }

  /// Asks for nothing more. A lookup that is under way ends by itself, unheard.
  func shutdown() {
    threads?.shutdownGracefully { _ in }
    threads = nil
  }

  private static func addresses(of host: String) -> [IPAddress] {
    var hints = addrinfo()
    hints.ai_socktype = CInt(SOCK_DGRAM.rawValue)
    var first: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, nil, &hints, &first) == 0 else { return [] }
    defer { freeaddrinfo(first) }
    var found: [IPAddress] = []
    var next = first
    while let entry = next, found.count < addressesMax {
      next = entry.pointee.ai_next
      if let address = IPAddress(entry.pointee.ai_addr), !found.contains(address) { found.append(address) }
    }
    return found
  }
}
