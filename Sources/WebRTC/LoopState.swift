// SPDX-License-Identifier: Apache-2.0

import ICE
import Logging
import NIOCore
import SansIO
import WebRTCCore

/// What a network loop owns on its event loop: sockets, connections, their deadlines and the one timer.
///
/// Each input (a batch of datagrams, the timer, a call of an application) is one turn: connections that it
/// touched are drained, then every socket is flushed once. Confined to the event loop.
final class LoopState {
  /// Connections whose deadlines are handled in one turn; the others follow in the next.
  static let timeoutsPerTurnMax = 256
  /// The timer never runs more often than this, whatever the cores ask for.
  static let timerPauseMin = TimeDelta.microseconds(50)

  /// Before a turn that only goes on where the last one stopped. SwiftNIO does all that is ready before it looks at its
  /// sockets again: without a pause nothing would be read for as long as there is something to send.
  static let turnPause = TimeAmount.microseconds(10)

  /// Addresses that servers see one socket at which are remembered for connections to come: NATs in a row, and
  /// such that give each server another one.
  static let reflexiveAddressesPerSocketMax = 4

  private enum LogKind: Int, CaseIterable {
    case dropped
    case lostChannel
  }

  let eventLoop: any EventLoop
  let logger: Logger
  /// Where translators make the host reachable.
  let advertised: AdvertisedAddresses
  /// The UDP sockets of the host's addresses.
  private(set) lazy var hostSockets = HostSockets(eventLoop: eventLoop, delegate: self)
  /// By number.
  private(set) var peers: [PeerDriver?] = []
  private var freeNumbers: [Int] = []
  private var table = SocketTable()
  private var deadlines = DeadlineHeap()
  private var ring = BurstRing(burstByteCount: BurstRing.peerBurstByteCount)
  private var dirty: [PeerDriver] = []
  private var isTurnScheduled = false
  private var timer: (task: Scheduled<Void>, deadline: Instant)?
  private var log = RateLimitedLog<LogKind>()
  private(set) var isShutDown = false
  private let peerLeft: () -> Void
  /// Called with the addresses of the shared sockets when they changed.
  let addressesChanged: ([TransportAddress]) -> Void
  private(set) lazy var interfaceMonitor = InterfaceMonitor(eventLoop: eventLoop, logger: logger) {
    [weak self] in self?.interfacesChanged()
  }
  /// Finds the addresses behind the `.local` names of peers.
  private(set) lazy var names = NameResolution(
    eventLoop: eventLoop, logger: logger, links: { [weak self] in self?.mdnsLinks ?? [] },
    answered: { [weak self] answer, now in self?.nameResolved(answer, at: now) })
  /// The connections to TCP candidates of peers.
  private(set) lazy var tcpConnections = TCPConnections(eventLoop: eventLoop, delegate: self)
  /// Whether all candidates are used or relays alone.
  let iceTransportPolicy: ICETransportPolicy
  /// STUN and TURN servers.
  private(set) lazy var servers = GathererDriver(
    configuration: serverConfiguration, eventLoop: eventLoop, delegate: self)
  private let serverConfiguration: GathererDriver.Configuration
  /// Where servers see the shared sockets, by their numbers, oldest first.
  var reflexiveAddresses: [UInt32: [TransportAddress]] = [:]

  private(set) var drops = DropCounters<NetworkDropCause>()
  var datagramsReceived: UInt64 = 0
  private(set) var burstsSent: UInt64 = 0

  /// Makes an empty loop; `peerLeft` is called whenever a connection has left.
  init(
    eventLoop: any EventLoop, advertised: AdvertisedAddresses,
    iceTransportPolicy: ICETransportPolicy, servers: GathererDriver.Configuration, logger: Logger,
    peerLeft: @escaping () -> Void, addressesChanged: @escaping ([TransportAddress]) -> Void
  ) {
    self.eventLoop = eventLoop
    self.advertised = advertised
    self.iceTransportPolicy = iceTransportPolicy
    serverConfiguration = servers
    self.logger = logger
    self.peerLeft = peerLeft
    self.addressesChanged = addressesChanged
  }

  // MARK: Connections

