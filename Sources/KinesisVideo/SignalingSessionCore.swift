// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The decisions of a signaling session, without sockets and clocks: which call comes next, when to try again, what to
/// send when, and what a frame means.
///
/// The driver performs the actions of ``pollAction()`` and tells their outcome with the number that came with them; an
/// outcome of an operation that is no longer wanted is ignored. Addresses are kept from one connection to the next.
public struct SignalingSessionCore: Sendable {
  /// Where the session stands.
  public enum State: Hashable, Sendable {
    /// Not started.
    case idle
    /// The channel is being described.
    case describing
    /// The channel is being created.
    case creating
    /// The addresses are being fetched.
    case gettingEndpoints
    /// The relays are being fetched, before the first connection.
    case gettingICEServers
    /// The WebSocket is being opened.
    case connecting
    /// The WebSocket is open.
    case connected
    /// A failure is being waited out.
    case backingOff
    /// The application stopped the session, or its first attempt was refused for good.
    case ended
  }

  /// What the driver has to do.
  public enum Action: Hashable, Sendable {
    /// Describe the channel.
    case describeChannel(operation: Int)
    /// Create the channel.
    case createChannel(operation: Int)
    /// Fetch the addresses.
    case getEndpoints(operation: Int)
    /// Fetch the relays.
    case getICEServers(operation: Int)
    /// Open the WebSocket; from then on the number names the socket.
    case openWebSocket(operation: Int)
    /// Give up a call: its outcome is no longer wanted.
    case giveUp(operation: Int)
    /// Close a socket, or give up opening it.
    case closeWebSocket(operation: Int)
    /// Send a text frame.
    case sendText(String, operation: Int)
    /// Send a ping.
    case sendPing(operation: Int)
    /// Tell the application.
    case report(SignalingEvent)
    /// The first attempt was refused for good: the session has ended.
    case fail(KinesisVideoError)
  }

  /// What the core needs to know.
  public struct Configuration: Sendable {
    /// Whether a channel that does not exist is created.
    public var createsChannel = false
    /// Between two attempts to connect: the service takes three a second for a channel.
    public var connectInterval: TimeDelta = .milliseconds(334)
    /// Between two pings: what the other clients of the service do.
    public var pingInterval: TimeDelta = .seconds(10)
    /// Without any frame for so long after a ping, the connection is dead.
    public var pongTimeout: TimeDelta = .seconds(20)
    /// A connection that lived so long clears the back-off; shorter ones do not, so that two masters which take a
    /// channel from each other slow down.
    public var stableAfter: TimeDelta = .seconds(10)
    /// Longest time of an operation, above the driver's own time-outs and the wait for a new channel.
    public var operationTimeout: TimeDelta = .seconds(45)
    /// How long before their end relays are fetched again.
    public var iceServerMargin: TimeDelta = .seconds(30)

    /// Starts with the defaults.
    public init() {}
  }

  private enum Timer: Int, CaseIterable, Sendable {
    case operation, retry, ping, pong, stable, iceServers, iceServersTimeout, statusRetry
  }

  /// A message that was sent, in case the service says that it was too much.
  private struct SentMessage: Sendable {
    var entry: SignalingQueue.Entry
    var retryAt: Instant?
  }

  /// Messages that a status response can still name: one second's worth at the service's limits, twice.
  private static let sentMax = 50
  /// A message that was too much is sent again after this time, once.
  private static let statusRetryDelay: TimeDelta = .seconds(1)
  /// Failed connects after which the addresses are fetched anew: they may have changed.
  private static let connectFailuresWithAddresses = 3
  /// Between two fetches of relays that the service asks for.
  private static let iceServersIntervalMin: TimeDelta = .seconds(1)
  /// A wrong clock is learnt from the first refusal; more than two in a row have another reason.
  private static let clockRetriesMax = 2

  /// Where the session stands.
  public private(set) var state = State.idle
  /// What was dropped, by cause.
  public private(set) var drops = DropCounters<SignalingDropCause>()

