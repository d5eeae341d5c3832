// SPDX-License-Identifier: Apache-2.0

import ICE
import Logging
import NIOCore
import SansIO

/// The sockets around a ``TURNServerCore``, and what passes between them. It is confined to one event loop, so it has
/// no lock.
final class TURNServerState {
  /// The shell's bounds.
  struct Limits: Sendable {
    /// TCP and TLS connections at a time.
    var connectionsMax = 512
    /// Connections from one address at a time.
    var connectionsPerAddressMax = 128
    /// How long a connection without an allocation may go without a whole frame: two keepalives of a client that
    /// only asks for its address.
    var idleTimeout = TimeDelta.seconds(60)
    /// Between two looks at idle connections and counters.
    var sweepInterval = TimeDelta.seconds(5)

    /// A port for clients that could not be opened again is tried after this time.
    static let reopenTime = TimeAmount.seconds(1)
    /// Bytes that wait for a slow reader before frames to it are dropped: half a second of a good video.
    static let unsentByteCountMax = 256 << 10
  }

  /// Where relay sockets are bound, and by what addresses their peers know them.
  struct RelayAddress: Sendable {
    let bound: IPAddress
    let advertised: IPAddress
  }

  /// The first number of sockets that stand for streams, and of relay sockets; ports have those below.
  private static let (firstStreamID, firstRelayID): (UInt32, UInt32) = (0x4000_0000, 0x8000_0000)

  let loop: any EventLoop
  let logger: Logger
  private let limits: Limits
  private let relayAddresses: [IPAddress.Family: RelayAddress]
  private var core: TURNServerCore
  private var peerPolicy: TURNPeerPolicy
  private var ports: [DatagramPort] = []
  private var relays: [RelayID: DatagramPort] = [:]
  private var relayIDs: [ObjectIdentifier: RelayID] = [:]
  /// The sockets of our relays by the addresses that are advertised, where those are not the bound ones.
  private var advertisedRelays: [TransportAddress: DatagramPort] = [:]
  private var streams: [Route: TURNStreamHandler] = [:]
  private var channels: [ObjectIdentifier: any Channel] = [:]
  private var connectionCounts: [IPAddress: Int] = [:]
  private var nextStream: UInt32 = 0
  private var unflushed: [TURNStreamHandler] = []
  private var scratch = ByteBuffer()
  private var timer: Scheduled<Void>?
  private var timerDeadline: Instant?
  private var sweeper: Scheduled<Void>?
  private var notes = EventLimiter()
  private var loggedDrops = DropCounters<TURNServerDropCause>()
  private var unsentDatagrams: UInt64 = 0
  private var isStopping = false

  init(
    core: consuming TURNServerCore, peerPolicy: TURNPeerPolicy,
    relayAddresses: [IPAddress.Family: RelayAddress],
    limits: Limits, loop: any EventLoop, logger: Logger
  ) {
    self.core = core
    self.peerPolicy = peerPolicy
    self.relayAddresses = relayAddresses
    self.limits = limits
    self.loop = loop
    self.logger = logger
  }

  var now: Instant { Instant(nanoseconds: Int64(clamping: NIODeadline.now().uptimeNanoseconds)) }

  /// How many allocations there are.
  var allocationCount: Int { core.allocationCount }
  /// What the core did not act upon.
  var drops: DropCounters<TURNServerDropCause> { core.drops }

  // MARK: ports

  /// Binds and opens a socket for clients.
  func openPort(_ address: TransportAddress) throws(DatagramPort.Failure) -> TransportAddress {
    let port = try DatagramPort(
      id: UInt32(ports.count), binding: address, eventLoop: loop, delegate: self)
    ports.append(port)
    port.open()
    return port.address
  }

  /// Closes the sockets for clients again, when their number is not free for all addresses.
  func closePorts() {
    for port in ports { port.close() }
    ports = []
  }

  /// Looks after connections from now on, now and then.
  func start() {
    sweeper = loop.assumeIsolated().scheduleTask(in: .nanoseconds(limits.sweepInterval.nanoseconds)) {
      self.sweep()
      self.start()
    }
  }

  /// Lets peers be relayed to that policy would refuse, and no longer those of the last call.
  func allow(_ peers: Set<TransportAddress>) {
    peerPolicy.allowedPeers = peers
    core.update(peerPolicy: peerPolicy)
  }

  // MARK: connections

