// SPDX-License-Identifier: Apache-2.0

import ICE
import NIOCore
import SansIO

/// Names and TCP candidates of peers: what else a loop does to find a path.
extension LoopState {
  /// The links of the addresses in use: where `.local` names are asked for.
  var mdnsLinks: [MDNSLink] {
    MDNSLink.links(
      of: NetworkInterfaces.current(), using: hostSockets.shared.map(\.local.address.ip))
  }

  /// A `.local` name was found out, or given up.
  func nameResolved(_ answer: MDNSResolver.Answer, at now: Instant) {
    guard peers.indices.contains(answer.owner), let peer = peers[answer.owner] else { return }
    peer.core.resolved(name: answer.name, to: answer.addresses, at: now)
    drainLater(peer)
  }

  /// Has a connection drained in a turn of its own: whoever calls may be in the middle of one.
  private func drainLater(_ peer: PeerDriver) {
    markDirty(peer)
    scheduleTurn()
  }
}

extension LoopState: TCPConnectionsDelegate {
  func tcpConnected(to remote: TransportAddress, _ route: Route, of peer: PeerDriver) {
    peer.core.addTCPConnection(route.socket, to: remote, at: NetworkClock.now)
    drainLater(peer)
  }

  func tcpConnectionFailed(to remote: TransportAddress, of peer: PeerDriver) {
    peer.core.tcpConnectionFailed(to: remote, at: NetworkClock.now)
    drainLater(peer)
  }

  func tcpConnectionLost(_ route: Route, of peer: PeerDriver) {
    peer.core.removeLocalSocket(id: route.socket.id, at: NetworkClock.now)
    drainLater(peer)
  }

  func tcpReceived(_ packet: RawSpan, on route: Route, for peer: PeerDriver) {
    // The connection is the peer's own: its packets prove nothing about addresses of shared sockets.
    _ = peer.receive(packet, on: route, mayProveRoute: false, at: NetworkClock.now)
    markDirty(peer)
  }

  func tcpReceivedAll() { endTurn(at: NetworkClock.now) }

  func tcpDropped(_ cause: NetworkDropCause) { drop(cause, at: NetworkClock.now) }
}