  private let configuration: Configuration
  private var random: RandomSource
  private var timers = TimerTable<Timer>()
  private var actions: [Action] = []
  private var queue = SignalingQueue()
  private var sent: [SentMessage] = []
  private var backoff = Backoff()
  private var iceServersBackoff = Backoff()

  private var lastOperation = 0
  private var operation = 0
  private var operationStarted = Instant.zero
  private var iceServersOperation: Int?
  private var iceServersStarted: Instant?
  private var lastAttempt: Instant?
  private var lastConnect: Instant?
  private var lastHeard = Instant.zero
  private var pingSent: Instant?
  private var hasAddresses = false
  private var hasAskedForICEServers = false
  private var hasConnected = false
  private var connectFailures = 0
  private var clockRetries = 0
  private var correlationPrefix: String
  private var correlationCount: UInt64 = 0

  /// Starts idle.
  public init(configuration: Configuration = Configuration(), random: RandomSource) {
    self.configuration = configuration
    self.random = random
    correlationPrefix = String(self.random.next() & 0xffff_ffff, radix: 36)
  }

  /// How many messages wait to be sent.
  public var queuedCount: Int { queue.count }

  /// Whether the WebSocket of this number is wanted.
  public func isOpening(_ operation: Int) -> Bool { state == .connecting && operation == self.operation }

  /// Takes out the next action, in order.
  public mutating func pollAction() -> Action? { actions.isEmpty ? nil : actions.removeFirst() }

  /// When ``handleTimeout(at:)`` is due.
  public func nextDeadline(at now: Instant) -> Instant? {
    let pacing = state == .connected ? queue.nextSend(at: now) : nil
    return Instant.earliest(timers.nextDeadline, pacing)
  }

  // MARK: The application

  /// Starts the first attempt.
  public mutating func start(at now: Instant) {
    guard state == .idle else { return }
    attempt(at: now)
  }

  /// Ends the session; nothing follows but the closing of the socket.
  public mutating func stop() {
    if state == .connected || state == .connecting { actions.append(.closeWebSocket(operation: operation)) }
    end()
  }

  /// Queues a message; one that the service would refuse is dropped and reported as if it had.
  public mutating func send(_ signal: OutgoingSignal, at now: Instant) {
    guard state != .ended else { return }
    let payload = signal.payload
    if payload.utf8.count > SignalingMessage.payloadCharactersMax {
      return refuse(.init(.payloadTooLong))
    }
    if let recipient = signal.recipientClientID, !SignalingMessage.isIdentifier(recipient) {
      return refuse(.init(.invalidIdentifier))
    }
    correlationCount &+= 1
    let frame = SignalingMessage.ClientFrame(
      kind: signal.kind, recipientClientID: signal.recipientClientID, payload: payload,
      correlationID: "\(correlationPrefix)-\(correlationCount)")
    enqueue(.init(frame: frame, enqueued: now, isRetry: false))
    drain(at: now)
  }

  private mutating func refuse(_ failure: SignalingMessage.Failure) {
    drops[.unsendable] += 1
    actions.append(
      .report(
        .statusResponse(
          .init(
            correlationID: nil, errorType: "InvalidArgumentException", statusCode: "400",
            description: failure.description))))
  }

  private mutating func enqueue(_ entry: SignalingQueue.Entry) {
    if let cause = queue.append(entry) { drops[cause] += 1 }
  }

  // MARK: Steps towards a connection

  private mutating func attempt(at now: Instant) {
    timers[.retry] = nil
    lastAttempt = now
    if hasAddresses { openWebSocket(at: now) } else { begin(.describing, at: now) }
  }

  private mutating func begin(_ next: State, at now: Instant) {
    lastOperation += 1
    operation = lastOperation
    operationStarted = now
    state = next
    timers[.operation] = now + configuration.operationTimeout
    switch next {
    case .describing: actions.append(.describeChannel(operation: operation))
    case .creating: actions.append(.createChannel(operation: operation))
    case .gettingEndpoints: actions.append(.getEndpoints(operation: operation))
    case .gettingICEServers: actions.append(.getICEServers(operation: operation))
    case .connecting: actions.append(.openWebSocket(operation: operation))
    case .idle, .connected, .backingOff, .ended: preconditionFailure("\(next) is no operation")
    }
  }

