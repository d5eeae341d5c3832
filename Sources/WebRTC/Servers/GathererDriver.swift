// SPDX-License-Identifier: Apache-2.0

import ICE
import NIOCore
import SansIO

/// What a gatherer's driver tells the loop that it belongs to.
protocol GathererDriverDelegate: AnyObject {
  /// The gatherer found something out.
  func gathered(_ event: CandidateGatherer.Event, at now: Instant)
  /// A peer's datagram came through a relay of this owner.
  func received(_ datagram: RawSpan, on route: Route, for owner: Int, at now: Instant)
  /// A message is to leave from one of the host's sockets.
  func send(_ message: ByteBuffer, from route: Route, at now: Instant)
  /// What was there to be read on a connection has been read: the turn is over.
  func connectionReceivedAll()
  /// Something changed outside of a turn.
  func needsTurn()
  /// Something was dropped.
  func dropped(_ cause: NetworkDropCause)
}

/// Drives a loop's ``CandidateGatherer``: opens the connections to servers that it asks for, looks up names, moves
/// bytes between the two and tells the loop what came of it.
///
/// A turn of the loop calls ``service(at:)`` before its connections are drained and after, then ``flush()``.
/// Confined to the event loop.
final class GathererDriver {
  /// What a loop's user decides.
  struct Configuration: Sendable {
    /// Relays that are kept ready for viewers to come.
    var relaySpareCount = 1
    /// The address families of relays.
    var relayFamilies: [IPAddress.Family] = [.ipv4]
    var trustRoots = TrustRoots.system
    var proxy = ProxyConfiguration.none
    var sendsOffloaded = true
    var kernelBufferByteCount = 0
  }

  /// Broadcast addresses of the host's networks.
  var forbidden: Set<IPAddress> = []
  /// Whether there is any server to ask: if not, connections have nothing to wait for.
  private(set) var isInUse = false
  /// Relays that were lost while they had an owner.
  private(set) var relaysLost = 0

  private var gatherer: CandidateGatherer
  private let eventLoop: any EventLoop
  private let configuration: Configuration
  private let trust: ServerTrust
  private let names: HostNames
  private unowned let delegate: any GathererDriverDelegate
  private var links: [ServerConnectionID: any ServerLink] = [:]
  /// Links that something was written to since the last flush.
  private var unflushed: [any ServerLink] = []
  private var ring = BurstRing()
  private var isEnding = false
  private var whenEnded: [() -> Void] = []

  /// Starts without servers; the delegate owns this object.
  init(configuration: Configuration, eventLoop: any EventLoop, delegate: any GathererDriverDelegate) {
    var gathering = CandidateGatherer.Configuration()
    gathering.relaySpareCount = min(max(configuration.relaySpareCount, 0), RelayLimits.relaySpareCountMax)
    gathering.relayFamilies = configuration.relayFamilies
    gatherer = CandidateGatherer(configuration: gathering, random: .system)
    self.configuration = configuration
    self.eventLoop = eventLoop
    self.delegate = delegate
    trust = ServerTrust(roots: configuration.trustRoots, eventLoop: eventLoop)
    names = HostNames(eventLoop: eventLoop)
  }

  // MARK: The loop's wishes

  /// Takes the servers to be used from now on.
  func update(servers: [ICEServer], at now: Instant) {
    guard !isEnding, isInUse || !servers.isEmpty else { return }
    isInUse = true
    gatherer.update(servers: servers, at: now)
  }

  /// Has the address of a socket of the host asked for, and kept alive.
  func addSocket(_ socket: LocalSocket, at now: Instant) { gatherer.addSocket(socket, at: now) }

  /// Forgets a socket.
  func removeSocket(id: UInt32, at now: Instant) { gatherer.removeSocket(id: id, at: now) }

  /// Asks for relays for a connection.
  func requestRelay(for owner: Int, at now: Instant) { gatherer.requestRelay(for: owner, at: now) }

  /// Gives a connection's relays back.
  func releaseRelays(of owner: Int, at now: Instant) { gatherer.releaseRelays(of: owner, at: now) }

  /// Has the servers asked whether a connection's relays still stand: its peer is not heard any more.
  func verifyRelays(of owner: Int, at now: Instant) { gatherer.verifyRelays(of: owner, at: now) }

  /// The first four bytes of the transaction ids of what leaves the host's sockets: no connection may have it.
  var transactionPrefix: UInt32 { gatherer.transactionPrefix }

  /// Relays that stand ready without an owner.
  var spareRelayCount: Int { gatherer.spareRelayCount }
  /// Relays that connections have.
  var relayCount: Int { gatherer.relayCount }

  /// When ``handleTimeout(at:)`` wants to be called.
  var nextDeadline: Instant? { gatherer.nextDeadline }

  func handleTimeout(at now: Instant) {
    guard let deadline = gatherer.nextDeadline, deadline <= now else { return }
    gatherer.handleTimeout(at: now)
  }

  // MARK: Bytes

  /// Whether a datagram on a socket of the host answers a request of the gatherer's.
  func isAnswer(_ datagram: RawSpan) -> Bool {
    guard isInUse, STUNPeek.isSTUN(datagram), let kind = STUNPeek.kind(of: datagram) else { return false }
    return !kind.isRequest && kind.transactionPrefix == gatherer.transactionPrefix
  }

  /// Takes such a datagram.
  func receive(_ datagram: RawSpan, on route: Route, at now: Instant) {
    gatherer.receive(datagram, on: route, at: now)
  }

