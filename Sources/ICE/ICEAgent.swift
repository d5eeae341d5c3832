// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Which agent chooses the pair that carries the data (RFC 8445 §6.1.1).
public enum ICERole: Hashable, Sendable {
  /// Chooses; the side that made the offer.
  case controlling
  /// Follows.
  case controlled

  /// The peer's role, if it agrees.
  var opposite: ICERole { self == .controlling ? .controlled : .controlling }
}

/// The states of a connection by their W3C names (RTCIceConnectionState).
public enum ICEConnectionState: String, Hashable, Sendable {
  /// Nothing to check yet.
  case new
  /// Pairs are being checked, none works yet.
  case checking
  /// Data can be sent; better pairs may be found still.
  case connected
  /// Data can be sent on the nominated pair and nothing is left to be checked.
  case completed
  /// The peer stopped answering; it may come back while consent lasts.
  case disconnected
  /// No pair works, or consent ended (RFC 7675 §5.1). Nothing is sent any more, until a restart.
  case failed
  /// ``ICEAgent/close()`` was called. Final.
  case closed
}

/// A full ICE agent for one component: finds out which way to the peer works and guards that it goes on
/// working (RFC 8445, trickle of RFC 8838, consent of RFC 7675, patience of RFC 8863, TCP of RFC 6544).
///
/// It belongs to one peer connection and does nothing by itself: datagrams, calls and time go in, STUN
/// messages, events and one deadline come out. After every call its driver takes what
/// ``pollTransmit(into:at:)`` and ``pollEvent()`` have. ``ICELimits`` bounds all that a peer can make it keep
/// or send.
public struct ICEAgent: ~Copyable {
  /// The timings, and what ties responses to the agent.
  public struct Configuration: Sendable {
    /// The first four bytes of every transaction id, by which a shared socket finds the agent; random if
    /// `nil`.
    public var transactionPrefix: UInt32?
    /// The least time between two checks at the start: 5 ms, the limit of RFC 8445 §14.2.
    public var initialCheckInterval = TimeDelta.milliseconds(5)
    /// How many checks the initial interval applies to: 10, enough for a few addresses of two families.
    public var initialCheckCount = 10
    /// Ta, the least time between two checks after that: 50 ms, RFC 8445 §14.2.
    public var checkInterval = TimeDelta.milliseconds(50)
    /// The least retransmission time-out of a check: 500 ms, RFC 8445 §14.3. It doubles with each request.
    public var retransmissionTimeoutMin = TimeDelta.milliseconds(500)
    /// The least time that a controlling agent with a valid pair waits for a better one: 5 ms, so that better
    /// pairs of a local network get their chance.
    public var nominationWaitMin = TimeDelta.milliseconds(5)
    /// The longest such wait: 50 ms, one step of Ta. In between it is two response times of the valid pair,
    /// and a check interval for each better pair that was not checked yet.
    public var nominationWaitMax = TimeDelta.milliseconds(50)
    /// The mean time between consent checks: 5 s; each is 0.8 to 1.2 times of it away (RFC 7675 §5.1).
    public var consentInterval = TimeDelta.seconds(5)
    /// How long consent lasts after the last authenticated response: 30 s (RFC 7675 §5.1).
    public var consentTimeout = TimeDelta.seconds(30)
    /// How long the answer to a consent check may take, at least, before another is sent: 500 ms, the first
    /// retransmission time-out of RFC 8489 §6.2.1; two response times where those are longer.
    public var consentAnswerTimeout = TimeDelta.milliseconds(500)
    /// How many consent checks in a row stay unanswered before the path counts as dead: 4, so about 2 s. One
    /// loss in five costs a switch of paths an hour.
    public var unansweredConsentChecksMax = 4
    /// The time between checks of a path that counts as dead: 2 s. It may come back while consent lasts.
    public var deadPathInterval = TimeDelta.seconds(2)
    /// The mean time between checks of valid pairs that stand by: 12 s. That keeps the bindings of NATs
    /// (RFC 8445 §11: 15 s) and leaves one answer that may be lost before consent ends.
    public var standbyInterval = TimeDelta.seconds(12)
    /// How long after the death of the selected path another may take over before a restart is advised: 5 s.
    /// A controlling peer may notice 2 s after us, and a nomination takes some round trips.
    public var takeoverTimeout = TimeDelta.seconds(5)
    /// How long after a restart, once the new path is selected, the peer's last check of the old session must be
    /// past before that is forgotten: 10 s, a missed consent check and some. Until our answer has reached it, the
    /// peer has nothing else.
    public var restartGrace = TimeDelta.seconds(10)
    /// How long no agent gives up, counted from the remote credentials: 39.5 s (RFC 8863 §4).
    public var patience = TimeDelta.milliseconds(39_500)
    /// How long the peer must not have nominated the selected pair before its nomination of a worse pair
    /// counts. A peer that nominates aggressively names several pairs in one go, the best is meant; one that
    /// changes its mind (Chromium) stops naming the old one, which it does every 2.5 s or more often.
    public var renominationQuietTime = TimeDelta.seconds(3)
    /// Which candidates are used and signaled.
    public var transportPolicy = ICETransportPolicy.all