  private mutating func openWebSocket(at now: Instant) {
    lastConnect = now
    begin(.connecting, at: now)
  }

  /// Tells that the channel was described or created, or that its addresses are there.
  public mutating func succeeded(operation: Int, at now: Instant) {
    guard operation == self.operation else { return }
    switch state {
    case .describing, .creating:
      report(state == .creating ? .create : .describe, at: now)
      begin(.gettingEndpoints, at: now)
    case .gettingEndpoints:
      report(.endpoints, at: now)
      hasAddresses = true
      connectFailures = 0
      if hasAskedForICEServers { openWebSocket(at: now) } else { begin(.gettingICEServers, at: now) }
    case .idle, .gettingICEServers, .connecting, .connected, .backingOff, .ended: break
    }
  }

  /// Tells the relays, asked for on the way to the first connection or later.
  public mutating func received(iceServers: [ICEServer], operation: Int, at now: Instant) {
    let isStep = operation == self.operation && state == .gettingICEServers
    guard isStep || operation == iceServersOperation else { return }
    if isStep {
      report(.iceServers, at: now)
    } else if let started = iceServersStarted {
      actions.append(.report(.stepTimed(.iceServers, Duration(now - started))))
    }
    actions.append(.report(.iceServers(iceServers)))
    iceServersArrived(shortest: iceServers.compactMap(\.timeToLive).min(), at: now)
    if isStep { openWebSocket(at: now) }
  }

  private mutating func iceServersArrived(shortest: Duration?, at now: Instant) {
    hasAskedForICEServers = true
    iceServersOperation = nil
    timers[.iceServersTimeout] = nil
    iceServersBackoff.reset()
    timers[.iceServers] = shortest.map {
      now + max(TimeDelta($0) - configuration.iceServerMargin, configuration.iceServerMargin)
    }
  }

  private mutating func refreshICEServers(at now: Instant) {
    guard iceServersOperation == nil, hasAddresses, state != .ended, state != .gettingICEServers else {
      return
    }
    if let started = iceServersStarted, now - started < Self.iceServersIntervalMin {
      timers[.iceServers] = started + Self.iceServersIntervalMin
      return
    }
    timers[.iceServers] = nil
    lastOperation += 1
    iceServersOperation = lastOperation
    iceServersStarted = now
    timers[.iceServersTimeout] = now + configuration.operationTimeout
    actions.append(.getICEServers(operation: lastOperation))
  }

  /// Tells that the WebSocket is open.
  public mutating func webSocketOpened(operation: Int, at now: Instant) {
    guard operation == self.operation, state == .connecting else {
      actions.append(.closeWebSocket(operation: operation))
      return
    }
    report(.webSocket, at: now)
    state = .connected
    hasConnected = true
    connectFailures = 0
    clockRetries = 0
    lastHeard = now
    pingSent = nil
    timers[.operation] = nil
    timers[.ping] = now + configuration.pingInterval
    timers[.stable] = now + configuration.stableAfter
    actions.append(.report(.connected))
    queue.socketOpened()
    drain(at: now)
  }

  private mutating func report(_ step: SignalingStep, at now: Instant) {
    actions.append(.report(.stepTimed(step, Duration(now - operationStarted))))
  }

  // MARK: Failures