  /// Takes in a connection: it gets the loop's sockets as candidates and datagrams from here on.
  func add(_ peer: PeerDriver, at now: Instant) {
    let number = freeNumbers.popLast() ?? peers.count
    let isRegistered = table.add(
      peer: number, usernameFragment: peer.core.localUsernameFragment,
      transactionPrefix: peer.core.transactionPrefix)
    guard isRegistered, peer.core.transactionPrefix != servers.transactionPrefix, !isShutDown else {
      if isRegistered { table.remove(peer: number) }
      freeNumbers.append(number)
      if number == peers.count { peers.append(nil) }
      peer.finish(in: self)
      return
    }
    if number == peers.count { peers.append(nil) }
    peers[number] = peer
    peer.number = number
    let sockets =
      peer.sharesSockets || iceTransportPolicy == .relay
      ? hostSockets.shared : openOwnSockets(on: hostSockets.shared.map(\.local.address.ip), for: peer)
    announce(sockets, to: peer, at: now)
    gather(for: peer, at: now)
    markDirty(peer)
  }

  /// Forgets a connection. Only ``PeerDriver/finish(in:)`` calls this.
  func remove(_ peer: PeerDriver) {
    peerLeft()
    guard peer.number >= 0 else { return }
    table.remove(peer: peer.number)
    deadlines.set(nil, for: peer.number)
    names.cancel(owner: peer.number)
    tcpConnections.closeAll(of: peer)
    servers.releaseRelays(of: peer.number, at: NetworkClock.now)
    close(peer.ownSockets)
    peer.ownSockets = []
    peers[peer.number] = nil
    freeNumbers.append(peer.number)
    peer.number = -1
  }

  /// Ends all connections and closes the sockets.
  func shutdown() {
    guard !isShutDown else { return }
    isShutDown = true
    let now = NetworkClock.now
    for peer in peers { peer?.close(in: self, at: now) }
    flush()
    interfaceMonitor.stop()
    names.shutdown()
    tcpConnections.closeAll()
    servers.shutdown(at: now)
    hostSockets.closeAll()
    timer?.task.cancel()
    timer = nil
    dirty = []
    // Until the servers have confirmed that the relays are given back.
    armTimer(at: now)
  }

  /// Notes the user name fragments of a connection, which an ICE restart changes.
  func noteUsernameFragments(of peer: PeerDriver) {
    guard peer.number >= 0 else { return }
    table.setUsernameFragments(peer.core.localUsernameFragments, of: peer.number)
  }

  /// Forgets which connections were reached by a socket.
  func removeRoutes(ofSocket id: UInt32) { table.removeRoutes(ofSocket: id) }

  // MARK: Turns

  /// Has a connection drained at the end of this turn.
  func markDirty(_ peer: PeerDriver) {
    guard !peer.isDirty, peer.number >= 0 else { return }
    peer.isDirty = true
    dirty.append(peer)
  }

  /// Drains what was touched, flushes every socket once and sets the timer.
  func endTurn(at now: Instant) {
    servers.service(at: now)
    var waiting: [PeerDriver] = []
    swap(&waiting, &dirty)
    for peer in waiting {
      peer.isDirty = false
      guard peer.number >= 0 else { continue }
      let hasMore = peer.drain(into: self, at: now)
      if peer.core.isClosed {
        peer.finish(in: self)
        continue
      }
      if hasMore { markDirty(peer) }
      deadlines.set(peer.core.nextDeadline, for: peer.number)
    }
    servers.service(at: now)
    flush()
    if dirty.isEmpty {
      // Keeps the array's memory for the next turn.
      waiting.removeAll(keepingCapacity: true)
      swap(&waiting, &dirty)
    } else {
      scheduleTurn(in: Self.turnPause)
    }
    armTimer(at: now)
  }

  /// Drains one connection within the turn: an application's call sees its effects when it returns.
  func drainNow(_ peer: PeerDriver, at now: Instant) {
    markDirty(peer)
    noteUsernameFragments(of: peer)
    _ = peer.drain(into: self, at: now)
  }

  /// Has ``endTurn(at:)`` called soon, or after a pause.
  func scheduleTurn(in pause: TimeAmount = .zero) {
    guard !isTurnScheduled else { return }
    isTurnScheduled = true
    let turn = {
      self.isTurnScheduled = false
      self.endTurn(at: NetworkClock.now)
    }
    if pause == .zero {
      eventLoop.assumeIsolated().execute(turn)
    } else {
      eventLoop.assumeIsolated().scheduleTask(in: pause, turn)
    }
  }

