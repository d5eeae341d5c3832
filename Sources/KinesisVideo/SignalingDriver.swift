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
    for call in calls.values { call.cancel() }
    calls = [:]
    closeSocket()
    events.finish()
    ended?.completeWith(result)
  }

  private var now: Instant { Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds)) }

  // MARK: The core's actions

  private func perform() {
    while let action = core.pollAction() { perform(action) }
    schedule()
  }

  private func perform(_ action: SignalingSessionCore.Action) {
    switch action {
    case .describeChannel(let operation): call(operation) { try await $0.describeChannel() }
    case .createChannel(let operation): call(operation) { try await $0.createChannel() }
    case .getEndpoints(let operation): call(operation) { try await $0.getEndpoints() }
    case .getICEServers(let operation): getICEServers(operation)
    case .openWebSocket(let operation): openWebSocket(operation)
    case .closeWebSocket(let operation):
      calls.removeValue(forKey: operation)?.cancel()
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
      logger.warning(
        "the service refused a message",
        metadata: ["type": "\(status.errorType)", "reason": "\(status.description)"])
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
    socket?.connection.close()
    socket = nil
  }
}
