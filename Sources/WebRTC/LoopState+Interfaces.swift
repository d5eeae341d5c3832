// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import SansIO

/// How a loop follows the host's addresses.
extension LoopState {
  /// Takes the kernel's sockets into the loop, shared by all connections that want no sockets of their own,
  /// and begins to follow the host's interfaces.
  func open(_ kernelSockets: [KernelSocket], options: HostSockets.Options, interfaces: [NetworkInterface]) {
    hostSockets.openShared(kernelSockets, options: options, interfaces: interfaces)
    sharedSocketsChanged(opened: hostSockets.shared, gone: [], at: NetworkClock.now)
    interfaceMonitor.start()
  }

  /// The host's interfaces or addresses changed: sockets follow them, and connections hear of it.
  ///
  /// A socket whose address is gone is taken from every connection; one that loses its selected path by that
  /// asks for a restart. New addresses become candidates, for running connections as well.
  func interfacesChanged() {
    guard !isShutDown else { return }
    let now = NetworkClock.now
    let changes = hostSockets.refresh(interfaces: NetworkInterfaces.current(), at: now)
    if let nextLook = changes.nextLook {
      interfaceMonitor.reportLater(in: .nanoseconds((nextLook - now).nanoseconds))
    }
    guard !changes.opened.isEmpty || !changes.gone.isEmpty else { return }
    for peer in peers.compactMap({ $0 }) {
      if peer.sharesSockets {
        withdraw(changes.gone, from: peer, at: now)
        announce(changes.opened, to: peer, at: now)
      } else {
        replaceOwnSockets(of: peer, after: changes, at: now)
      }
      markDirty(peer)
    }
    sharedSocketsChanged(opened: changes.opened, gone: changes.gone, at: now)
    close(changes.gone)
    names.linksChanged()
    endTurn(at: now)
  }

  /// Gives a connection these sockets as candidates, with the addresses under which they are reachable.
  func announce(_ sockets: [UDPSocket], to peer: PeerDriver, at now: Instant) {
    for socket in sockets {
      peer.core.addLocalSocket(socket.local, at: now)
      for mapped in advertised.mappedAddresses(of: socket.local) {
        peer.core.addServerReflexiveAddress(mapped, base: socket.local, at: now)
      }
    }
  }

  /// Opens sockets for one connection alone on these addresses.
  func openOwnSockets(on addresses: [IPAddress], for peer: PeerDriver) -> [UDPSocket] {
    do throws(NetworkError) {
      let sockets = try hostSockets.openOwn(on: addresses)
      peer.ownSockets += sockets
      askForAddresses(of: sockets, at: NetworkClock.now)
      return sockets
    } catch {
      logger.warning("a connection gets no UDP sockets", metadata: ["reason": "\(error)"])
      return []
    }
  }

  private func replaceOwnSockets(of peer: PeerDriver, after changes: HostSockets.Changes, at now: Instant) {
    let goneAddresses = changes.gone.map(\.local.address.ip)
    let gone = peer.ownSockets.filter { goneAddresses.contains($0.local.address.ip) }
    peer.ownSockets.removeAll { goneAddresses.contains($0.local.address.ip) }
    withdraw(gone, from: peer, at: now)
    close(gone)
    let opened = openOwnSockets(on: changes.opened.map(\.local.address.ip), for: peer)
    announce(opened, to: peer, at: now)
  }

  private func withdraw(_ sockets: [UDPSocket], from peer: PeerDriver, at now: Instant) {
    for socket in sockets { peer.core.removeLocalSocket(id: socket.local.id, at: now) }
  }

  /// Closes sockets and forgets what was reached by them: their numbers will be given out again.
  func close(_ sockets: [UDPSocket]) {
    for socket in sockets { removeRoutes(ofSocket: socket.local.id) }
    forgetAddresses(of: sockets, at: NetworkClock.now)
    hostSockets.close(sockets)
  }

  /// Shared sockets came or went; those that are gone are still open. Whoever gathers candidates on the shared
  /// sockets learns of it here.
  private func sharedSocketsChanged(opened: [UDPSocket], gone: [UDPSocket], at now: Instant) {
    addressesChanged(hostSockets.shared.map(\.local.address))
    servers.forbidden = hostSockets.forbidden
    forgetAddresses(of: gone, at: now)
    askForAddresses(of: opened, at: now)
  }
}
