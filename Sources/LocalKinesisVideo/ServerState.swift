// SPDX-License-Identifier: Apache-2.0

import KinesisVideo
import Logging
import NIOCore
import SansIO

/// What all connections of one server share. It is confined to the server's event loop, so it has no lock.
final class ServerState {
  /// The shell's bounds.
  struct Limits: Sendable {
    /// Connections at a time, HTTP and WebSocket together.
    var connectionsMax = 1024
    /// How long a connection may take to send a whole request, from its beginning or from the last answer on.
    var requestTimeout = TimeDelta.seconds(60)
    /// How long a client may take to answer a closing WebSocket.
    var closeTimeout = TimeDelta.seconds(1)

    /// Longest request body.
    static let bodyBytesMax = 64 << 10
    /// Bytes of a body that is too long which are still read, so that the client sees the answer.
    static let discardedBytesMax = 4 << 20
    /// Longest WebSocket message, and longest frame.
    static let messageBytesMax = SignalingMessage.frameBytesMax
    /// Most fragments of one message.
    static let fragmentsMax = 64
    /// Bytes that wait for a slow reader before its connection is closed: what one channel can hold, and a half more.
    static let unsentBytesMax = 3 << 20
    /// Longest header field, the request's target included: presigned addresses with a session token stay below.
    static let headerFieldBytesMax = 16 << 10
    /// All header fields together.
    static let headerListBytesMax = 32 << 10
    /// Number of header fields.
    static let headerFieldsMax = 100
  }

  let loop: any EventLoop
  let limits: Limits
  let logger: Logger
  private(set) var service: LocalService
  private let clock: @Sendable () -> ServiceTime
  private let store: ChannelStore?
  private var savedChangeCount = 0
  /// Connections whose handshake was answered.
  private var sockets: [SignalingConnectionID: WebSocketHandler] = [:]
  /// What the hub wants of connections whose handshake is not answered yet.
  private var waiting: [SignalingConnectionID: [SignalingHub.Effect]] = [:]
  private var channels: [ObjectIdentifier: any Channel] = [:]
  private var timer: Scheduled<Void>?
  private var timerDeadline: Instant?
  private var limiter = EventLimiter()
  private var isStopping = false

  init(
    service: LocalService, store: ChannelStore?, limits: Limits, loop: any EventLoop, logger: Logger,
    clock: @escaping @Sendable () -> ServiceTime
  ) {
    self.service = service
    self.store = store
    self.limits = limits
    self.loop = loop
    self.logger = logger
    self.clock = clock
  }

  var now: ServiceTime { clock() }

  // MARK: connections

  /// Counts a connection; false when there are too many.
  func open(_ channel: any Channel) -> Bool {
    guard !isStopping, channels.count < limits.connectionsMax else {
      note("too many connections")
      return false
    }
    let key = ObjectIdentifier(channel)
    channels[key] = channel
    let bound = NIOLoopBound(self, eventLoop: loop)
    channel.closeFuture.whenComplete { _ in bound.value.channels[key] = nil }
    return true
  }

  /// Answers a request.
  func respond(to request: ServiceRequest) -> ServiceResponse {
    let response = service.respond(to: request, at: now)
    settle()
    if let errorType = response.errorType {
      // Wrong keys deserve attention; an unknown channel is an ordinary answer.
      let level: Logger.Level = response.status == 403 ? .warning : .info
      note("refused: \(errorType)", detail: request.description, level: level)
    } else {
      logger.debug("answered", metadata: ["request": "\(LogText.escaped(request.description))"])
    }
    return response
  }

  /// Answers a request that was refused outside of the service's rules.
  func refuse(_ error: KinesisVideoError) -> ServiceResponse {
    note("refused: \(error.errorType)")
    return service.refusal(error, at: now)
  }

  /// Checks and registers a WebSocket.
  func admit(_ request: ServiceRequest) throws(KinesisVideoError) -> SignalingConnectionID {
    let id = try service.connect(request, at: now)
    waiting[id] = []
    settle()
    return id
  }

  /// The handshake of a registered WebSocket was answered: its messages go out from here on.
  func attach(_ socket: WebSocketHandler, as id: SignalingConnectionID) {
    let effects = waiting.removeValue(forKey: id) ?? []
    sockets[id] = socket
    for effect in effects { carryOut(effect) }
    logger.info("WebSocket connected", metadata: ["connection": "\(id.rawValue)"])
  }