  /// Tells that an operation failed, or that the WebSocket was refused.
  public mutating func failed(operation: Int, error: KinesisVideoError, at now: Instant) {
    if operation == iceServersOperation {
      iceServersOperation = nil
      timers[.iceServersTimeout] = nil
      retryICEServers(at: now)
      return
    }
    guard operation == self.operation else { return }
    switch state {
    case .describing where error.kind == .unknownChannel && configuration.createsChannel:
      report(.describe, at: now)
      begin(.creating, at: now)
    case .gettingICEServers:
      // Peers in reach need no relay: connect, and fetch the list again later.
      hasAskedForICEServers = true
      retryICEServers(at: now)
      openWebSocket(at: now)
    case .describing, .creating, .gettingEndpoints, .connecting:
      attemptFailed(error, at: now)
    case .idle, .connected, .backingOff, .ended: break
    }
  }

  /// A list that fails is asked for again at leisure: half a second to some ten seconds.
  private mutating func retryICEServers(at now: Instant) {
    timers[.iceServers] = now + iceServersBackoff.next(using: &random) + .milliseconds(500)
  }

  private mutating func attemptFailed(_ error: KinesisVideoError, at now: Instant) {
    if state == .connecting {
      connectFailures += 1
      if !error.isRetriable || connectFailures >= Self.connectFailuresWithAddresses { hasAddresses = false }
    }
    if error.kind == .clockSkew, clockRetries < Self.clockRetriesMax {
      clockRetries += 1
    } else if !error.isRetriable, !hasConnected {
      end()
      actions.append(.report(.disconnected(reason: error.description, retryIn: nil)))
      actions.append(.fail(error))
      return
    }
    backOff(reason: error.description, after: backoff.next(using: &random), at: now)
  }

  private mutating func backOff(reason: String, after delay: TimeDelta, at now: Instant) {
    for timer in [Timer.operation, .ping, .pong, .stable, .statusRetry] { timers[timer] = nil }
    var next = now + delay
    for last in [lastAttempt, lastConnect] {
      if let last { next = max(next, last + configuration.connectInterval) }
    }
    requeueRetries()
    sent.removeAll()
    operation = 0
    state = .backingOff
    timers[.retry] = next
    actions.append(.report(.disconnected(reason: reason, retryIn: Duration(next - now))))
  }

  private mutating func end() {
    timers.stopAll()
    iceServersOperation = nil
    operation = 0
    state = .ended
  }

  /// Tells that an open socket is gone.
  public mutating func webSocketClosed(operation: Int, reason: String, at now: Instant) {
    guard operation == self.operation, state == .connected else { return }
    backOff(reason: LogText.escaped(reason), after: backoff.next(using: &random), at: now)
  }

  private mutating func leave(reason: String, after delay: TimeDelta, at now: Instant) {
    actions.append(.closeWebSocket(operation: operation))
    backOff(reason: reason, after: delay, at: now)
  }

  // MARK: Frames

  /// Tells that a control frame came: the connection lives.
  public mutating func receivedControlFrame(operation: Int, at now: Instant) {
    guard operation == self.operation, state == .connected else { return }
    heard(at: now)
  }

  /// Tells that a binary frame came; the service never sends one.
  public mutating func receivedBinary(operation: Int, at now: Instant) {
    guard operation == self.operation, state == .connected else { return }
    heard(at: now)
    drops[.binaryFrame] += 1
  }

  /// Takes a text frame.
  public mutating func receive(_ frame: [UInt8], operation: Int, at now: Instant) {
    guard operation == self.operation, state == .connected else { return }
    heard(at: now)
    do throws(SignalingMessage.Failure) {
      switch try SignalingMessage.ServiceFrame(parsing: frame) {
      case .message(let kind, let payload, let sender):
        try deliver(kind, payload: payload, from: sender)
      case .goAway: goAway(at: now)
      case .reconnectICEServer: refreshICEServers(at: now)
      case .statusResponse(let status): handle(status, at: now)
      case .unknown: drops[.unknownType] += 1
      }
    } catch {
      drops[error.defect == .invalidIdentifier ? .invalidSender : .malformedFrame] += 1
    }
  }

  /// Reconnects at once, unless the connection is so young that the next one would be sent away as well.
  private mutating func goAway(at now: Instant) {
    let delay = timers[.stable] == nil ? .zero : backoff.next(using: &random)
    leave(reason: "the service is about to close the connection", after: delay, at: now)
  }

