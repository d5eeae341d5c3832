// SPDX-License-Identifier: Apache-2.0

import ICE
import Logging
import NIOCore
import SansIO

/// What STUN and TURN servers add to a loop's connections: addresses that others see, and relays.
///
/// Reflexive addresses belong to sockets. Those of shared sockets go to every connection that shares them, also to
/// those to come; sockets of a single connection are asked about as well, as far as the gatherer has room for them
/// (``RelayLimits``). Relays belong to one connection each.
extension LoopState {
  /// Takes the servers to be used from now on; connections that had none to ask get theirs.
  ///
  /// With relays alone STUN servers are left out: they would learn the host's addresses for nothing.
  func update(servers: [ICEServer], at now: Instant) {
    guard !isShutDown else { return }
    self.servers.update(
      servers: iceTransportPolicy == .all ? servers : servers.compactMap(\.relaying), at: now)
    guard self.servers.isInUse else { return }
    for number in peers.indices where peers[number] != nil { self.servers.requestRelay(for: number, at: now) }
  }

  /// Gathers for a connection that has just joined.
  func gather(for peer: PeerDriver, at now: Instant) {
    guard servers.isInUse else { return peer.core.setEndOfLocalCandidates(at: now) }
    if peer.sharesSockets {
      for socket in hostSockets.shared {
        for mapped in reflexiveAddresses[socket.local.id] ?? [] {
          peer.core.addServerReflexiveAddress(mapped, base: socket.local, at: now)
        }
      }
    }
    servers.requestRelay(for: peer.number, at: now)
  }

  /// Has the addresses of sockets asked for; that they are there also tells that the host has a network.
  func askForAddresses(of sockets: [UDPSocket], at now: Instant) {
    for socket in sockets { servers.addSocket(socket.local, at: now) }
  }

  /// Forgets what servers said about sockets that are gone.
  func forgetAddresses(of sockets: [UDPSocket], at now: Instant) {
    for socket in sockets {
      servers.removeSocket(id: socket.local.id, at: now)
      reflexiveAddresses[socket.local.id] = nil
    }
  }

  private func note(_ mapped: TransportAddress, of base: LocalSocket, at now: Instant) {
    if hostSockets.shared.contains(where: { $0.local == base }) {
      var known = reflexiveAddresses[base.id] ?? []
      known.removeAll { $0 == mapped }
      known.append(mapped)
      reflexiveAddresses[base.id] = known.suffix(Self.reflexiveAddressesPerSocketMax)
    }
    for peer in peers.compactMap(\.self) {
      let sockets = peer.sharesSockets ? hostSockets.shared : peer.ownSockets
      guard sockets.contains(where: { $0.local == base }) else { continue }
      peer.core.addServerReflexiveAddress(mapped, base: base, at: now)
      markDirty(peer)
    }
  }

  private func peer(_ owner: Int) -> PeerDriver? { peers.indices.contains(owner) ? peers[owner] : nil }
}

extension LoopState: GathererDriverDelegate {
  func gathered(_ event: CandidateGatherer.Event, at now: Instant) {
    switch event {
    case .serverReflexive(let base, let mapped): note(mapped, of: base, at: now)
    case .relayed(let socket, let mapped, let transport, let owner):
      guard let peer = peer(owner) else { return }
      peer.core.addRelay(socket, mapped: mapped, over: transport, at: now)
      markDirty(peer)
    case .relayLost(let id, let owner, let reason):
      logger.info("a relay was lost", metadata: ["reason": "\(reason)"])
      guard let peer = peer(owner) else { return }
      peer.core.removeLocalSocket(id: id, at: now)
      markDirty(peer)
    case .gatheringComplete(let owner):
      guard let peer = peer(owner) else { return }
      peer.core.setEndOfLocalCandidates(at: now)
      markDirty(peer)
    case .serverFailed(let url, let reason):
      logger.warning("a server cannot be used", metadata: ["url": "\(url)", "reason": "\(reason)"])
    }
  }

  func received(_ datagram: RawSpan, on route: Route, for owner: Int, at now: Instant) {
    datagramsReceived += 1
    guard let peer = peer(owner) else { return }
    // The relay is the peer's own: what comes through it proves nothing about addresses of shared sockets.
    _ = peer.receive(datagram, on: route, mayProveRoute: false, at: now)
    markDirty(peer)
  }

  func send(_ message: ByteBuffer, from route: Route, at now: Instant) {
    hostSockets[route.socket.id]?.send(
      message, as: Transmit(route: route, segmentByteCount: message.readableBytes), at: now)
  }

  func connectionReceivedAll() { endTurn(at: NetworkClock.now) }

  func needsTurn() { scheduleTurn() }

  func dropped(_ cause: NetworkDropCause) { drop(cause, at: NetworkClock.now) }
}

extension ICEServer {
  /// The TURN servers of the entry, if there are any.
  fileprivate var relaying: ICEServer? {
    var server = self
    server.urls.removeAll { $0.service != .turn }
    return server.urls.isEmpty ? nil : server
  }
}
