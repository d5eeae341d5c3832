// SPDX-License-Identifier: Apache-2.0

import Logging
import NIOCore
import SansIO

/// Performs what a ``SignalingSessionCore`` decides: starts the calls, owns the socket, keeps the one timer.
///
/// Confined to its event loop, which makes the unchecked conformance true: every method checks that it runs there, and
/// calls come back to it.
final class SignalingDriver: @unchecked Sendable {
  private let loop: any EventLoop
  private let events: AsyncStream<SignalingEvent>.Continuation
  private let logger: Logger
  private var core: SignalingSessionCore
  private var operations: SignalingOperations?
  private var socket: (operation: Int, connection: WebSocketConnection)?
  private var calls: [Int: Task<Void, Never>] = [:]
  private var timer: Scheduled<Void>?
  private var timerDeadline: Instant?
  private var ended: EventLoopPromise<Void>?
  private var isFinished = false
  private var lostEvents = 0
  private var statusPace = LogPace()
  private var loggedDrops: [SignalingDropCause: Int] = [:]
  private var loggedDropsTotal: UInt64 = 0
  /// What came between the handshake and the loop turn that hears of it: few frames, for the next read follows that turn.
  private var earlyInputs: [Int: [WebSocketInput]] = [:]
  private static let earlyInputsMax = 256

  init(
    loop: any EventLoop, core: SignalingSessionCore, events: AsyncStream<SignalingEvent>.Continuation,
    logger: Logger
  ) {
    self.loop = loop
    self.core = core
    self.events = events
    self.logger = logger
  }

  // MARK: The application

  /// Starts the session; the future ends with it, at once when it was stopped before.
  func start(_ operations: SignalingOperations) -> EventLoopFuture<Void> {
    loop.preconditionInEventLoop()
    guard !isFinished, self.operations == nil else { return loop.makeSucceededVoidFuture() }
    let promise = loop.makePromise(of: Void.self)
    ended = promise
    self.operations = operations
    core.start(at: now)
    perform()
    return promise.futureResult
  }

  func send(_ signal: OutgoingSignal) {
    loop.preconditionInEventLoop()
    core.send(signal, at: now)
    perform()
  }

  func stop() {
    loop.preconditionInEventLoop()
    guard !isFinished else { return }
    core.stop()
    perform()
    finish(.success(()))
  }

  private func finish(_ result: Result<Void, any Error>) {
    guard !isFinished else { return }
    isFinished = true
    timer?.cancel()
    closeSocket()
    events.finish()
    let open = Array(calls.values)
    for call in open { call.cancel() }
    // Whoever waits for the end may then shut the event loop down: nothing of ours runs on.
    guard let ended, !open.isEmpty else {
      self.ended?.completeWith(result)
      return
    }
    Task {
      for call in open { await call.value }
      ended.completeWith(result)
    }
  }