  /// Counts a connection and gives its handler; `nil` when there are too many.
  func open(_ channel: any Channel) -> TURNStreamHandler? {
    guard let local = TransportAddress(channel.localAddress),
      let remote = TransportAddress(channel.remoteAddress),
      !isStopping, channels.count < limits.connectionsMax,
      connectionCounts[remote.ip, default: 0] < limits.connectionsPerAddressMax
    else {
      note("TURN connections refused: too many")
      return nil
    }
    let id = Self.firstStreamID + nextStream % (Self.firstRelayID - Self.firstStreamID)
    nextStream &+= 1
    let route = Route(receivedOn: LocalSocket(id: id, address: local), from: remote)
    let handler = TURNStreamHandler(route: route, server: self, at: now)
    streams[route] = handler
    let key = ObjectIdentifier(channel)
    channels[key] = channel
    connectionCounts[remote.ip, default: 0] += 1
    let bound = NIOLoopBound(self, eventLoop: loop)
    channel.closeFuture.whenComplete { _ in bound.value.closed(key, from: remote.ip, route: route) }
    return handler
  }

  private func closed(_ key: ObjectIdentifier, from ip: IPAddress, route: Route) {
    channels[key] = nil
    streams[route] = nil
    let count = connectionCounts[ip, default: 1] - 1
    connectionCounts[ip] = count > 0 ? count : nil
    core.disconnected(route)
    settle()
  }

  /// A connection takes nothing more; what it had ends.
  func ended(_ stream: TURNStreamHandler) {
    streams[stream.route] = nil
    core.disconnected(stream.route)
    settle()
  }

  /// Closes connections that bring nothing and have nothing.
  func sweep() {
    let deadline = now - limits.idleTimeout
    for stream in streams.values where stream.lastFrameAt < deadline && !core.hasAllocation(on: stream.route)
    {
      stream.close()
    }
    logDrops()
  }

  // MARK: clients to peers

  /// Takes one frame of a stream.
  func receive(_ frame: RawSpan, from stream: TURNStreamHandler) {
    receive(frame, on: stream.route, isStream: true)
  }

  private func receive(_ frame: RawSpan, on route: Route, isStream: Bool) {
    if let forward = core.receive(frame, on: route, isStream: isStream, at: now) {
      forwardToPeer(forward.payload, forward.peer, from: forward.relay)
    }
    settle()
  }

  private func forwardToPeer(_ payload: RawSpan, _ peer: TransportAddress, from relay: RelayID) {
    guard let port = relays[relay] else { return }
    // A relay of ours behind an advertised address is on this host: no router has to turn the datagram around.
    let target = advertisedRelays[peer]?.address ?? peer
    guard let route = Route(sendingFrom: port.name, to: target), port.send(payload, to: route.remote) == .sent
    else {
      unsentDatagrams &+= 1
      return
    }
  }

  // MARK: peers to clients

  private func relay(_ payload: RawSpan, from remote: TransportAddress, on relay: RelayID) {
    let peer = advertisedAddress(of: remote)
    let now = now
    var transmit: Transmit?
    scratch.clear(minimumCapacity: payload.byteCount + TURNLimits.overheadByteCountMax)
    scratch.writeWithOutputRawSpan(
      minimumWritableBytes: payload.byteCount + TURNLimits.overheadByteCountMax
    ) { output in
      transmit = core.relay(payload, from: peer, on: relay, into: &output, at: now)
    }
    if let transmit { send(scratch, on: transmit.route) }
  }

  /// What peers know a relay of ours by, if the address is one's.
  private func advertisedAddress(of remote: TransportAddress) -> TransportAddress {
    guard !advertisedRelays.isEmpty, let address = relayAddresses[remote.ip.family],
      address.bound == remote.ip
    else { return remote }
    let advertised = TransportAddress(ip: address.advertised, port: remote.port)
    return advertisedRelays[advertised] == nil ? remote : advertised
  }

  private func send(_ frame: ByteBuffer, on route: Route) {
    if let stream = streams[route] {
      guard stream.write(frame) else {
        unsentDatagrams &+= 1
        return
      }
      unflushed.append(stream)
    } else if route.socket.id < ports.count {
      if ports[Int(route.socket.id)].send(frame.readableBytesSpan, to: route.remote) != .sent {
        unsentDatagrams &+= 1
      }
    }
  }

  // MARK: the core's wishes

  /// Does what the core asks for after each call.
  private func settle() {
    while let action = core.pollAction() { perform(action) }
    while sendAnswer() {}
    armTimer()
  }

  private func sendAnswer() -> Bool {
    let now = now
    var transmit: Transmit?
    scratch.clear(minimumCapacity: TURNLimits.messageByteCountMax)
    scratch.writeWithOutputRawSpan(minimumWritableBytes: TURNLimits.messageByteCountMax) { output in
      transmit = core.pollTransmit(into: &output, at: now)
    }
    guard let transmit else { return false }
    send(scratch, on: transmit.route)
    return true
  }

