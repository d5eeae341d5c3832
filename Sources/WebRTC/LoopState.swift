// SPDX-License-Identifier: Apache-2.0

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

  private enum LogKind: Int, CaseIterable {
    case dropped
    case lostChannel
  }

  let eventLoop: any EventLoop
  private let logger: Logger
  /// By number; the first ones are shared, those of single connections come and go.
  private(set) var sockets: [UDPSocket?] = []
  private var sharedSocketCount = 0
  private var socketOptions = SocketOptions()
  private var peers: [PeerDriver?] = []
  private var freeNumbers: [Int] = []
  private var table = SocketTable()
  private var deadlines = DeadlineHeap()
  private var ring = BurstRing()
  private var dirty: [PeerDriver] = []
  private var isTurnScheduled = false
  private var timer: (task: Scheduled<Void>, deadline: Instant)?
  private var log = RateLimitedLog<LogKind>()
  private var isShutDown = false
  private let peerLeft: () -> Void

  private(set) var drops = DropCounters<NetworkDropCause>()
  private(set) var datagramsReceived: UInt64 = 0
  private(set) var burstsSent: UInt64 = 0
  /// Rebuilds of sockets that are gone.
  private var channelRebuilds = 0
  /// How often any socket's channel was made again.
  var rebuildCount: Int { sockets.reduce(channelRebuilds) { $0 + ($1?.rebuildCount ?? 0) } }

  /// Makes an empty loop; `peerLeft` is called whenever a connection has left.
  init(eventLoop: any EventLoop, logger: Logger, peerLeft: @escaping () -> Void) {
    self.eventLoop = eventLoop
    self.logger = logger
    self.peerLeft = peerLeft
  }

  // MARK: Sockets and connections

  /// How sockets are made.
  struct SocketOptions: Sendable {
    /// Addresses that are never sent to.
    var forbidden: Set<IPAddress> = []
    var sendsOffloaded = true
    var kernelBufferByteCount = 0
  }

  /// Takes the kernel's sockets into the loop, shared by all connections that want no sockets of their own.
  func open(_ kernelSockets: [KernelSocket], options: SocketOptions) {
    socketOptions = options
    for kernel in kernelSockets { _ = open(kernel) }
    sharedSocketCount = sockets.count
  }

  private func open(_ kernel: KernelSocket) -> UDPSocket {
    let number = sockets.firstIndex { $0 == nil } ?? sockets.count
    let socket = UDPSocket(
      id: UInt32(number), kernel: kernel, eventLoop: eventLoop, forbidden: socketOptions.forbidden,
      sendsOffloaded: socketOptions.sendsOffloaded, delegate: self)
    if number == sockets.count { sockets.append(socket) } else { sockets[number] = socket }
    socket.open()
    return socket
  }

  /// Opens sockets for one connection alone, on the addresses of the shared ones.
  private func openOwnSockets() -> [UDPSocket] {
    sockets.prefix(sharedSocketCount).compactMap { shared -> UDPSocket? in
      guard let ip = shared?.local.address.ip,
        let kernel = try? KernelSocket(
          binding: ip, port: 0, bufferByteCount: socketOptions.kernelBufferByteCount)
      else { return nil }
      return open(kernel)
    }
  }

  private func close(_ ownSockets: [UDPSocket]) {
    for socket in ownSockets {
      socket.flush()
      channelRebuilds += socket.rebuildCount
      socket.shutdown()
      sockets[Int(socket.local.id)] = nil
    }
  }

  /// Takes in a connection: it gets the loop's sockets as candidates and datagrams from here on.
  func add(_ peer: PeerDriver, at now: Instant) {
    let number = freeNumbers.popLast() ?? peers.count
    let isRegistered = table.add(
      peer: number, usernameFragment: peer.core.localUsernameFragment,
      transactionPrefix: peer.core.transactionPrefix)
    guard isRegistered, !isShutDown else {
      freeNumbers.append(number)
      if number == peers.count { peers.append(nil) }
      peer.finish(in: self)
      return
    }
    if number == peers.count { peers.append(nil) }
    peers[number] = peer
    peer.number = number
    if !peer.sharesSockets { peer.ownSockets = openOwnSockets() }
    let candidates =
      peer.sharesSockets ? sockets.prefix(sharedSocketCount).compactMap { $0 } : peer.ownSockets
    for socket in candidates { peer.core.addLocalSocket(socket.local, at: now) }
    peer.core.setEndOfLocalCandidates(at: now)
    markDirty(peer)
  }

  /// Forgets a connection. Only ``PeerDriver/finish(in:)`` calls this.
  func remove(_ peer: PeerDriver) {
    peerLeft()
    guard peer.number >= 0 else { return }
    table.remove(peer: peer.number)
    deadlines.set(nil, for: peer.number)
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
    channelRebuilds = rebuildCount
    for socket in sockets { socket?.shutdown() }
    sockets = []
    timer?.task.cancel()
    timer = nil
    dirty = []
  }

  /// Notes the user name fragments of a connection, which an ICE restart changes.
  func noteUsernameFragments(of peer: PeerDriver) {
    guard peer.number >= 0 else { return }
    table.setUsernameFragments(peer.core.localUsernameFragments, of: peer.number)
  }

  // MARK: Turns

  /// Has a connection drained at the end of this turn.
  func markDirty(_ peer: PeerDriver) {
    guard !peer.isDirty, peer.number >= 0 else { return }
    peer.isDirty = true
    dirty.append(peer)
  }

  /// Drains what was touched, flushes every socket once and sets the timer.
  func endTurn(at now: Instant) {
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
    flush()
    if dirty.isEmpty {
      // Keeps the array's memory for the next turn.
      waiting.removeAll(keepingCapacity: true)
      swap(&waiting, &dirty)
    } else {
      scheduleTurn()
    }
    armTimer(at: now)
  }

  /// Drains one connection within the turn: an application's call sees its effects when it returns.
  func drainNow(_ peer: PeerDriver, at now: Instant) {
    markDirty(peer)
    noteUsernameFragments(of: peer)
    _ = peer.drain(into: self, at: now)
  }

  private func scheduleTurn() {
    guard !isTurnScheduled else { return }
    isTurnScheduled = true
    eventLoop.assumeIsolated().execute {
      self.isTurnScheduled = false
      self.endTurn(at: NetworkClock.now)
    }
  }

  /// Sends the next burst of a connection, if it has any.
  func sendBurst(of peer: PeerDriver, at now: Instant) -> Bool {
    if ring.isExhausted { flush() }
    let filled = ring.fill { out in peer.core.pollTransmit(into: &out, at: now) }
    guard let (buffer, transmit) = filled else { return false }
    let socketID = Int(transmit.route.socket.id)
    guard socketID < sockets.count, let socket = sockets[socketID] else { return true }
    burstsSent += 1
    socket.send(buffer, as: transmit, at: now)
    return true
  }

  private func flush() {
    for socket in sockets { socket?.flush() }
    ring.rewind()
  }

  // MARK: The timer

  private func armTimer(at now: Instant) {
    guard !isShutDown, let next = deadlines.nextDeadline else { return }
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

  private func drop(_ cause: NetworkDropCause, at now: Instant) {
    drops[cause] += 1
    guard logger.logLevel <= .debug, let count = log.admit(.dropped, at: now) else { return }
    logger.debug("datagrams dropped", metadata: ["last cause": "\(cause)", "times": "\(count)"])
  }
}