  /// A registered connection ended, whether its handshake was answered or not.
  func ended(_ id: SignalingConnectionID) {
    guard waiting.removeValue(forKey: id) != nil || sockets.removeValue(forKey: id) != nil else { return }
    service.hub.disconnect(id)
    settle()
    logger.info("WebSocket ended", metadata: ["connection": "\(id.rawValue)"])
  }

  /// Lets the hub handle something, and does what it then asks for.
  func withHub(_ change: (inout SignalingHub, Instant) -> Void) {
    let drops = service.hub.drops.total
    change(&service.hub, now.instant)
    if service.hub.drops.total != drops {
      let causes = service.hub.drops.nonZero.map { "\($0.cause) \($0.count)" }.joined(separator: ", ")
      note("unusable signaling messages", detail: causes)
    }
    settle()
  }

  /// Lets somebody change the service, and does what follows from it.
  func withService<Result>(_ change: (inout LocalService, ServiceTime) throws -> Result) rethrows -> Result {
    defer { settle() }
    return try change(&service, now)
  }

  // MARK: effects

  private func settle() {
    while let effect = service.hub.pollEffect() { carryOut(effect) }
    save()
    armTimer()
  }

  private func carryOut(_ effect: SignalingHub.Effect) {
    switch effect {
    case .send(let id, let frame):
      if let socket = sockets[id] {
        socket.send(frame)
      } else {
        waiting[id]?.append(effect)
      }
    case .close(let id, let code, let reason):
      if let socket = sockets.removeValue(forKey: id) {
        socket.close(code, reason: reason)
        logger.info("WebSocket closed", metadata: ["connection": "\(id.rawValue)", "reason": "\(reason)"])
      } else {
        waiting[id]?.append(effect)
      }
    }
  }

  /// Ends a connection whose client does not read.
  func closeSlowReader(_ id: SignalingConnectionID) {
    note("slow reader closed")
    service.hub.close(id, .policyViolation, reason: "Messages are not read")
    // Called while effects are carried out, whose loop sees this one too, or from the socket itself.
    loop.assumeIsolated().execute { self.settle() }
  }

  private func armTimer() {
    guard let deadline = service.hub.nextDeadline, !isStopping else {
      timer?.cancel()
      (timer, timerDeadline) = (nil, nil)
      return
    }
    // A timer that fires too early asks again; only one that would be late is replaced.
    if let timerDeadline, timerDeadline <= deadline { return }
    timer?.cancel()
    timerDeadline = deadline
    let delay = max(TimeDelta.zero, deadline - now.instant)
    timer = loop.assumeIsolated().scheduleTask(in: .nanoseconds(delay.nanoseconds)) { self.timerFired() }
  }

  private func timerFired() {
    (timer, timerDeadline) = (nil, nil)
    withHub { hub, now in hub.handleTimeout(at: now) }
  }

  private func save() {
    guard let store, service.registry.changeCount != savedChangeCount else { return }
    savedChangeCount = service.registry.changeCount
    do {
      try store.save(service.registry.channels)
    } catch {
      note("channels not stored", detail: "\(error)")
    }
  }

  // MARK: log

  /// Logs the first event of a kind, and then at most one in ten seconds with the number of them.
  func note(_ kind: String, detail: String = "", level: Logger.Level = .warning) {
    guard let count = limiter.note(kind, at: now.instant) else { return }
    var metadata: Logger.Metadata = ["count": "\(count)"]
    if !detail.isEmpty { metadata["detail"] = "\(LogText.escaped(detail))" }
    logger.log(level: level, "\(kind)", metadata: metadata)
  }

  // MARK: end

  /// Closes everything; the futures complete when the connections are gone.
  func stop() -> [EventLoopFuture<Void>] {
    isStopping = true
    let open = Array(channels.values)
    let upgraded = Set(sockets.values.compactMap { $0.channelIdentifier })
    service.hub.closeAll()
    settle()
    for channel in open where !upgraded.contains(ObjectIdentifier(channel)) { channel.close(promise: nil) }
    return open.map(\.closeFuture)
  }
}