    /// The defaults.
    public init() {}
  }

  /// What the agent has to say.
  public enum Event: Hashable, Sendable {
    /// The connection's state changed.
    case connectionStateChanged(ICEConnectionState)
    /// Another pair is nominated. Data from all valid pairs stays welcome.
    case selectedRouteChanged(Route)
    /// A remote candidate names its host (`.local`, mDNS): ``ICEAgent/resolved(name:to:at:)`` is waited for.
    case nameNeedsResolving(String)
    /// A remote candidate accepts TCP connections (RFC 6544): one from this address of ours would help.
    /// ``ICEAgent/addTCPConnection(_:to:at:)`` or ``ICEAgent/tcpConnectionFailed(to:at:)`` answers.
    case tcpConnectionWanted(from: IPAddress, to: TransportAddress)
    /// The selected pair is dead or its socket is gone, and no other valid pair took over: a restart with
    /// fresh candidates may help. The agent goes on trying what it has.
    case restartAdvised
  }

  /// What can wake the agent.
  enum Timer: Int, CaseIterable, Sendable {
    /// A check may be sent, repeated or given up.
    case check
    /// A controlling agent has waited long enough for a better pair.
    case nomination
    /// The next consent check is due.
    case consentCheck
    /// Consent ends.
    case consentExpiry
    /// Another path should have taken over by now.
    case takeover
    /// The peer's nomination of another pair counts from now on.
    case renomination
    /// The session before the last restart is forgotten.
    case previousSession
    /// The agent may give up if nothing works.
    case patience
  }

  let configuration: Configuration
  var random: RandomSource
  /// The session whose pairs are checked.
  var session: ICESession
  /// The session that a restart is to bring; its remote side is not known yet.
  var preparedSession: ICESession?
  /// The session before the last restart, while its path is in use.
  var previousSession: ICESession?
  /// Counts restarts.
  var generation = 0
  /// Checks that came for the prepared session, one of each route.
  var earlyChecks: [EarlyCheck] = []
  /// Our role; a conflict may change it (RFC 8445 §7.3.1.1).
  public internal(set) var role: ICERole
  var tieBreaker: UInt64

  var localCandidates: [LocalCandidate] = []
  /// Addresses at which servers and peers see our sockets. They make no pairs: their base has those.
  var reflexiveLocalCandidates: [LocalCandidate] = []
  var remoteCandidates: [ICECandidate] = []
  /// Candidates of no session that we know.
  var futureCandidates: [ICECandidate] = []
  var remoteNames: [RemoteName] = []
  var tcpAttempts: [TCPAttempt] = []
  var nextFoundation = 1
  var hasAllRemoteCandidates = false

  var checklist = Checklist()
  var transactions = TransactionTable()
  /// Routes of pairs whose data is welcome.
  var welcomeRoutes: [Route] = []
  /// When the next check may be sent.
  var nextCheckAt = Instant(nanoseconds: .min)
  var checksSent = 0
  /// Whether something new may be checked in this turn.
  var areChecksScheduled = false
  var isNominationWaitOver = false
  var isPatienceOver = false
  var hasBeenConnected = false
  /// Whether a pair of the current session was selected.
  var hasSelected = false
  var hasAdvisedRestart = false

  /// The state of the connection.
  public internal(set) var connectionState = ICEConnectionState.new
  /// Why ``connectionState`` is `failed`; `nil` while it is not.
  public internal(set) var failureReason: ICEFailureReason?
  var selectedPair: PairID?
  var sendPair: PairID?

  var timers = TimerTable<Timer>()
  var outgoing = BoundedQueue<OutgoingMessage>(capacity: ICELimits.outgoingMessagesMax)
  var events = BoundedQueue<Event>(capacity: ICELimits.eventsMax)
  var errorResponses = RateLimiter(countMax: ICELimits.errorResponsesPerSecondMax, period: .seconds(1))
  var roleChanges = RateLimiter(countMax: ICELimits.roleChangesPerSecondMax, period: .seconds(1))
  /// What was not acted upon, by cause.
  public internal(set) var drops = DropCounters<ICEDropCause>()

  /// Makes an agent with credentials of its own. Checks start once remote credentials and a pair are known.
  public init(role: ICERole, configuration: Configuration = Configuration(), random: RandomSource) {
    self.role = role
    self.configuration = configuration
    self.random = random
    session = ICESession(local: ICECredentials.generate(using: &self.random))
    tieBreaker = self.random.next()
  }

  /// Our user fragment and password, as the next description is to name them: those of a restart that is
  /// prepared, else the current ones.
  public var localCredentials: ICECredentials { (preparedSession ?? session).local }