  /// Sends the next burst of a connection, if it has any.
  ///
  /// - Returns: how many datagrams it has.
  func sendBurst(of peer: PeerDriver, at now: Instant) -> Int {
    if ring.isExhausted { flush() }
    let filled = ring.fill { out in peer.core.pollTransmit(into: &out, at: now) }
    guard let (buffer, transmit) = filled else { return 0 }
    burstsSent += 1
    let id = transmit.route.socket.id
    if let socket = hostSockets[id] {
      socket.send(buffer, as: transmit, at: now)
    } else if TCPConnections.ids.contains(id) {
      tcpConnections.send(buffer, as: transmit)
    } else if id >= CandidateGatherer.firstRelaySocketID {
      servers.send(buffer, as: transmit, at: now)
    }
    return transmit.segmentCount
  }

  private func flush() {
    hostSockets.flush()
    tcpConnections.flush()
    servers.flush()
    ring.rewind()
  }

  // MARK: The timer

  private func armTimer(at now: Instant) {
    guard let next = Instant.earliest(deadlines.nextDeadline, servers.nextDeadline) else { return }
    // A task that fires too early costs one turn; replacing it each time would cost more.
    if let timer, timer.deadline <= next { return }
    timer?.task.cancel()
    let deadline = max(next, now + Self.timerPauseMin)
    let task = eventLoop.assumeIsolated().scheduleTask(deadline: NIODeadline(deadline)) {
      self.timerFired()
    }
    timer = (task, deadline)
  }

  private func timerFired() {
    timer = nil
    let now = NetworkClock.now
    servers.handleTimeout(at: now)
    var handled = 0
    while handled < Self.timeoutsPerTurnMax, let number = deadlines.popExpired(at: now) {
      handled += 1
      guard let peer = peers[number] else { continue }
      peer.core.handleTimeout(at: now)
      markDirty(peer)
    }
    endTurn(at: now)
  }
}

extension LoopState: UDPSocketDelegate {
  func socket(
    _ socket: UDPSocket, received datagrams: RawSpan, segmentByteCount: Int, from remote: TransportAddress
  ) {
    let now = NetworkClock.now
    let route = Route(receivedOn: socket.local, from: remote)
    guard remote.port != 0 else { return drop(.unanswerableAddress, at: now) }
    guard segmentByteCount > 0 else { return drop(.emptyDatagram, at: now) }
    var start = 0
    while start < datagrams.byteCount {
      let end = min(start + segmentByteCount, datagrams.byteCount)
      receive(datagrams.extracting(start..<end), on: route, at: now)
      start = end
    }
  }

  private func receive(_ datagram: RawSpan, on route: Route, at now: Instant) {
    datagramsReceived += 1
    if servers.isAnswer(datagram) { return servers.receive(datagram, on: route, at: now) }
    switch table.lookup(datagram, on: route) {
    case .dropped(let cause):
      drop(cause, at: now)
    case .peer(let number, let mayProveRoute):
      guard let peer = peers[number] else { return }
      if peer.receive(datagram, on: route, mayProveRoute: mayProveRoute, at: now) {
        table.attach(route, to: number)
      }
      markDirty(peer)
    }
  }

  func socketReceivedAll(_ socket: UDPSocket) { endTurn(at: NetworkClock.now) }

  func socket(_ socket: UDPSocket, dropped cause: NetworkDropCause) { drop(cause, at: NetworkClock.now) }

  func socket(_ socket: UDPSocket, lostChannel reason: String) {
    guard let count = log.admit(.lostChannel, at: NetworkClock.now) else { return }
    logger.warning(
      "a UDP socket has to be reopened",
      metadata: ["address": "\(socket.local.address)", "reason": "\(reason)", "times": "\(count)"])
  }

  func drop(_ cause: NetworkDropCause, at now: Instant) {
    drops[cause] += 1
    guard logger.logLevel <= .debug, let count = log.admit(.dropped, at: now) else { return }
    logger.debug("datagrams dropped", metadata: ["last cause": "\(cause)", "times": "\(count)"])
  }
}
