// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO

/// Which of a loop's peers does a datagram belong to?
///
/// All peers of a loop share its sockets. STUN requests name the peer by our user name fragment (RFC 8445
/// §7.3), STUN responses by the first four bytes of the transaction id, which every peer has of its own;
/// everything else goes by the address that it came from, once that address has proved itself to a peer's ICE
/// agent. The peer that authenticated an address last owns it. A plain value: no socket, no clock.
struct SocketTable {
  /// Addresses that one peer may own: a path for each pair of a check list that changes under way, with room
  /// for NAT rebinding. Beyond it the peer's oldest address is forgotten.
  static let routesPerPeerMax = 32
  /// User name fragments of one peer: the present one, the one that a restart has replaced but whose path still
  /// carries data, and one that another restart is about to bring.
  static let usernameFragmentsPerPeerMax = 3

  /// Where a datagram goes.
  enum Destination: Equatable {
    /// To this peer; a STUN message may prove the address (``SocketTable/attach(_:to:)``).
    case peer(Int, mayProveRoute: Bool)
    /// Nowhere.
    case dropped(NetworkDropCause)
  }

  /// The socket's number and the remote address: half of a route, and half the work of hashing it.
  private struct RouteKey: Hashable {
    let socketID: UInt32
    let remote: TransportAddress
    init(_ route: Route) {
      socketID = route.socket.id
      remote = route.remote
    }
  }

  private struct Peer {
    var usernameFragments: [String]
    let transactionPrefix: UInt32
    /// Oldest first.
    var routes: [RouteKey] = []
  }

  private var peers: [Int: Peer] = [:]
  private var peerByUsernameFragment: [String: Int] = [:]
  private var peerByTransactionPrefix: [UInt32: Int] = [:]
  private var peerByRoute: [RouteKey: Int] = [:]

  /// How many peers are registered.
  var peerCount: Int { peers.count }
  /// How many addresses are owned by peers.
  var routeCount: Int { peerByRoute.count }

  /// Registers a peer.
  ///
  /// - Returns: false, and nothing changes, when the fragment or the prefix belongs to another peer.
  mutating func add(peer: Int, usernameFragment: String, transactionPrefix: UInt32) -> Bool {
    precondition(peers[peer] == nil, "the peer is registered already")
    guard peerByUsernameFragment[usernameFragment] == nil, peerByTransactionPrefix[transactionPrefix] == nil
    else { return false }
    peers[peer] = Peer(usernameFragments: [usernameFragment], transactionPrefix: transactionPrefix)
    peerByUsernameFragment[usernameFragment] = peer
    peerByTransactionPrefix[transactionPrefix] = peer
    return true
  }

  /// Registers the user name fragments that a peer has now, and forgets those that it had and has no more. One that
  /// belongs to another peer stays there.
  mutating func setUsernameFragments(_ fragments: [String], of peer: Int) {
    guard var entry = peers[peer], entry.usernameFragments != fragments else { return }
    for former in entry.usernameFragments { peerByUsernameFragment[former] = nil }
    let free = fragments.filter { peerByUsernameFragment[$0] == nil }
    entry.usernameFragments = Array(free.suffix(Self.usernameFragmentsPerPeerMax))
    for fragment in entry.usernameFragments { peerByUsernameFragment[fragment] = peer }
    peers[peer] = entry
  }

  /// Forgets a peer and all that it owns.
  mutating func remove(peer: Int) {
    guard let entry = peers.removeValue(forKey: peer) else { return }
    for fragment in entry.usernameFragments { peerByUsernameFragment[fragment] = nil }
    peerByTransactionPrefix[entry.transactionPrefix] = nil
    for route in entry.routes where peerByRoute[route] == peer { peerByRoute[route] = nil }
  }

  /// Forgets all addresses that were reached by a socket: it is gone, and its number may be given out again.
  mutating func removeRoutes(ofSocket socketID: UInt32) {
    for (key, peer) in peerByRoute where key.socketID == socketID {
      peerByRoute[key] = nil
      peers[peer]?.routes.removeAll { $0 == key }
    }
  }

  /// Finds the peer of a datagram.
  func lookup(_ datagram: RawSpan, on route: Route) -> Destination {
    guard datagram.byteCount > 0 else { return .dropped(.emptyDatagram) }
    guard STUNPeek.isSTUN(datagram) else {
      guard let peer = peerByRoute[RouteKey(route)] else { return .dropped(.unknownAddress) }
      return .peer(peer, mayProveRoute: false)
    }
    guard let kind = STUNPeek.kind(of: datagram) else { return .dropped(.malformedSTUN) }
    if kind.isRequest {
      guard let fragment = STUNPeek.localUsernameFragment(ofRequest: datagram) else {
        return .dropped(.malformedSTUN)
      }
      guard let peer = peerByUsernameFragment[fragment] else { return .dropped(.unknownUsernameFragment) }
      return .peer(peer, mayProveRoute: true)
    }
    if let peer = peerByTransactionPrefix[kind.transactionPrefix] { return .peer(peer, mayProveRoute: true) }
    // Indications carry a transaction id of the peer's own making (RFC 8445 §11).
    guard let peer = peerByRoute[RouteKey(route)] else { return .dropped(.unknownTransaction) }
    return .peer(peer, mayProveRoute: false)
  }

  /// Gives an address to a peer whose ICE agent has authenticated it, taking it from another one if need be.
  mutating func attach(_ route: Route, to peer: Int) {
    let key = RouteKey(route)
    let owner = peerByRoute[key]
    guard owner != peer, var entry = peers[peer] else { return }
    if let owner { peers[owner]?.routes.removeAll { $0 == key } }
    if entry.routes.count == Self.routesPerPeerMax { peerByRoute[entry.routes.removeFirst()] = nil }
    entry.routes.append(key)
    peerByRoute[key] = peer
    peers[peer] = entry
  }
}

/// Why a network loop dropped a datagram before or after any peer saw it.
public enum NetworkDropCause: Int, CaseIterable, Sendable {
  /// Received: no bytes.
  case emptyDatagram
  /// Received: a STUN message without the parts that name a peer.
  case malformedSTUN
  /// Received: a STUN request for a user name fragment that is not ours (any more).
  case unknownUsernameFragment
  /// Received: a STUN response that nobody waits for.
  case unknownTransaction
  /// Received: from an address that has not proved itself to any peer.
  case unknownAddress
  /// Received: from an address that cannot be answered (port 0, another family).
  case unanswerableAddress
  /// To be sent: to an address that must not be sent to.
  case refusedDestination
  /// To be sent: the operating system has just refused this destination.
  case unreachableDestination
  /// To be sent: the socket's queue is full.
  case sendQueueFull
  /// To be sent: the socket is gone.
  case socketClosed
  /// To be sent: longer than what one datagram to a server under DTLS takes.
  case datagramTooLong
}