  /// The nominated pair; `nil` before nomination.
  public var selectedRoute: Route? { selectedPair?.route }

  /// Where data may be sent now: the nominated pair as long as it works, else the best valid one; `nil`
  /// without consent.
  public var sendRoute: Route? { sendPair?.route }

  /// Whether nothing answers on ``sendRoute`` any more: what is sent now most likely gets lost. True also without one.
  public var isPathSilent: Bool { checklist.index(of: sendPair).map { checklist[$0].isSilent } ?? true }

  /// A message that waits to be sent.
  struct OutgoingMessage: Sendable {
    let route: Route
    let bytes: [UInt8]
  }

  /// Whether the agent acts.
  var isActive: Bool { connectionState != .failed && connectionState != .closed }

  /// The last response time of the selected pair, before selection of the best valid one.
  public var roundTripTime: TimeDelta? {
    let index =
      checklist.index(of: selectedPair ?? sendPair) ?? checklist.pairs.firstIndex(where: \.isValid)
    return index.flatMap { checklist[$0].currentRoundTripTime }
  }

  /// Whether data that came by this route may be processed: a check of ours was answered on it.
  public func isValid(_ route: Route) -> Bool {
    route == sendPair?.route || welcomeRoutes.contains(route)
  }

  /// Whether an authenticated check of the peer came by this route: data from it is worth holding until the
  /// route is valid.
  public func isAuthenticated(_ route: Route) -> Bool {
    if isValid(route) { return true }
    return checklist.pairs.contains { $0.route == route && $0.hasRemoteChecked }
  }

  /// When ``handleTimeout(at:)`` is due; `nil` if nothing is.
  public var nextDeadline: Instant? { timers.nextDeadline }

  /// Acts on all timers that are due.
  public mutating func handleTimeout(at now: Instant) {
    for _ in Timer.allCases {
      guard let timer = timers.popExpired(at: now) else { return }
      switch timer {
      case .check: runChecks(at: now)
      case .nomination: nominationWaitEnded(at: now)
      case .consentCheck: consentCheckIsDue(at: now)
      case .consentExpiry: consentEnded(at: now)
      case .takeover: takeoverTimeEnded(at: now)
      case .renomination: renominationTimeEnded(at: now)
      case .previousSession: forgetPreviousSession(at: now)
      case .patience: patienceEnded(at: now)
      }
    }
  }

  /// Writes one STUN message and says where it goes, or returns `nil` when there is none. The lent memory has
  /// room for ``STUNMessage/byteCountMax`` bytes.
  public mutating func pollTransmit(into output: inout OutputRawSpan, at now: Instant) -> Transmit? {
    if areChecksScheduled { runChecks(at: now) }
    guard let message = outgoing.popFirst() else { return nil }
    output.write(message.bytes)
    return Transmit(route: message.route, segmentByteCount: message.bytes.count)
  }

  /// The next event, oldest first.
  public mutating func pollEvent() -> Event? { events.popFirst() }

  /// Ends the session for good: nothing is sent or accepted any more.
  public mutating func close() { terminate(as: .closed) }

  /// Gives up, until a restart.
  mutating func fail(_ reason: ICEFailureReason) {
    guard isActive else { return }
    failureReason = reason
    terminate(as: .failed)
  }

  /// Stops and lets go of everything that could still send.
  private mutating func terminate(as state: ICEConnectionState) {
    guard connectionState != .closed else { return }
    sendPair = nil
    welcomeRoutes = []
    timers.stopAll()
    areChecksScheduled = false
    outgoing.removeAll()
    transactions.removeAll()
    changeState(to: state)
  }

  /// Takes a new state over and announces it.
  mutating func changeState(to state: ICEConnectionState) {
    guard state != connectionState else { return }
    connectionState = state
    emit(.connectionStateChanged(state))
  }

  mutating func emit(_ event: Event) {
    if events.isFull { _ = events.popFirst() }
    _ = events.append(event)
  }

  mutating func enqueue(_ bytes: [UInt8], on route: Route) {
    if !outgoing.append(OutgoingMessage(route: route, bytes: bytes)) { drops[.outgoingQueueFull] += 1 }
  }

  /// Computes the state from what is known. Final states stay.
  mutating func updateState() {
    guard isActive else { return }
    if let index = checklist.index(of: sendPair) {
      hasBeenConnected = true
      let isPending = hasUnsentChecks || checklist.pairs.contains(where: \.isInProgress)
      let isComplete = isSettled && hasAllRemoteCandidates && !isPending
      let isDead = checklist[index].isSilent
      let deadState = isRestarting ? ICEConnectionState.checking : .disconnected
      changeState(to: isDead ? deadState : isComplete ? .completed : .connected)
    } else if hasBeenConnected {
      changeState(to: .disconnected)
    } else if session.remoteKey != nil, !checklist.pairs.isEmpty {
      changeState(to: .checking)
    }
  }
}
