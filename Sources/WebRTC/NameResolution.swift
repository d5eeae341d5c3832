// SPDX-License-Identifier: Apache-2.0

import ICE
import Logging
import NIOCore
import SansIO

/// Drives the ``MDNSResolver`` of a loop: sockets on the links while a name is in question, and its timer.
///
/// The sockets are opened at the first name and closed when nothing was asked for a while, so that a loop whose
/// peers send no names never joins a group. Confined to the event loop.
final class NameResolution {
  /// How long the sockets stay open after the last question. A page that is loaded again asks again soon, and
  /// each joining is a message to the network.
  static let lingerTime = TimeAmount.seconds(10)
  /// Links at most: as many as hosts have that are not routers.
  static let linksMax = 8

  private let eventLoop: any EventLoop
  private let logger: Logger
  private let links: () -> [MDNSLink]
  private let answered: (MDNSResolver.Answer, Instant) -> Void
  private var resolver = MDNSResolver()
  private var sockets: [MDNSSocket] = []
  /// Counts openings: a socket that is ready only after its closing is closed at once.
  private var generation = 0
  private var openingCount = 0
  private var isOpen = false
  private var timer: (task: Scheduled<Void>, deadline: Instant)?
  private var closing: Scheduled<Void>?

  /// Starts without sockets. `links` is asked at each opening; `answered` gets what became of each name.
  init(
    eventLoop: any EventLoop, logger: Logger, links: @escaping () -> [MDNSLink],
    answered: @escaping (MDNSResolver.Answer, Instant) -> Void
  ) {
    self.eventLoop = eventLoop
    self.logger = logger
    self.links = links
    self.answered = answered
  }

  /// Whether the group is joined on any link.
  var hasSockets: Bool { !sockets.isEmpty }

  /// Asks for a name on behalf of a connection; the answer may follow at once.
  func resolve(_ name: String, for owner: Int, at now: Instant) {
    resolver.resolve(name, for: owner, at: now)
    if !resolver.isIdle { openIfNeeded() }
    drain(at: now)
  }

  /// Forgets what a connection asked for.
  func cancel(owner: Int) {
    resolver.cancel(owner: owner)
    closeLaterIfIdle()
  }

  /// The host's interfaces changed: the group is joined on the present ones.
  func linksChanged() {
    guard isOpen else { return }
    close()
    if !resolver.isIdle { open() }
  }

  /// Leaves the group for good.
  func shutdown() {
    close()
    timer?.task.cancel()
    timer = nil
  }

  // MARK: Sockets

  /// Opens the sockets unless some are open, or about to be: an error of sending may have ended them.
  private func openIfNeeded() {
    sockets.removeAll { !$0.isActive }
    guard sockets.isEmpty, openingCount == 0 else { return }
    open()
  }

  private func open() {
    isOpen = true
    generation += 1
    let opened = generation
    for link in links().prefix(Self.linksMax) {
      do throws(NetworkError) {
        let socket = try MDNSSocket.open(link, on: eventLoop) { [weak self] datagram, sender in
          self?.receive(datagram, from: sender)
        }
        openingCount += 1
        socket.whenComplete { result in self.socketOpened(result, generation: opened) }
      } catch {
        logger.debug(
          "no multicast DNS on a link",
          metadata: ["interface": "\(link.interfaceName)", "reason": "\(error)"])
      }
    }
  }

  private func socketOpened(_ result: Result<MDNSSocket, any Error>, generation opened: Int) {
    openingCount -= 1
    guard case .success(let socket) = result else { return }
    guard isOpen, opened == generation else { return socket.close() }
    sockets.append(socket)
    sendQueries()
  }

  private func close() {
    isOpen = false
    closing?.cancel()
    closing = nil
    for socket in sockets { socket.close() }
    sockets = []
  }

  private func closeLaterIfIdle() {
    guard isOpen, resolver.isIdle else {
      closing?.cancel()
      closing = nil
      return
    }
    guard closing == nil else { return }
    closing = eventLoop.assumeIsolated().scheduleTask(in: Self.lingerTime) { self.close() }
  }

  // MARK: The resolver

  private func receive(_ datagram: RawSpan, from sender: TransportAddress) {
    let now = NetworkClock.now
    resolver.receive(datagram, from: sender, at: now)
    drain(at: now)
  }

  private func drain(at now: Instant) {
    sendQueries()
    while let answer = resolver.pollAnswer() { answered(answer, now) }
    closeLaterIfIdle()
    armTimer()
  }

  /// Queries wait for the sockets that are being opened: a question must not be lost on the way to a link.
  private func sendQueries() {
    guard openingCount == 0 else { return }
    var query = ByteBuffer()
    while true {
      query.clear(minimumCapacity: 512)
      var hasQuery = false
      query.writeWithOutputRawSpan(minimumWritableBytes: 512) { hasQuery = resolver.pollQuery(into: &$0) }
      guard hasQuery else { return }
      for socket in sockets { socket.send(query) }
    }
  }

  private func armTimer() {
    guard let deadline = resolver.nextDeadline else { return }
    if let timer, timer.deadline <= deadline { return }
    timer?.task.cancel()
    let task = eventLoop.assumeIsolated().scheduleTask(deadline: NIODeadline(deadline)) {
      self.timer = nil
      let now = NetworkClock.now
      self.resolver.handleTimeout(at: now)
      self.drain(at: now)
    }
    timer = (task, deadline)
  }
}