  /// Sends a connection's burst through its relay: each datagram in the server's form, all of them in one buffer.
  func send(_ burst: ByteBuffer, as transmit: Transmit, at now: Instant) {
    let bytes = burst.readableBytesSpan
    var start = 0
    while start < bytes.byteCount {
      if ring.isExhausted { flush() }
      var segmentByteCount = 0
      let filled = ring.fill { output -> ServerConnectionID? in
        var connection: ServerConnectionID?
        while start < bytes.byteCount {
          let end = min(start + transmit.segmentByteCount, bytes.byteCount)
          let before = output.byteCount
          let needed = end - start + TURNLimits.overheadByteCountMax
          guard before == 0 || output.freeCapacity >= needed else { break }
          let id = gatherer.wrap(
            bytes.extracting(start..<end), to: transmit.route.remote, via: transmit.route.socket.id,
            into: &output, at: now)
          start = end
          guard let id else { continue }
          connection = id
          // The form of a relay's datagrams changes by what the server says, and so not within a burst.
          let written = output.byteCount - before
          precondition(segmentByteCount == 0 || written <= segmentByteCount, "datagrams of one burst differ")
          segmentByteCount = max(segmentByteCount, written)
        }
        return connection
      }
      guard let (buffer, id) = filled, let link = links[id] else { continue }
      link.send(buffer, segmentByteCount: segmentByteCount, mayDrop: true, at: now)
      noteUnflushed(link)
    }
  }

  private func noteUnflushed(_ link: any ServerLink) {
    if unflushed.last !== link { unflushed.append(link) }
  }

  /// Sends what was queued on connections since the last flush.
  func flush() {
    guard !unflushed.isEmpty else { return ring.rewind() }
    for link in unflushed { link.flush() }
    unflushed.removeAll(keepingCapacity: true)
    ring.rewind()
  }

  // MARK: Turns

  /// Does what the gatherer asks for, until it asks for nothing more.
  func service(at now: Instant) {
    guard isInUse else { return }
    while let action = gatherer.pollAction() { perform(action, at: now) }
    while let event = gatherer.pollEvent() {
      if case .relayLost = event { relaysLost += 1 }
      delegate.gathered(event, at: now)
    }
    transmit(at: now)
    if isEnding { endIfDone() }
  }

  private func transmit(at now: Instant) {
    while true {
      if ring.isExhausted { flush() }
      let filled = ring.fill { output in gatherer.pollTransmit(into: &output, at: now) }
      guard let (buffer, outgoing) = filled else { return }
      switch outgoing.destination {
      case .socket(let route): delegate.send(buffer, from: route, at: now)
      case .connection(let id):
        guard let link = links[id] else { continue }
        link.send(buffer, segmentByteCount: outgoing.byteCount, mayDrop: false, at: now)
        noteUnflushed(link)
      }
    }
  }

  private func perform(_ action: CandidateGatherer.Action, at now: Instant) {
    switch action {
    case .resolve(let host): resolve(host)
    case .open(let connection):
      let environment = ServerLinkEnvironment(
        eventLoop: eventLoop, trust: trust, proxy: configuration.proxy, forbidden: forbidden,
        sendsOffloaded: configuration.sendsOffloaded,
        kernelBufferByteCount: configuration.kernelBufferByteCount)
      let link = connection.makeLink(in: environment, delegate: self)
      links[connection.id] = link
      link.open()
    case .close(let id): links.removeValue(forKey: id)?.close()
    }
  }

  private func resolve(_ host: String) {
    names.look(up: host) { [weak self] found in
      guard let self else { return }
      var addresses = found
      // What only the proxy can look up is left to it. The port is not known yet; the connection asks again.
      if addresses.isEmpty, configuration.proxy.server(forHost: host, port: 0) != nil {
        addresses = [IPAddress(ipv4: 0)]
      }
      gatherer.resolved(host: host, to: addresses, at: NetworkClock.now)
      delegate.needsTurn()
    }
  }

  // MARK: End

  /// Gives all relays back and asks for nothing more; connections close when the servers have answered, or after
  /// a short while.
  func shutdown(at now: Instant) {
    isEnding = true
    gatherer.shutdown(at: now)
    names.shutdown()
    service(at: now)
    flush()
    endIfDone()
  }

  /// Calls back once ``shutdown(at:)`` is through.
  func whenEnded(_ body: @escaping () -> Void) {
    whenEnded.append(body)
    if isEnding { endIfDone() }
  }

  private func endIfDone() {
    guard gatherer.isShutDown else { return }
    for link in links.values { link.close() }
    links = [:]
    let waiting = whenEnded
    whenEnded = []
    for body in waiting { body() }
  }
}

extension GathererDriver: ServerLinkDelegate {
  func link(_ id: ServerConnectionID, openedFrom address: TransportAddress) {
    gatherer.connectionOpened(id, localAddress: address, at: NetworkClock.now)
    delegate.needsTurn()
  }

  func link(_ id: ServerConnectionID, failedBecause reason: String) {
    links[id] = nil
    gatherer.connectionFailed(id, reason: reason, at: NetworkClock.now)
    delegate.needsTurn()
  }

  func link(_ id: ServerConnectionID, received frame: RawSpan) {
    let now = NetworkClock.now
    guard let relayed = gatherer.receive(frame, on: id, at: now) else { return }
    let route = Route(receivedOn: relayed.relay, from: relayed.peer)
    delegate.received(relayed.bytes, on: route, for: relayed.owner, at: now)
  }

  func linkReceivedAll(_ id: ServerConnectionID) { delegate.connectionReceivedAll() }

  func link(_ id: ServerConnectionID, dropped cause: NetworkDropCause) { delegate.dropped(cause) }
}