  private func perform(_ action: TURNServerCore.Action) {
    switch action {
    case .openRelay(let id, let family): openRelay(id, family)
    case .closeRelay(let id): forget(id)
    }
  }

  private func openRelay(_ id: RelayID, _ family: IPAddress.Family) {
    guard let address = relayAddresses[family], !isStopping else { return core.relayFailed(id, at: now) }
    do throws(DatagramPort.Failure) {
      let port = try DatagramPort(
        id: Self.firstRelayID, binding: TransportAddress(ip: address.bound, port: 0), eventLoop: loop,
        delegate: self)
      let relayed = TransportAddress(ip: address.advertised, port: port.address.port)
      relays[id] = port
      relayIDs[ObjectIdentifier(port)] = id
      if address.advertised != address.bound { advertisedRelays[relayed] = port }
      port.open()
      core.relayOpened(id, address: relayed, at: now)
      logger.debug("relay opened", metadata: ["address": "\(relayed)"])
    } catch {
      note("relays not opened", detail: "\(error)")
      core.relayFailed(id, at: now)
    }
  }

  private func forget(_ id: RelayID) {
    guard let port = relays.removeValue(forKey: id) else { return }
    relayIDs[ObjectIdentifier(port)] = nil
    if let address = relayAddresses[port.address.ip.family], address.advertised != address.bound {
      advertisedRelays[TransportAddress(ip: address.advertised, port: port.address.port)] = nil
    }
    port.close()
    logger.debug("relay closed", metadata: ["port": "\(port.address.port)"])
  }

  private func armTimer() {
    guard let deadline = core.nextDeadline, !isStopping else {
      timer?.cancel()
      (timer, timerDeadline) = (nil, nil)
      return
    }
    // A timer that fires too early asks again; only one that would be late is replaced.
    if let timerDeadline, timerDeadline <= deadline { return }
    timer?.cancel()
    timerDeadline = deadline
    let delay = max(TimeDelta.zero, deadline - now)
    timer = loop.assumeIsolated().scheduleTask(in: .nanoseconds(delay.nanoseconds)) {
      (self.timer, self.timerDeadline) = (nil, nil)
      self.core.handleTimeout(at: self.now)
      self.settle()
    }
  }

  /// Sends what was written to streams since the last flush; called once for all that one read brought.
  func flush() {
    for stream in unflushed { stream.flush() }
    unflushed.removeAll(keepingCapacity: true)
  }

  // MARK: log

  /// Logs the first event of a kind, and then at most one in ten seconds with the number of them.
  func note(_ kind: String, detail: String = "") {
    guard let count = notes.note(kind, at: now) else { return }
    logger.warning("\(kind)", metadata: ["count": "\(count)", "detail": "\(detail)"])
  }

  /// Tells what was not acted upon since the last time; challenges begin every session and are none of it.
  private func logDrops() {
    let drops = core.drops
    let news = drops.nonZero.filter { $0.cause != .challenged && $0.count != loggedDrops[$0.cause] }
    guard !news.isEmpty else { return }
    loggedDrops = drops
    let text = news.map { "\($0.cause) \($0.count)" }.joined(separator: ", ")
    logger.info("TURN messages not acted upon", metadata: ["in all": "\(text)"])
  }

  // MARK: end

  /// Closes everything; the futures complete when the connections are gone.
  func stop() -> [EventLoopFuture<Void>] {
    isStopping = true
    sweeper?.cancel()
    timer?.cancel()
    closePorts()
    for id in Array(relays.keys) { forget(id) }
    let open = Array(channels.values)
    for channel in open { channel.close(promise: nil) }
    return open.map(\.closeFuture)
  }
}

extension TURNServerState: DatagramPortDelegate {
  func port(_ port: DatagramPort, received datagram: RawSpan, from remote: TransportAddress) {
    if let id = relayIDs[ObjectIdentifier(port)] {
      relay(datagram, from: remote, on: id)
    } else {
      receive(datagram, on: Route(receivedOn: port.name, from: remote), isStream: false)
    }
  }

  func portReceivedAll(_ port: DatagramPort) { flush() }

  func portLost(_ port: DatagramPort, because reason: String) {
    note("TURN sockets lost", detail: reason)
    if let id = relayIDs[ObjectIdentifier(port)] {
      forget(id)
      core.relayLost(id)
    } else {
      loop.assumeIsolated().scheduleTask(in: Limits.reopenTime) { port.open() }
    }
  }
}