  private var now: Instant { Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds)) }

  // MARK: The core's actions

  private func perform() {
    while let action = core.pollAction() { perform(action) }
    logDrops()
    schedule()
  }

  private func perform(_ action: SignalingSessionCore.Action) {
    switch action {
    case .describeChannel(let operation): call(operation) { try await $0.describeChannel() }
    case .createChannel(let operation): call(operation) { try await $0.createChannel() }
    case .getEndpoints(let operation): call(operation) { try await $0.getEndpoints() }
    case .getICEServers(let operation): getICEServers(operation)
    case .openWebSocket(let operation): openWebSocket(operation)
    case .giveUp(let operation): calls[operation]?.cancel()
    case .closeWebSocket(let operation):
      calls[operation]?.cancel()
      if socket?.operation == operation { closeSocket() }
    case .sendText(let text, let operation):
      if let socket, socket.operation == operation { socket.connection.send(text: text) }
    case .sendPing(let operation):
      if let socket, socket.operation == operation { socket.connection.ping() }
    case .report(let event): report(event)
    case .fail(let error): finish(.failure(error))
    }
  }

  private func report(_ event: SignalingEvent) {
    switch event {
    case .connected: logger.info("signaling is connected")
    case .disconnected(let reason, let retryIn?):
      logger.notice("signaling is disconnected", metadata: ["reason": "\(reason)", "retry": "\(retryIn)"])
    case .disconnected(_, nil): break  // `run()` throws the reason
    case .statusResponse(let status):
      log(status)
    case .stepTimed(let step, let duration):
      logger.debug("signaling step", metadata: ["step": "\(step.rawValue)", "took": "\(duration)"])
    case .offer(_, let sender): logger.debug("an offer came", metadata: ["from": "\(sender)"])
    case .answer(_, let sender): logger.debug("an answer came", metadata: ["from": "\(sender ?? "master")"])
    case .iceCandidate, .iceServers: break
    }
    if case .dropped = events.yield(event) {
      lostEvents += 1
      if lostEvents & (lostEvents - 1) == 0 {
        logger.warning("events are lost, nobody reads them", metadata: ["count": "\(lostEvents)"])
      }
    }
  }

  /// At most one line a second, however many refusals come.
  private func log(_ status: SignalingMessage.StatusResponse) {
    guard let suppressed = statusPace.admit(at: now) else { return }
    let text = { [operations] (text: String) in operations?.withoutSecrets(text) ?? text }
    logger.warning(
      "the service refused a message",
      metadata: [
        "type": "\(text(status.errorType))", "reason": "\(text(status.description))",
        "suppressed": "\(suppressed)",
      ])
  }

  /// What the core dropped, each cause at its 1st, 2nd, 4th, 8th ... time.
  private func logDrops() {
    guard core.drops.total != loggedDropsTotal else { return }
    loggedDropsTotal = core.drops.total
    for (cause, count) in core.drops.nonZero {
      let magnitude = UInt64.bitWidth - count.leadingZeroBitCount
      guard magnitude > loggedDrops[cause] ?? 0 else { continue }
      loggedDrops[cause] = magnitude
      logger.warning("signaling dropped something", metadata: ["cause": "\(cause)", "count": "\(count)"])
    }
  }

  private func schedule() {
    guard !isFinished else { return }
    let deadline = core.nextDeadline(at: now)
    guard deadline != timerDeadline else { return }
    timer?.cancel()
    timer = nil
    timerDeadline = deadline
    guard let deadline else { return }
    timer = loop.scheduleTask(in: .nanoseconds(max((deadline - now).nanoseconds, 0))) { [weak self] in
      self?.timerFired()
    }
  }

  private func timerFired() {
    timer = nil
    timerDeadline = nil
    core.handleTimeout(at: now)
    perform()
  }

  // MARK: Calls

  private func call(_ operation: Int, _ body: @escaping @Sendable (SignalingOperations) async throws -> Void)
  {
    start(operation) { operations, driver in
      try await body(operations)
      driver.completed(operation) { core, now in core.succeeded(operation: operation, at: now) }
    }
  }

  private func getICEServers(_ operation: Int) {
    start(operation) { operations, driver in
      let servers = try await operations.getICEServers()
      driver.completed(operation) { core, now in
        core.received(iceServers: servers, operation: operation, at: now)
      }
    }
  }

  private func openWebSocket(_ operation: Int) {
    start(operation) { [loop] operations, driver in
      let connection = try await operations.openWebSocket(on: loop) { input in
        driver.received(input, operation: operation)
      }
      loop.execute { driver.opened(connection, operation: operation) }
    }
  }

  private func start(
    _ operation: Int, _ body: @escaping @Sendable (SignalingOperations, SignalingDriver) async throws -> Void
  ) {
    guard let operations else { return }
    calls[operation] = Task { [self] in
      do {
        try await body(operations, self)
      } catch {
        let failure =
          error as? KinesisVideoError
          ?? KinesisVideoError(
            errorType: KinesisVideoError.connectionFailure, message: "\(error)", statusCode: 0)
        completed(operation) { core, now in core.failed(operation: operation, error: failure, at: now) }
      }
    }
  }

  private func completed(
    _ operation: Int, _ body: @escaping @Sendable (inout SignalingSessionCore, Instant) -> Void
  ) {
    loop.execute { [self] in
      calls[operation] = nil
      earlyInputs[operation] = nil
      guard !isFinished else { return }
      body(&core, now)
      perform()
    }
  }

  // MARK: The socket

  private func opened(_ connection: WebSocketConnection, operation: Int) {
    calls[operation] = nil
    let early = earlyInputs.removeValue(forKey: operation) ?? []
    guard !isFinished, core.isOpening(operation) else { return connection.close() }
    guard connection.channel.isActive else {
      let reasons = early.compactMap { if case .closed(let reason) = $0 { reason } else { nil } }
      let failure = KinesisVideoError(
        errorType: KinesisVideoError.connectionFailure,
        message: "At once \(reasons.last ?? "the connection was closed").", statusCode: 0)
      core.failed(operation: operation, error: failure, at: now)
      return perform()
    }
    closeSocket()
    socket = (operation, connection)
    core.webSocketOpened(operation: operation, at: now)
    perform()
    for input in early { received(input, operation: operation) }
  }

  private func received(_ input: WebSocketInput, operation: Int) {
    loop.preconditionInEventLoop()
    guard !isFinished else { return }
    guard socket?.operation == operation else {
      if calls[operation] != nil, (earlyInputs[operation]?.count ?? 0) < Self.earlyInputsMax {
        earlyInputs[operation, default: []].append(input)
      }
      return
    }
    switch input {
    case .text(let frame): core.receive(frame, operation: operation, at: now)
    case .binary: core.receivedBinary(operation: operation, at: now)
    case .controlFrame: core.receivedControlFrame(operation: operation, at: now)
    case .closed(let reason):
      socket = nil
      core.webSocketClosed(operation: operation, reason: reason, at: now)
    }
    perform()
  }

  private func closeSocket() {
    let last = socket
    socket = nil
    last?.connection.close()
  }
}

/// One line a second.
private struct LogPace {
  private var last: Instant?
  private var suppressed = 0

  /// How many were suppressed since the last line; `nil` when this one is to be suppressed too.
  mutating func admit(at now: Instant) -> Int? {
    if let last, now - last < .seconds(1) {
      suppressed += 1
      return nil
    }
    defer { suppressed = 0 }
    last = now
    return suppressed
  }
}