  private mutating func deliver(
    _ kind: SignalingMessage.Kind, payload: String, from sender: String?
  ) throws(SignalingMessage.Failure) {
    do throws(SignalingMessage.Failure) {
      switch kind {
      case .offer:
        actions.append(.report(.offer(sdp: try SDPPayload(parsing: payload).sdp, from: sender ?? "")))
      case .answer: actions.append(.report(.answer(sdp: try SDPPayload(parsing: payload).sdp, from: sender)))
      case .iceCandidate:
        actions.append(.report(.iceCandidate(try ICECandidatePayload(parsing: payload), from: sender)))
      }
    } catch {
      drops[.malformedPayload] += 1
    }
  }

  private mutating func heard(at now: Instant) {
    lastHeard = now
    pingSent = nil
    timers[.pong] = nil
  }

  /// A message that was too much goes once more after a second; the rest is the application's.
  private mutating func handle(_ status: SignalingMessage.StatusResponse, at now: Instant) {
    let index = sent.firstIndex {
      status.correlationID != nil && $0.entry.frame.correlationID == status.correlationID
    }
    guard status.isLimitExceeded, let index, !sent[index].entry.isRetry, sent[index].retryAt == nil else {
      actions.append(.report(.statusResponse(status)))
      return
    }
    sent[index].retryAt = now + Self.statusRetryDelay
    timers[.statusRetry] = Instant.earliest(timers[.statusRetry], now + Self.statusRetryDelay)
  }

  private mutating func resendDue(at now: Instant) {
    var next: Instant?
    for message in sent {
      guard let retryAt = message.retryAt else { continue }
      if retryAt <= now { requeue(message) } else { next = Instant.earliest(next, retryAt) }
    }
    sent.removeAll { $0.retryAt.map { $0 <= now } ?? false }
    timers[.statusRetry] = next
  }

  private mutating func requeueRetries() {
    for message in sent where message.retryAt != nil { requeue(message) }
  }

  private mutating func requeue(_ message: SentMessage) {
    var entry = message.entry
    entry.isRetry = true
    enqueue(entry)
  }

  // MARK: Time

  /// Does what is due.
  public mutating func handleTimeout(at now: Instant) {
    while let timer = timers.popExpired(at: now) {
      switch timer {
      case .operation: operationTimedOut(at: now)
      case .retry: attempt(at: now)
      case .ping: ping(at: now)
      case .pong: leave(reason: "no answer to a ping", after: backoff.next(using: &random), at: now)
      case .stable: backoff.reset()
      case .iceServers: refreshICEServers(at: now)
      case .iceServersTimeout:
        if let iceServersOperation { actions.append(.giveUp(operation: iceServersOperation)) }
        iceServersOperation = nil
        retryICEServers(at: now)
      case .statusRetry: resendDue(at: now)
      }
    }
    drain(at: now)
  }

  private mutating func operationTimedOut(at now: Instant) {
    actions.append(
      state == .connecting ? .closeWebSocket(operation: operation) : .giveUp(operation: operation))
    failed(
      operation: operation,
      error: KinesisVideoError(
        errorType: KinesisVideoError.connectionFailure, message: "There was no answer in time.", statusCode: 0
      ),
      at: now)
  }

  private mutating func ping(at now: Instant) {
    actions.append(.sendPing(operation: operation))
    timers[.ping] = now + configuration.pingInterval
    guard pingSent == nil else { return }
    pingSent = now
    timers[.pong] = now + configuration.pongTimeout
  }

  private mutating func drain(at now: Instant) {
    drops[.expired] += queue.dropExpired(at: now)
    guard state == .connected else { return }
    while let entry = queue.popSendable(at: now) {
      actions.append(.sendText(entry.frame.text, operation: operation))
      if sent.count >= Self.sentMax { sent.removeFirst() }
      sent.append(SentMessage(entry: entry, retryAt: nil))
    }
  }
}
